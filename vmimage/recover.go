package vmimage

import (
	"context"
	"errors"
	"fmt"
)

// Recover puts every machine in order of which the journal says that a run was at
// work on it and did not end: machines that ran before run again, their disks are
// what they were, and nothing of the run is left. It looks at the machines as they are
// now and takes the journal only for what was meant. Run does it first; call it also
// when the host has booted, since machines without autostart are started by it.
//
// There is a result for each such machine. Machines that another process is at
// work on are passed over.
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
		r, err := e.recoverMachine(ctx, uuid)
		if errors.Is(err, ErrLocked) {
			continue
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

func (e *Engine) recoverMachine(ctx context.Context, uuid string) (*Result, error) {
	ledger, err := e.c.Journal.lock(uuid, e.c.Logger)
	if err != nil {
		return nil, err
	}
	defer ledger.close()
	b := ledger.unsettled()
	if _, ended := ledger.last(stepEnd); b == nil && ledger.damaged && !ended {
		return nil, fmt.Errorf("its journal is damaged and does not say what was begun: look at the machine, then remove %s", ledger.file.Name())
	}
	if b == nil {
		return nil, nil
	}
	log := e.c.Logger.With("machine", b.Name)
	ledger.log = log
	last := ledger.entries[len(ledger.entries)-1]
	log.Warn("a run did not end", "image", b.Image, "step", last.Step, "at", last.At)
	j := &job{Engine: e, begin: *b, ledger: ledger, log: log}
	for _, m := range e.c.Machines {
		if m.Name == b.Name {
			j.config = m
		}
	}
	before := len(ledger.entries)
	r := &Result{Machine: b.Name, Start: e.now()}
	if err := j.settle(ctx); err != nil {
		r.Err = fmt.Errorf("%s: %w", b.Name, err)
	}
	r.Settled = append(r.Settled, fmt.Sprintf("a run of %s ended in %q", last.At.Format("2006-01-02 15:04Z"), last.Step))
	for _, done := range ledger.entries[before:] {
		if done.Done && done.Step != stepEnd {
			r.Settled = append(r.Settled, done.Step)
		}
	}
	r.Notes, r.End = j.notes, e.now()
	return r, nil
}
