package vmimage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Recover puts every machine in order of which the journal says that a run was at
// work on it and did not end: machines that ran before run again, their disks are
// what they were, and nothing of the run is left. It looks at the machines as they are
// now and takes the journal only for what was meant. Run does it first; call it also
// when the host has booted, since machines without autostart are started by it.
//
// A machine whose guest was asked to shut down, did not in its time, and did later is started, by
// the end of the run or, if that was too early, by the next. What an editor that was open during
// a run has put back into a description is taken out of it: the lock, or the name of an overlay.
//
// There is a result for each machine to which something was done, and for each that another
// process is at work on, which is not touched: a [*RefusedError].
func (e *Engine) Recover(ctx context.Context) (results []Result, err error) {
	if e.c.Journal == nil {
		return nil, errors.New("vmimage: without a journal there are only plans")
	}
	machines, err := e.c.Journal.machines()
	if err != nil {
		return nil, err
	}
	var errs error
	for _, uuid := range machines {
		began := e.now()
		r, err := e.recoverMachine(ctx, uuid, func(*ledger) bool { return true })
		if errors.Is(err, ErrLocked) {
			name := e.nameOf(ctx, uuid)
			r, err = &Result{Machine: name, Start: began, End: e.now(), Err: &RefusedError{name, ErrLocked.Error()}}, nil
		}
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("vmimage: recover %s: %w", uuid, err))
		}
		if r != nil {
			results = append(results, *r)
		}
	}
	return results, errs
}

// recoverLate is Recover for the machines alone whose guests were asked to shut down and did not
// in their time.
func (e *Engine) recoverLate(ctx context.Context) (results []Result, err error) {
	machines, err := e.c.Journal.machines()
	for _, uuid := range machines {
		r, e := e.recoverMachine(ctx, uuid, (*ledger).late)
		if e != nil && !errors.Is(e, ErrLocked) { // who has it looks after it
			err = errors.Join(err, fmt.Errorf("vmimage: recover %s: %w", uuid, e))
		}
		if r != nil {
			results = append(results, *r)
		}
	}
	return results, err
}

// nameOf is the name of a machine, or its UUID if the host does not tell.
func (e *Engine) nameOf(ctx context.Context, uuid string) string {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if m, err := e.c.Host.Machine(ctx, uuid); err == nil {
		return m.Name
	}
	return uuid
}

// recoverMachine puts a machine in order if its ledger is one of those that are meant. The result
// is nil if nothing was to be done.
func (e *Engine) recoverMachine(ctx context.Context, uuid string, meant func(*ledger) bool) (*Result, error) {
	ledger, err := e.c.Journal.lock(uuid, e.c.Logger)
	if err != nil {
		return nil, err
	}
	defer ledger.close()
	if !meant(ledger) {
		return nil, nil
	}
	j, why, err := e.left(ctx, ledger)
	if j == nil || err != nil {
		return nil, err
	}
	j.log.Warn(why, "image", j.Image)
	before := len(ledger.entries)
	r := &Result{Machine: j.Name, Start: e.now()}
	if err := j.settle(ctx); err != nil {
		r.Err = fmt.Errorf("%s: %w", j.Name, err)
	}
	r.Settled = append(r.Settled, why)
	for _, done := range ledger.entries[before:] {
		if done.Done && done.Step != stepEnd {
			r.Settled = append(r.Settled, strings.TrimSpace(done.Step+" "+done.Disk))
		}
	}
	r.Notes, r.End = j.notes, e.now()
	return r, nil
}

// lateness is how long after it was asked to a guest that goes on may still shut down because
// of that.
const lateness = 24 * time.Hour

// left returns what is to be put in order of the last job of a machine, and why; nil if nothing is.
func (e *Engine) left(ctx context.Context, ledger *ledger) (j *job, why string, err error) {
	b := ledger.newest()
	if _, ended := ledger.last(stepEnd); b == nil && ledger.damaged && !ended {
		return nil, "", fmt.Errorf("its journal is damaged and does not say what was begun: look at the machine, then remove %s", ledger.file.Name())
	}
	if b == nil {
		return nil, "", nil
	}
	j = &job{Engine: e, begin: *b, ledger: ledger, log: e.c.Logger.With("machine", b.Name)}
	ledger.log = j.log
	for _, m := range e.c.Machines {
		if m.Name == b.Name {
			j.config = m
		}
	}
	last := ledger.entries[len(ledger.entries)-1]
	switch {
	case ledger.late():
		m, err := j.look(ctx)
		asked, _ := ledger.last(stepShutdown)
		switch {
		case err == nil && m.State == virt.Off:
			return j, "its guest shut down after all, too late for its image", nil
		case errors.Is(err, virt.ErrNotFound) || err == nil && e.now().Sub(asked.At) > lateness:
			return nil, "", ledger.write(entry{At: e.now(), Step: stepEnd, Done: true})
		}
		return nil, "", err
	case ledger.unsettled() != nil:
		return j, fmt.Sprintf("a run of %s ended in %q", last.At.Format("2006-01-02 15:04Z"), last.Step), nil
	}
	j.Ran, j.cleaned = false, true // so it stays as it is, but for its description
	back, err := j.putBack(ctx)
	if !back || err != nil {
		return nil, "", err
	}
	return j, "its description is that of a run that has ended: it was edited meanwhile", nil
}

// putBack reports whether the lasting description of the machine has something of a job that
// has ended.
func (j *job) putBack(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	locked, err := j.lockedByUs(ctx)
	if errors.Is(err, virt.ErrNotFound) {
		return false, nil
	}
	if locked || err != nil {
		return locked, err
	}
	d, err := j.domain(ctx, j.UUID, true)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(j.Disks, func(c chain) bool { return pathOf(d, c.Disk) == c.Overlay }), nil
}
