// Package rsync speaks the protocol of rsync, in versions 29 to 32: as a client
// that sends ([Push]) or receives ([Pull]), and as the server at the other end
// of either ([Serve]). It needs nothing but two streams to the other side.
//
// A client starts the server with the arguments that [Options.ServerArgs]
// gives, commonly through SSH: every machine that has sshd and rsync will do.
// Stock rsync clients are served by [Serve].
//
// The words are rsync's. A file that the receiver has in another version is the
// basis: it is cut into blocks whose checksums, one weak and one strong, go to
// the sender, which answers with matched blocks and literal data.
//
// # Guarantees
//
//   - A file is seen under its name either as it was or whole, its bytes proved
//     by a checksum over all of them: [Options].InPlace and the append modes
//     excepted. One that fails the proof is sent again, and once more failing
//     it is reported.
//   - A file that changes while it is sent is not kept by the receiver in that
//     state: its checksum is made wrong.
//   - Nothing is deleted once the sender has said that it could not read all of
//     its side, unless IgnoreErrors says so. Where the list comes directory by
//     directory, DeleteDuring deletes before all of it is known: in directories
//     that the sender has read whole.
//   - No path leads out of the root, whatever the far side or links say; below
//     the path that was named no link is followed.
//   - Whatever a far side sends, nothing here panics, waits for ever once the
//     context has ended, or takes memory by its claims alone. What it says is
//     escaped before it can be shown.
//   - An entry that fails does not keep the others from being transferred.
//
// Files are written beside their place as ".name.random" and renamed. With
// PartialDir what was cut is kept there, and is the basis of the next attempt;
// another process will do.
//
// A receiver takes the list directory by directory (incremental recursion) from
// a sender that can send it so, unless [Options].NoIncremental is set or
// DeleteBefore or DeleteAfter needs the whole of it. The first files come before
// the last are listed, and those that have come are forgotten: what is in memory is
// the directories, the names of hard links, and the files of some directories.
// The sender of this package sends the list in one.
//
// Access control lists and extended attributes are not supported, nor are the
// options of rsync that are not in [Options]: a server refuses them by name.
//
// The protocol has no standard; this follows what rsync 3.0.9 to 3.5.0 send.
package rsync
