// Package plain keeps images of machines as plain files, of which no program of ours
// is needed to restore them:
//
//	web01/2026-268T0200Z/vda.img      a disk, raw and sparse
//	web01/2026-268T0200Z/domain.xml   and other small files
//	web01/2026-268T0200Z/SHA256SUMS   for sha256sum -c
//	web01/2026-268T0200Z/image.json   what they are
//
// A disk goes back by `qemu-img convert -f raw -O qcow2 vda.img web01.qcow2`, or by
// `dd if=vda.img of=/dev/vg/web01 bs=1M conv=sparse`, or is used as it is.
//
// [Open] gives the [vmimage.Target] of a folder, which the program never makes: were
// the disk that belongs there not mounted, another would be filled. A machine's folder
// has its name, with what is no letter, digit, '.', '_' or '-' written as
// percent and two hexadecimal digits. What has another name than these
// is somebody else's and left alone, everywhere.
//
// Where the file system can share blocks (XFS, Btrfs), a disk begins as a share of the
// source itself, if that is a raw file there, or else of the newest verified image of the
// same disk, and only blocks that differ are written. What is stored is the same.
//
// An image of another machine comes in by Stage, which makes the hidden folder that a
// transfer fills, and Adopt, which reads all of it back and lists it.
//
// # Guarantees
//
//   - An image is listed once it is complete and durable, and not before, also after a
//     crash at any moment. What a crash leaves, Clean removes.
//   - What is stored reads as the source does, byte for byte.
//   - sha256sum -c passes in the folder of an image.
//   - Holes are neither read nor written, and zeros in data become holes.
//   - A full disk leaves no image, not even a part.
//   - A stored image is not written to again, but for when it was verified.
//   - A byte that is not as it was stored is found by Verify, in any file. The image is
//     then no longer listed as verified.
//   - Restore gives no file a name before every byte is right, and replaces none. Killed at
//     any moment and called again, it restores all and leaves nothing else.
//   - Different machines have different folders, whatever their names.
//   - Nothing outside of the folder is read or written, whatever links are in it.
//   - Folders and files of others are neither listed nor removed.
//   - Two programs never change the images of a machine at the same moment: the second is
//     refused, and told who the first is. A program that was killed keeps nobody out.
//
// # Crashes
//
// Store works in a folder ".partial-ID" beside the others. It writes and syncs each
// file, then SHA256SUMS, then image.json, syncs the folder, renames it to ID and syncs
// the folder above. Remove renames the other way, syncs, and deletes. Verify
// replaces image.json alone, by package durable. So a crash leaves a folder
// ".partial-ID", or a temporary file of package durable, or nothing.
package plain
