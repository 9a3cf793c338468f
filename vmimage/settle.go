package vmimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/vmimage/virt"
)

// act is something to be done to a machine, and what it is called in the journal; or
// nothing is to be done but to wait and to look again.
type act struct {
	step string
	disk string // that it is about; "" for the machine as a whole
	do   func(ctx context.Context) error
	wait time.Duration
}

// maxTries is how often one step is tried, with a second between the first two and twice
// as long each time.
const maxTries = 6

// settle brings the machine to what it was before the job, whatever has happened to
// it since: it looks, does the first thing that is not as it should be, and looks
// again. It is the end of every job, and what is done about one that was killed.
// It goes on after ctx has ended.
func (j *job) settle(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	j.settling = time.Now()
	tries := make(map[string]int)
	merge := &merge{job: j}
	answered := time.Now()
	for {
		a, err := j.next(ctx, merge)
		if err == nil {
			answered = time.Now()
		}
		if err == nil && a == nil {
			return j.ledger.write(entry{At: j.now(), Step: stepEnd, Done: !j.asked()})
		}
		step := "look"
		if err == nil {
			if step = a.step; a.do == nil {
				_ = sleep(ctx, a.wait)
				continue
			}
			j.tell(entry{At: j.now(), Step: step, Disk: a.disk})
			if err = a.do(ctx); err == nil {
				j.tell(entry{At: j.now(), Step: step, Disk: a.disk, Done: true})
			}
		}
		if errors.Is(err, virt.ErrLost) {
			if time.Since(answered) > j.c.Patience {
				return j.down(ctx, err)
			}
			_ = sleep(ctx, time.Second)
			continue
		}
		answered = time.Now()
		if step == stepPivot && err == nil {
			clear(tries)
			continue
		}
		// A step that succeeds and is found undone is no progress either: a
		// guest that dies whenever it is started.
		if tries[step]++; tries[step] == maxTries || errors.Is(err, errGiveUp) {
			if err == nil {
				err = fmt.Errorf("%s: done %d times, and undone each time", step, maxTries)
			}
			return j.down(ctx, err)
		}
		if err != nil {
			j.log.Warn("settle", "step", step, "err", err)
		}
		if err != nil || tries[step] > 1 {
			_ = sleep(ctx, time.Second<<(tries[step]-1))
		}
	}
}

// tell writes to the journal as far as it can be written to: a machine comes back also
// when the journal's disk is full.
func (j *job) tell(e entry) {
	if err := j.ledger.write(e); err != nil {
		j.log.Warn("journal", "step", e.Step, "err", err)
		j.ledger.entries = append(j.ledger.entries, e) // it is so, all the same
		j.deaf = true
	}
}

// down gives up with err. A machine that is held by us goes on first; if one that ought to run does
// not, err becomes a RestartError.
func (j *job) down(ctx context.Context, err error) error {
	m, e := j.machine(ctx)
	if e == nil && m.State == virt.Paused && j.held() {
		err = errors.Join(err, j.try(ctx, j.c.Host.Resume))
		m, e = j.machine(ctx)
	}
	if j.Ran && (e != nil || m.State != virt.Running) {
		return &RestartError{j.Name, err}
	}
	return err
}

func (j *job) look(ctx context.Context) (m virt.Machine, err error) {
	err = j.try(ctx, func(ctx context.Context, uuid string) error {
		m, err = j.c.Host.Machine(ctx, uuid)
		return err
	})
	return m, err
}

// errGiveUp marks what does not get better by trying again.
var errGiveUp = errors.New("this needs a person")

