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
//   - A description that is edited meanwhile never makes a machine start from an overlay that
//     is gone, or from a base that lacks what is in one.
//   - A guest that shuts down long after it was asked to is started again, by the end of the run
//     or by the next.
//   - What somebody else holds is not let go, and what somebody else starts is not called clean.
//   - A disk that is gone or moved before its overlay is merged is told of in a line that names
//     it and the overlay; no file of it is touched, and the other machines are put in order.
//   - A machine that another process is at work on is told of, and not touched.
//   - All disks of an image are of one point in time.
//   - What cannot be imaged whole is refused before it is touched.
//   - A file that is two disks, and a machine that does not stay off when its guest shuts down, are
//     refused before anything is touched.
//   - A disk that its machine has open, so that it is not closed in order, is no reason to refuse it.
//   - A guest is not switched off unless that is asked for.
//   - Machines are imaged one at a time, or as many at the same time as are asked for, each once
//     those that it is after are done; room is kept for the overlays of all these.
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
//	describe   the lasting description names the disk, if an edit made it name something else
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
// long again, at the end of the run, and by the next run, and started when it does. A guest that
// goes on for a day is taken not to have heeded it; before that, a machine that somebody
// shuts down cannot be told from one that shut down too late, and is started.
package vmimage
