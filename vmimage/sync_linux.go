package vmimage

import (
	"syscall"
	"time"
)

// syncAll forces everything to the disks, also what other programs wrote: where the
// host keeps its descriptions of machines is not ours to know. It does not wait for a disk
// that does not come, such as that of a server that is away.
func syncAll() {
	done := make(chan struct{})
	go func() { syscall.Sync(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
	}
}
