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

// chainState is what a disk consists of, by all who know: the description of the
// machine as it runs and as it will be started, and the hypervisor itself.
type chainState struct {
	chain
	live, inactive string
	files          []string // none if the machine is off
	job            *virt.BlockJob
}

func (c *chainState) overlaid() bool { return c.live == c.Overlay }

// settled reports whether everybody says that the disk is what it was.
func (c *chainState) settled() bool {
	return c.live == c.Base && c.inactive == c.Base && c.job == nil && (len(c.files) == 0 || c.files[0] == c.Base)
}

func (j *job) domain(ctx context.Context, uuid string, inactive bool) (virt.Domain, error) {
	xml, err := j.c.Host.XML(ctx, uuid, inactive)
	if err != nil {
		return virt.Domain{}, err
	}
	return virt.Parse(xml)
}

// chains asks what the disks of the machine consist of.
func (j *job) chains(ctx context.Context) ([]chainState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := j.domain(ctx, j.UUID, false)
	if err != nil {
		return nil, err
	}
	inactive, err := j.domain(ctx, j.UUID, true)
	if err != nil {
		return nil, err
	}
	m, err := j.c.Host.Machine(ctx, j.UUID)
	if err != nil {
		return nil, err
	}
	var chains []chainState
	for _, d := range j.Disks {
		c := chainState{chain: d, live: pathOf(live, d.Disk), inactive: pathOf(inactive, d.Disk)}
		if m.State != virt.Off {
			if c.files, err = j.c.Host.Files(ctx, j.UUID, d.Disk); err != nil {
				return nil, fmt.Errorf("%s: %w", d.Disk, err)
			}
			job, err := j.c.Host.BlockJob(ctx, j.UUID, d.Disk)
			if err == nil {
				c.job = &job
			} else if !errors.Is(err, virt.ErrNotFound) {
				return nil, fmt.Errorf("%s: %w", d.Disk, err)
			}
		}
		chains = append(chains, c)
	}
	return chains, nil
}

func pathOf(d virt.Domain, disk string) string {
	for _, of := range d.Disks {
		if of.Name == disk {
			return of.Path
		}
	}
	return ""
}

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
		if c.settled() {
			continue
		}
		call := func(step string, call func(ctx context.Context, uuid, disk string) error) *act {
			return &act{step: step, do: func(ctx context.Context) error {
				err := m.try(ctx, func(ctx context.Context, uuid string) error { return call(ctx, uuid, c.Disk) })
				if err != nil {
					return fmt.Errorf("%s of %s: %w", step, c.Disk, err)
				}
				return nil
			}}
		}
		switch {
		case machine.State == virt.Off:
			return nil, fmt.Errorf("%w: %s of a machine that is off is %s, not %s", errGiveUp, c.Disk, c.inactive, c.Base)
		case c.live != c.Overlay && c.live != c.Base:
			return nil, fmt.Errorf("%w: somebody made %s of the machine %s, which is neither %s nor its overlay", errGiveUp, c.Disk, c.live, c.Base)
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
		return &act{step: stepAbort, do: func(ctx context.Context) error {
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
