// Package keep keeps day folders: what an instrument or a simulation wrote on
// one day, in a folder named by the day, fetched once, verified and never
// overwritten.
//
// A [Keeper] works between two stores. [Keeper.Plan] looks at both and says
// what would be done with each day; [Keeper.Run] does it; [Keeper.Kept] lists
// what is kept; [Keeper.Verify] reads a kept day again. Plans and results are
// values; what a mail says of them is [Result.Job].
//
// A day is complete when nothing in it has changed for a while by the clock of
// the source, or when a marker file is there. It is fetched into a hidden
// folder beside its place, under ".obskeep-stage-" and its name. When
// every file has been read back and compared, and the source is still what it
// was, the manifest "SHA256SUMS.obskeep" is put in, and one rename makes the folder a
// kept day. sha256sum -c reads the manifest. A file of its name at the source is
// left out.
//
// The target remembers in ".obskeep-origin" whose days it holds (Config.Origin).
// Links are not followed in it: one in the place of a folder is an
// [*InTheWayError].
//
// When the source of a kept day changes later, the day stays as it is, and the
// new state is kept beside it as a revision: 268.rev2, 268.rev3.
//
// # Guarantees
//
//   - A kept day is never changed and never overwritten.
//   - A day is complete under its name, or not there.
//   - A run that was cut or killed is gone on with by the next.
//   - Each kept file was read back and compared with what the source sent.
//   - A file that cannot be read does not keep the others from being kept; it is named.
//     So is one whose name is reserved (".obskeep-…"), which is not kept.
//   - What an earlier run fetched is compared with the source again before it is kept.
//   - No file that was cut in the middle gets into a kept day, if the target can
//     find such (dirstore does).
//   - Files have the modes of the source, but their owner can read them, and list folders.
//   - A day whose source changes while it is fetched is not kept as it is.
//   - A day that does not fit, with the reserve, is not begun.
//   - Days missed while nothing ran are caught up.
//   - The days of two sources are not mixed in one place, if they have an Origin each.
//   - Kept days go only when newer ones are there in the number to keep, oldest first,
//     and never the newest; none goes in a run in which something failed, unless
//     to make room.
//   - A corrupted kept file is found by Verify, and named. A run verifies each kept day that
//     it looks at; damage is not taken for a change, nothing of it is carried
//     over, and the day is fetched again as a revision while the source has it.
//
// What a crash leaves: a stage folder, which the next run of that day goes on
// with; a folder ".obskeep-trash-…" of a day half removed, which the next
// run removes.
package keep
