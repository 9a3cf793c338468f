// Package vmtest is a host of virtual machines in memory that fails on demand, for tests
// of what works with them, and for demonstrations. It passes the suite of package
// virttest, as every driver does.
//
// The disks of a Host are small raw files in a folder, read by
// what is tested as it would read them in life. What a guest writes after a snapshot
// is kept in memory, until a commit writes it into these files; where the overlay
// would be is a file that says so. Time is that of package time, and calls take
// none, so that all of it works inside a testing/synctest bubble.
//
// # Guarantees
//
//   - A Host keeps the contract of [virt.Host].
//   - Each fault happens at the call it is set for, and at no other.
//   - What the guest wrote is read again through every snapshot, commit, abort, pivot
//     and loss of power, unless somebody removed an overlay that was in use or
//     wrote to a disk behind its back.
//   - Check names each thing that is not as it was, and nothing if all is.
package vmtest
