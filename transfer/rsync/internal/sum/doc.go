// Package sum computes the checksums of the rsync protocol, versions 29 to 32,
// and carries those of a basis over the wire.
//
// rsync knows three. The weak sum ([Weak], [Roller]) is of one block, rolls
// from one offset to the next, and finds candidates. The strong sum of a block
// ([BlockHasher]) decides between them; it depends on the seed of the session
// and is cut to [Head.StrongLen] bytes. The file sum ([Session.NewFile]) covers
// a whole file and decides whether the file was rebuilt. The checksum of a file
// in a file list ([Session.NewList]) is a file sum that never has a seed.
//
// A [Head] says how a basis, the old file, is cut into blocks: Count blocks of
// BlockLen bytes, of which the last has Rem bytes if Rem is not 0. [Sums] are
// the weak and strong sums of all of them.
//
// # Guarantees
//
//   - Sums are bit for bit those of rsync 3.0.9 to 3.5.0.
//   - A Roller rolled to any offset has the Weak of the window there.
//   - ReadHead accepts no head whose blocks could not be those of a file, and
//     a rejected one makes the reader fail.
//   - ReadSums holds no more memory than a small multiple of what has arrived,
//     whatever the head claims.
//   - Compute reads each byte of the basis once, gives the same sums for any
//     number of workers, and takes bytes that the basis lacks as zeros.
//   - Nothing here reads a clock or starts a goroutine that outlives its call.
package sum
