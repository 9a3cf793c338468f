// Package diskspace tells whether what is about to be written fits, and what
// may go if it does not.
//
// [Stat] measures the volume of a path; a [Stater] does so for a store that is
// elsewhere. A [Planner] adds up what several jobs need on each volume and
// leaves a [Reserve]: [Planner.Fits] says what is short, [Planner.Relief] which
// old items would make room. [TimeToFull] says when a volume that goes on
// growing will be full. Nothing here writes or deletes.
//
// A plan is a forecast. Other programs write too, sparse and compressed files
// take less than their size, small files more, and removing one of several
// links or a snapshot's original frees nothing. So plan again after making
// room, and go on expecting ENOSPC.
//
// # Guarantees
//
//   - Fits adds up all needs of one volume, whatever paths they are given by,
//     and never lets the sum wrap around.
//   - Fits leaves the reserve untouched.
//   - Fits counts only space that an ordinary process may use, not what the
//     file system keeps for root.
//   - Fits counts inodes where the file system has a limited number of them.
//   - Relief never proposes an item marked as the last good one, nor one of
//     unknown age, nor one on another volume.
//   - Relief takes the oldest first, and no more than are needed; if all that may
//     go is not enough, it proposes nothing.
//   - No function but Stat looks at a disk, and none at a clock.
package diskspace
