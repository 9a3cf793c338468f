// Package fetch brings the images of machines from the server that made them to the
// machine that keeps them.
//
// A [Fetcher] works between two folders of images as package plain has them: one on the
// server, which it only reads, and one here. [Fetcher.Plan] looks at both and says what
// would be fetched; [Fetcher.Run] does it. Plans and results are values; what a mail says
// of them is [Result.Job].
//
// Fetched is what is verified at the source, is not here, and would stay if all images of
// both were here, by the policy of this machine. An image grows in a hidden folder in
// which the disks of the newest verified image lie as links, or else files of zeros, so that a
// transfer has them as its basis: with rsync on the server only what differs is sent. Over
// SFTP alone all of a disk is, its zeros too.
//
// # Guarantees
//
//   - Nothing is listed before every byte of it was read back here and is right.
//   - The newest good image of each machine is there at every moment, also when the run is
//     killed or the network cut; the next run goes on with what was fetched by then.
//   - What is here already is not fetched again.
//   - Of an image that differs little from the newest here little is sent, if
//     the server has rsync.
//   - Holes are not sent, if the server has rsync, also when nothing of the disk is here yet.
//   - An image that is here is never written to.
//   - A file that is wrong keeps its image from being adopted, and alone is fetched anew by
//     the next run.
//   - A full disk loses nothing, and is syscall.ENOSPC.
//   - Holes stay holes.
//   - What is damaged at the source, or not verified there, is named and not fetched.
//   - An image that the source removes meanwhile is told of, and is no failure; nothing of
//     it stays here.
//   - A machine of which the source has no image any more, or none that is new enough, is a
//     warning: silence is not success.
//   - What can make room goes before anything is fetched, and if that is not enough, nothing
//     is removed and nothing fetched.
//
// What a crash leaves: the folder of an image that is on its way, which the next run goes on
// with, or removes if the image is not wanted any more.
package fetch
