package vmimage

import "syscall"

// syncAll forces everything to the disks, also what other programs wrote: where the
// host keeps its descriptions of machines is not ours to know.
func syncAll() { syscall.Sync() }
