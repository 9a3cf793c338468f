package vmimage

import (
	"context"
	"errors"
	"sync"
	"time"

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
	asked := j.asked()
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
			case m.State == virt.Off && asked:
				if err := j.startOverlaid(watched); err != nil {
					j.log.Warn("start", "err", err)
				} else {
					j.note(shutDownLate)
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

// startOverlaid starts the machine from its overlays.
func (j *job) startOverlaid(ctx context.Context) error {
	chains, err := j.chains(ctx)
	if err != nil {
		return err
	}
	for _, c := range chains {
		switch c.inactive {
		case c.Overlay:
		case c.Base:
			if err := j.describe(c, c.Overlay).do(ctx); err != nil {
				return err
			}
		default:
			return j.strayed(c, c.inactive)
		}
	}
	return j.try(ctx, j.restart)
}

// mergeable reports whether the volume of each disk has room for all that its overlay
// holds, and a quarter more. A block device does not grow. What cannot be told does not end an image.
func (j *job) mergeable(ctx context.Context) bool {
	for _, d := range j.Disks {
		if d.Block {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		info, err := j.c.Host.BlockInfo(ctx, j.UUID, d.Disk)
		cancel()
		if err != nil {
			continue
		}
		usage, err := j.c.stat(d.Base) // of the volume that it is on, if it is a link
		if err == nil && usage.Avail < uint64(info.Allocation+info.Allocation/4) {
			return false
		}
	}
	return true
}
