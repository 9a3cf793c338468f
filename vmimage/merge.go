package vmimage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// maxPause is how long a guest is held at most, so that a commit which it outruns
// becomes ready.
const maxPause = 30 * time.Second

// merge is the way of a machine's overlays back into their bases.
type merge struct {
	*job
	least  int64     // bytes that were left to merge at best
	since  time.Time // when that was so, or the guest was held
	paused bool      // it was held, once
}

// pausing reports whether the guest is being held for its commit.
func (m *merge) pausing() bool { return m.paused && time.Since(m.since) < maxPause }

// next returns what is to be done first for the disks to be what they were; nil if they
// are.
func (m *merge) next(machine virt.Machine, chains []chainState) (*act, error) {
	for _, c := range chains {
		if machine.State == virt.Off {
			if path, err := m.startsFrom(c); err != nil {
				return nil, err
			} else if path != c.inactive {
				return m.describe(c, path), nil
			}
			continue
		}
		if _, merged := m.ledger.pivot(c.Disk); c.settled(merged) {
			continue
		}
		call := func(step string, call func(ctx context.Context, uuid, disk string) error) *act {
			return &act{step: step, disk: c.Disk, do: func(ctx context.Context) error {
				err := m.try(ctx, func(ctx context.Context, uuid string) error { return call(ctx, uuid, c.Disk) })
				if err != nil {
					return fmt.Errorf("%s of %s: %w", step, c.Disk, err)
				}
				return nil
			}}
		}
		switch {
		case c.live != c.Overlay && c.live != c.Base:
			return nil, m.strayed(c, c.live)
		case !there(c.Base):
			return nil, m.missing(c, c.Base)
		case c.job != nil && !c.job.Commit:
			return nil, fmt.Errorf("%s: %w", c.Disk, virt.ErrBusy)
		case c.job != nil && c.job.Ready && machine.State == virt.Running && !m.deaf:
			// A guest that goes on writing to the base, while a power cut can still
			// undo that the description names it, would be started on an overlay
			// that is older than what is beneath it.
			m.paused, m.since = true, time.Now()
			return m.suspend(), nil
		case c.job != nil && c.job.Ready:
			return call(stepPivot, func(ctx context.Context, uuid, disk string) error {
				if err := m.c.Host.Pivot(ctx, uuid, disk); err != nil {
					return err
				}
				syncAll()
				return nil
			}), nil
		case c.job != nil:
			return m.await(c), nil
		case c.live == c.Base && c.inactive == c.Overlay && len(c.files) > 0 && c.files[0] == c.Base:
			return m.describe(c, c.Base), nil
		case c.live == c.Base || len(c.files) < 2 || c.files[0] != c.Overlay || c.files[1] != c.Base:
			return nil, fmt.Errorf("%s: the hypervisor has %v, the description %s, and %s once it is started again", c.Disk, c.files, c.live, c.inactive)
		}
		m.least, m.since, m.paused = math.MaxInt64, time.Now(), false
		return call(stepCommit, func(ctx context.Context, uuid, disk string) error {
			return m.c.Host.Commit(ctx, uuid, disk, 0)
		}), nil
	}
	return nil, nil
}

func (m *merge) suspend() *act {
	return &act{step: stepSuspend, do: func(ctx context.Context) error { return m.try(ctx, m.c.Host.Suspend) }}
}

// await waits for a commit to become ready. A guest that writes faster than its disk
// takes is held for a moment.
func (m *merge) await(c chainState) *act {
	if left := c.job.Total - c.job.Done; !m.paused && (m.since.IsZero() || left < m.least) {
		m.least, m.since = left, time.Now()
	}
	switch {
	case m.paused && !m.pausing():
		return &act{step: stepAbort, disk: c.Disk, do: func(ctx context.Context) error {
			err := m.try(ctx, func(ctx context.Context, uuid string) error { return m.c.Host.AbortBlockJob(ctx, uuid, c.Disk) })
			return errors.Join(fmt.Errorf("%w: the commit of %s was not ready although the guest was held for %v", errGiveUp, c.Disk, maxPause), err)
		}}
	case !m.paused && time.Since(m.since) > m.c.Patience && !m.deaf:
		m.note("the guest writes to %s faster than that can be merged, and is held for a moment", c.Disk)
		m.paused, m.since = true, time.Now()
		return m.suspend()
	}
	// The longer it has taken, the less a look more matters.
	return &act{wait: min(max(time.Since(m.since)/10, 100*time.Millisecond), 5*time.Second)}
}
