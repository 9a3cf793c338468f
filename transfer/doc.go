// Package transfer copies files and trees between stores so that every copy
// is complete and verified, or not there.
//
// A [Store] is a directory (package dirstore), an account on another machine
// (package sshstore) or whatever else passes the suite in package storetest.
// Those with directories, links and modes are a [Tree].
//
//   - [Mirror] makes one tree hold what another holds. [PlanMirror] says what
//     it would do, and [Plan.Run] does it.
//   - [Pull] brings one file from a store to another; [Push] stores what is not
//     in a store.
//   - [Compare] tells how two trees differ. [Walk] lists a tree, [RemoveAll]
//     removes one.
//   - [SumTree], [WriteSums], [ReadSums] and [CheckSums] make and check files
//     such as SHA256SUMS and MD5SUMS, which sha256sum -c and md5sum -c of GNU
//     coreutils read and write, whatever the names in them.
//   - [Sign], [Delta] and [Patch] are the algorithm of rsync (Tridgell, "Efficient
//     Algorithms for Sorting and Synchronization", 1999, chapter 3) by itself, without
//     disk or network: of a basis only its [Signature] has to be known to tell
//     what has changed.
//
// Words. Matched bytes are those that the destination had; literal ones were
// sent; resumed ones had been sent before, by a transfer that was cut. The kept
// part is what such a transfer left, hidden, for the next. A file is unchanged
// if its size and time are equal. Verified means that each byte was read back
// from the destination and its SHA-256 compared; where the kernel allows it,
// from the disk and not from memory.
//
// # Guarantees
//
//   - Nothing is visible under its name until it is complete, verified and durable.
//     Until then, and if it never is, what was there before stays as it is.
//   - Unchanged files cost no data. Of a file that has only grown, only the tail is sent,
//     if both sides can hash; of one that has changed only what has, if the source
//     is a [Fetcher] or the destination a [Taker], or if the signature of
//     what the destination has is kept here (Options.Signatures).
//   - A source is not read for its signature while it is the file whose signature
//     is kept, by size, time, ctime and inode.
//   - A source of equal size and time whose signature is kept, but which is another
//     file by ctime or inode, is read here, and sent if it differs.
//   - Of a source of which the caller knows what may have changed (Options.Changed)
//     nothing else is read.
//   - Before a signature is believed, some blocks of what the destination has are
//     compared with it. If they differ, the file goes the next way.
//   - Whatever has become of a signature, or of the file that it describes, it makes
//     no wrong file: one that is put together at the destination is always proved,
//     by its SHA-256. Where the source was not read whole, it is the SHA-256 of the
//     copy, before what differs is written over it; that is read back.
//   - A transfer that was cut goes on where it stopped, inside a file and in another
//     process, after both sides have proved by hash that the kept part is the
//     beginning of the source. A source that cannot hash goes by size and time.
//   - A source that changes while it is read is read once more, and if that changes too
//     reported as [ErrChanged]; never is half of one version kept with half of another.
//   - What cannot be read or written does not keep the rest from being done;
//     [IncompleteError] names it. What would meet every other file too, a full or
//     read-only disk or a connection that does not come back, is one error.
//   - What did not fit does not keep the disk full.
//   - A lost connection is made again after pauses that double; then the error is
//     a [LostError].
//   - Modes and times are kept, to the nanosecond where both stores can. Links are
//     kept as links, and neither read nor written through. Special files are
//     skipped and reported.
//   - Nothing is removed, and no directory gives way to a file or a file to a directory.
//   - Names are bytes: newlines and what is not UTF-8 are kept.
//   - Progress is reported on the caller's goroutine, and ends at the size of all files.
//   - When the context ends, the call returns its cause, and the next call goes on.
//
// # Crashes
//
// Each name shows its old or its new content at every moment. What a crash
// leaves beside that, by step:
//
//   - while a file is sent: a hidden part, and from 1 MiB on a note that says
//     how much of it is good. The next transfer of the same name goes on after what was
//     noted, at most 64 MiB back, or starts over.
//   - after the last byte, before the name: the same, whole.
//   - while a [Taker] takes many files: a hidden directory, of which the next
//     transfer into the same directory makes what it can.
//   - after the name: nothing. Directories may still have other times and be open to
//     their owner; the next mirror sets them.
//
// A part whose source is gone for good is not found by any next transfer; it
// goes with its directory.
//
// Not promised: two versions with equal size and time are one version unless
// [VerifyAll] looks, or an [Identity] tells. A destination that writes elsewhere
// than it is told is found out by the SHA-256 of the whole, not by the proof of
// parts; a transfer of parts that was cut starts over. Owners, groups, hard links,
// holes, access lists and extended attributes are not kept. SFTP alone cannot make
// names durable: after a power cut of the far side a file may be there under its old
// content.
package transfer
