package vmimage

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/vmimage/virt"
)

// What ends the storing of an image, so that the overlays are merged while they can be.
var (
	errStalled = errors.New("a disk of the machine could not be written: is the disk of its overlay full?")
	errNoRoom  = errors.New("what the machine wrote meanwhile would soon not fit into its disk any more")
)

// watch looks after the machine while its image is stored. The context it returns
// ends when the machine is held because an overlay cannot grow, or before there is too
// little room to merge it. A guest that shut down after all, too late, is started again.
func (j *job) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	var done sync.WaitGroup
	stop = func() { cancel(nil); done.Wait() }
	if !j.Ran {
		return watched, stop
	}
	late := j.late()
	hint := make(chan struct{}, 1)
	done.Go(func() {
		// Events are hints: they only make the next look come sooner.
		for event, err := range j.c.Host.Watch(watched) {
			if err == nil && event.UUID == j.UUID {
				select {
				case hint <- struct{}{}:
				default:
				}
			}
		}
	})
	done.Go(func() {
		for watched.Err() == nil {
			m, err := j.machine(watched)
			switch {
			case err != nil:
			case m.State == virt.Stalled:
				cancel(errStalled)
			case m.State == virt.Running && !j.mergeable(watched):
				cancel(errNoRoom)
			case m.State == virt.Off && late:
				j.log.Warn("the guest shut down too late; it is started again")
				if err := j.try(watched, func(ctx context.Context, uuid string) error { return j.c.Host.Start(ctx, uuid, false) }); err != nil {
					j.log.Warn("start", "err", err)
				}
			}
			select {
			case <-watched.Done():
			case <-hint:
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	return watched, stop
}

// mergeable reports whether the volume of each disk has room for all that its overlay
// holds, and a quarter more. What cannot be told does not end an image.
func (j *job) mergeable(ctx context.Context) bool {
	stat := j.c.Space.Stat
	if stat == nil {
		stat = diskspace.Stat
	}
	for _, d := range j.Disks {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		info, err := j.c.Host.BlockInfo(ctx, j.UUID, d.Disk)
		cancel()
		if err != nil {
			continue
		}
		usage, err := stat(filepath.Dir(d.Base))
		if err == nil && usage.Avail < uint64(info.Allocation+info.Allocation/4) {
			return false
		}
	}
	return true
}
