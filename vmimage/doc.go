// Package vmimage images the virtual machines of a host, and keeps the images.
//
// An [Engine] shuts each machine down, freezes its disks, starts it again at
// once, stores an image of the frozen disks while it runs, verifies the image, and makes the
// disks what they were: a machine is down for as long as its guest takes to shut
// down and to boot, and about a second, whatever the size of its disks. A machine
// that is off is imaged as it is. [Engine.Plan] says what a run would do, and
// [Engine.Recover] puts in order what a run that was killed has left.
//
// The engine knows its host by package virt, and where images are kept by
// [Target], which package plain implements. A [Policy] plans which images stay; it
// reads no clock and removes nothing.
//
// # Guarantees
//
// Whatever fails, and whenever the program or the host is killed, after the run,
// or after the next one that is not killed:
//
//   - A machine that ran before runs again; one that was off stays off.
//   - The newest verified image of each machine is there, and good.
//   - An image that is not complete is never listed as verified.
//   - The disks of a machine are what they were, or the journal says what is to
//     be done and the next run does it. No file that a machine uses is removed.
//   - Nothing is left for ever: no block job, overlay, lock or partial image.
//
// And besides:
//
//   - All disks of an image are of one point in time.
//   - What cannot be imaged whole is refused before it is touched.
//   - A guest is not switched off unless that is asked for.
//   - Without the room for it nothing is touched.
//   - A plan never removes the newest verified image of a machine, nor more than
//     leave Least of them, whatever the policy and however old they are.
//   - An image that is not verified takes no place of one that is.
//   - The same images give the same plan, in whatever order they come.
//   - After what a plan removes is gone, the same policy removes nothing more.
//
// # What an engine does to a machine
//
// Each step is in the journal, on the disk, before it is done and once it is:
//
//	lock       an element in the description of the machine keeps engines of
//	           other hosts away
//	shutdown   the guest is asked, by its agent, then by its power button
//	start      held before its first instruction; it fails if somebody else
//	           has started the machine
//	snapshot   each disk gets an overlay, all at once
//	resume     the machine runs again
//	store      the image of the disks beneath, which no longer change
//	verify     every byte of it is read back
//	commit     what the machine wrote is merged into the disk
//	suspend    the guest is held for a moment,
//	pivot      the machine writes to the disk again,
//	resume     and goes on
//	remove     the overlays, once nobody names them
//	unlock, end
//
// What comes after verify is also what is done when a step fails, and what Recover
// does: the engine looks at the machine, does the first thing that is not as it
// should be, and looks again. It asks the host what is so, and the journal only what was
// meant. So a machine that somebody shuts down while it is imaged is started again,
// since that cannot be told from a host that lost its power.
//
// A guest that did not shut down in its time may do so yet; it is looked after for as
// long again, and started when it does.
package vmimage