// next looks at the machine and returns what is to be done first, nil if all is in
// order.
func (j *job) next(ctx context.Context, merge *merge) (*act, error) {
	m, err := j.look(ctx)
	if errors.Is(err, virt.ErrNotFound) {
		if left := j.overlaysThere(); len(left) > 0 {
			return nil, fmt.Errorf("%w: the host does not know the machine any more, and %v hold what it wrote since %s: define it again and recover, or remove them if they are of no use",
				errGiveUp, left, j.Image)
		}
		j.note("the host does not know the machine any more")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if l, err := j.lockOf(ctx, j.UUID); err != nil {
		return nil, err
	} else if l != nil && l.Owner != j.c.Journal.owner {
		return nil, fmt.Errorf("%w: %w", errGiveUp, j.taken(j.Name, l))
	}
	call := func(step string, call func(ctx context.Context, uuid string) error) *act {
		return &act{step: step, do: func(ctx context.Context) error { return j.try(ctx, call) }}
	}
	if freeze, ok := j.ledger.last(stepFreeze, stepThaw); ok && !(freeze.Step == stepThaw && freeze.Done) && m.State == virt.Running {
		return call(stepThaw, j.thaw), nil
	}
	if m.State == virt.Running && j.held() {
		j.release()
	}
	if m.State == virt.Paused && j.held() && !merge.pausing() {
		return call(stepResume, j.c.Host.Resume), nil
	}
	if m.State == virt.Stalled && !j.freed {
		j.freed = true
		if a := j.imageLeft(); a != nil {
			return a, nil // it may be on the disk that is full
		}
	}
	chains, err := j.chains(ctx)
	if err != nil {
		return nil, err
	}
	if a, err := merge.next(m, chains); a != nil || err != nil {
		return a, err
	}
	if j.Ran && m.State == virt.Off {
		asked := j.asked()
		return call(stepRestart, func(ctx context.Context, uuid string) error {
			err := j.restart(ctx, uuid)
			if err == nil && asked {
				j.note(shutDownLate)
			}
			return err
		}), nil
	}
	if j.Ran && m.State == virt.Stalled || m.State == virt.Paused && j.held() {
		return call(stepResume, j.c.Host.Resume), nil
	}
	if a, err := j.leftovers(ctx, m); a != nil || err != nil {
		return a, err
	}
	if a := j.imageLeft(); a != nil {
		return a, nil
	}
	if locked, err := j.lockedByUs(ctx); err != nil || locked {
		return &act{step: stepUnlock, do: j.unlockMachine}, err
	}
	if j.awaited() {
		return &act{wait: time.Second}, nil
	}
	return nil, nil
}

// held reports whether a machine that is held may be so by us.
func (j *job) held() bool {
	e, ok := j.ledger.last(stepStart, stepSuspend, stepResume)
	return j.ledger.damaged && !j.released || ok && !(e.Step == stepResume && e.Done)
}

// release writes down that the machine is not held by us, whoever let it go: should it be held
// later, then by somebody else.
func (j *job) release() {
	j.tell(entry{At: j.now(), Step: stepResume, Done: true})
	j.released = true
}

const shutDownLate = "the guest shut down after all, too late for its image, and was started again"

// restart starts the machine, if somebody else was not faster.
func (j *job) restart(ctx context.Context, uuid string) error {
	err := j.c.Host.Start(ctx, uuid, false)
	if errors.Is(err, virt.ErrState) {
		return nil
	}
	return err
}

// overlaysThere are the overlays of which there may be a file.
func (j *job) overlaysThere() (left []string) {
	for _, d := range j.Disks {
		if there(d.Overlay) {
			left = append(left, d.Overlay)
		}
	}
	return left
}

// leftovers returns the removal of overlays that are there and that nothing uses.
func (j *job) leftovers(ctx context.Context, m virt.Machine) (*act, error) {
	left := j.overlaysThere()
	if len(left) == 0 {
		return nil, nil
	}
	for _, d := range j.Disks {
		if pivoting, _ := j.ledger.pivot(d.Disk); !pivoting && j.ledger.did(stepSnapshot) && there(d.Overlay) {
			return nil, fmt.Errorf("%w: nobody names overlay %s of disk %s any more, and it holds what the machine wrote since %s: if that was merged by hand, remove it", errGiveUp, d.Overlay, d.Disk, j.Image)
		}
	}
	used, err := j.inUse(ctx, m)
	if err != nil {
		return nil, err
	}
	for _, path := range left {
		if machine, ok := used[path]; ok {
			return nil, fmt.Errorf("%w: overlay %s is in use by %s", errGiveUp, path, machine)
		}
	}
	return &act{step: stepRemove, do: func(context.Context) error {
		var errs error
		for _, path := range left {
			errs = errors.Join(errs, remove(path))
		}
		return errs
	}}, nil
}

// inUse are all files that any machine of the host consists of, by what the host says
// of it running and off, and for ours what the hypervisor itself says.
func (j *job) inUse(ctx context.Context, m virt.Machine) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	used := make(map[string]string)
	machines, err := j.c.Host.Machines(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range machines {
		for _, inactive := range []bool{false, true} {
			if inactive && !other.Persistent {
				continue
			}
			d, err := j.domain(ctx, other.UUID, inactive)
			if errors.Is(err, virt.ErrNotFound) {
				continue // gone since
			}
			if err != nil {
				return nil, err
			}
			for _, disk := range d.Disks {
				for _, path := range append(disk.Backing, disk.Path) {
					used[path] = other.Name
				}
			}
		}
	}
	if m.State == virt.Off {
		return used, nil
	}
	for _, d := range j.Disks {
		files, err := j.c.Host.Files(ctx, j.UUID, d.Disk)
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			used[path] = j.Name
		}
	}
	return used, nil
}

// remove removes a file, durably.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return durable.SyncDir(root, ".")
}

// imageLeft returns what is to be done about what a store left that was not finished.
func (j *job) imageLeft() *act {
	if _, stored := j.ledger.last(stepStore); !stored || j.cleaned {
		return nil
	}
	return &act{step: stepClean, do: func(ctx context.Context) error {
		if !j.ledger.did(stepStore) {
			// If it is there, it is not known to be what the disks were at one moment. One
			// that is verified is somebody else's.
			images, listErr := j.c.Target.Images(ctx)
			for _, i := range images {
				if i.Machine == j.Name && i.ID == j.Image && i.UUID == j.UUID && i.Verified.IsZero() {
					if err := j.c.Target.Remove(ctx, i); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
				}
			}
			if listErr != nil {
				j.log.Warn("images", "err", listErr)
			}
		}
		_, err := j.c.Target.Clean(ctx, j.Name)
		j.cleaned = err == nil
		return err
	}}
}
