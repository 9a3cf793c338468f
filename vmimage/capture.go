package vmimage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// The steps of a job. Those that put the machine in order may come again and again.
const (
	stepBegin    = "begin"
	stepLock     = "lock"
	stepShutdown = "shutdown" // the guest is asked; done: it is off
	stepStart    = "start"    // held; begun: it may be held by us
	stepRestart  = "start again"
	stepFreeze   = "freeze" // the guest's file systems
	stepSnapshot = "snapshot"
	stepThaw     = "thaw"
	stepResume   = "resume" // done: if it is held, then not by us
	stepStore    = "store"  // done: the image is what the disks were
	stepVerify   = "verify"
	stepSuspend  = "suspend" // begun: it may be held by us
	stepCommit   = "commit"
	stepPivot    = "pivot"
	stepAbort    = "abort" // a commit
	stepRemove   = "remove overlays"
	stepDescribe = "describe" // which file a disk will be when the machine is started again
	stepClean    = "clean"    // images that were not finished
	stepUnlock   = "unlock"
	stepEnd      = "end"
)

// job is the imaging of one machine, from its begin to its end.
type job struct {
	*Engine
	begin
	config    Machine
	ledger    *ledger
	log       *slog.Logger
	notes     []string
	destroyed bool      // switched off, not shut down
	cleaned   bool      // of images that were not finished
	freed     bool      // a stalled machine's disk of them, as far as that can be
	settling  time.Time // since when
	released  bool      // it was seen to run, and so not to be held by us
	deaf      bool      // the journal does not take what it is told
}

func (e *Engine) now() time.Time { return e.c.Now().UTC().Round(0) }

func (j *job) note(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	j.log.Warn(note)
	j.notes = append(j.notes, note)
}

// step writes down that it is about to act, acts, and writes down that it has.
func (j *job) step(name string, act func() error) error {
	if err := j.ledger.write(entry{At: j.now(), Step: name}); err != nil {
		return err
	}
	if err := act(); err != nil {
		return err
	}
	return j.ledger.write(entry{At: j.now(), Step: name, Done: true})
}

// capture images a machine and puts it in order, whatever fails.
func (e *Engine) capture(ctx context.Context, p Planned) (r Result) {
	r.Machine, r.Start = p.Name, e.now()
	defer func() { r.End = e.now() }()
	log := e.c.Logger.With("machine", p.Name)
	ledger, err := e.c.Journal.lock(p.Domain.UUID, log)
	if err != nil {
		r.Err = fmt.Errorf("%s: %w", p.Name, err)
		return r
	}
	defer ledger.close()

	taken := e.now()
	j := &job{Engine: e, config: p.Machine, ledger: ledger, log: log, begin: begin{
		UUID: p.Domain.UUID, Name: p.Name, Ran: p.State == virt.Running, Image: p.freeID(taken),
	}}
	for _, d := range p.Disks {
		j.Disks = append(j.Disks, chain{d.Name, d.Path, d.Format, d.Block, e.overlayOf(p.Name, j.Image, d)})
	}
	if ledger.unsettled() != nil && !(ledger.late() && j.Ran) {
		r.Err = &RefusedError{p.Name, "its last run is not settled"}
		return r
	}
	if err := ledger.begin(j.begin, taken); err != nil {
		r.Err = fmt.Errorf("%s: %w", p.Name, err)
		return r
	}
	err = j.take(ctx, &r, p)
	if _, taken := errors.AsType[*TakenError](err); taken {
		// It is the other engine's to put in order.
		j.tell(entry{At: j.now(), Step: stepEnd, Done: true})
	} else {
		err = errors.Join(err, j.settle(ctx))
	}
	if err == nil {
		r.Removed, err = e.c.Retain(ctx, r.Image, e.c.Logger)
	}
	if err != nil {
		r.Err = fmt.Errorf("%s: %w", p.Name, err)
	}
	r.Notes = append(r.Notes, j.notes...)
	return r
}

// take takes an image, stores and verifies it. The machine runs again when it returns if
// nothing failed, but its disks may have overlays.
func (j *job) take(ctx context.Context, r *Result, p Planned) error {
	if err := j.step(stepLock, func() error { return j.lockMachine(ctx) }); err != nil {
		return err
	}
	image := Image{Machine: j.Name, UUID: j.UUID, ID: j.Image}
	content := Content{Files: []Small{{"domain.xml", p.XML}}}
	var err error
	switch {
	case !j.Ran:
		image.Consistency = Clean
		if p.Saved {
			image.Consistency = Crash
			j.note("the memory of the machine is saved; the image does not hold it")
		}
		image.Taken = j.now()
		var files []Small
		files, err = j.state(p)
		content.Files = append(content.Files, files...)
	case j.config.Mode == Cold:
		err = j.cold(ctx, p, &image, &content)
	default:
		err = j.live(ctx, p, &image, &content)
	}
	if err != nil {
		return err
	}

	before, err := j.stamps()
	if err == nil {
		err = j.stillOff(ctx)
	}
	if err != nil {
		return err
	}
	for _, d := range j.Disks {
		s, err := j.c.Open(d.Base, d.Format)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Disk, err)
		}
		defer s.Close()
		content.Disks = append(content.Disks, Disk{d.Disk, s})
	}
	watched, stop := j.watch(ctx)
	defer stop()
	err = j.step(stepStore, func() error {
		if image, err = j.c.Target.Store(watched, image, content); err != nil {
			return cause(watched, err)
		}
		return j.unchanged(watched, before)
	})
	if err != nil {
		return err
	}
	return j.step(stepVerify, func() error {
		verified, err := j.c.Target.Verify(watched, image)
		if err != nil {
			return cause(watched, err)
		}
		r.Image = verified
		return nil
	})
}

// cause is why ctx ended, if it did, else err.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// cold shuts the machine down, freezes its disks, and starts it again.
func (j *job) cold(ctx context.Context, p Planned, image *Image, content *Content) error {
	asked := time.Now()
	off := false
	err := j.step(stepShutdown, func() (err error) {
		off, err = j.shutdown(ctx, p.Domain.Agent)
		if err == nil && !off {
			err = errStubborn
		}
		return err
	})
	if errors.Is(err, errStubborn) && j.config.Stubborn == TakeLive {
		j.note("the guest did not shut down within %v; its image is taken live", j.config.shutdown())
		return j.live(ctx, p, image, content)
	}
	if err != nil {
		return err
	}
	image.Shutdown = time.Since(asked)
	image.Consistency = Clean
	if j.destroyed {
		image.Consistency = Crash
	}
	// From here on the machine is down: nothing may take long, and the caller
	// giving up does not matter.
	ctx = context.WithoutCancel(ctx)
	image.Taken = j.now()
	files, err := j.state(p)
	if err != nil {
		return err
	}
	content.Files = append(content.Files, files...)
	// Of two who start it only one succeeds: if that is us, nobody wrote to the
	// disks since the guest shut down, and nobody does before they are frozen.
	err = j.step(stepStart, func() error { return j.startHeld(ctx) })
	if errors.Is(err, ErrStarted) {
		j.release()
	}
	if err != nil {
		return err
	}
	if err := j.step(stepSnapshot, func() error { return j.snapshot(ctx) }); err != nil {
		return err
	}
	// Unless it was let go before its disks were frozen.
	if m, err := j.machine(ctx); err != nil {
		return err
	} else if m.State == virt.Running {
		image.Consistency = Crash
		j.note("somebody let the machine go while it was held: its image is what a power cut would have left")
	}
	err = j.step(stepResume, func() error {
		return j.insist(ctx, func(ctx context.Context) error { return j.c.Host.Resume(ctx, j.UUID) })
	})
	if err != nil {
		return err
	}
	image.Down = time.Since(asked)
	// Were it lost in a power cut that the machine has overlays, it would be started
	// without what it wrote.
	syncAll()
	return nil
}

// live freezes the disks of the machine as it runs.
func (j *job) live(ctx context.Context, p Planned, image *Image, content *Content) error {
	image.Consistency = Crash
	frozen := false // perhaps
	if p.Domain.Agent {
		err := j.try(ctx, j.c.Host.Ping)
		if err == nil {
			frozen = true
			err = j.step(stepFreeze, func() error { return j.try(ctx, j.freeze) })
		}
		if err == nil {
			image.Consistency = Frozen
		} else {
			j.note("the guest's file systems were not held: %v", err)
		}
	}
	ctx = context.WithoutCancel(ctx)
	image.Taken = j.now()
	files, err := j.state(p)
	if err == nil {
		content.Files = append(content.Files, files...)
		err = j.step(stepSnapshot, func() error { return j.snapshot(ctx) })
	}
	if frozen {
		err = errors.Join(err, j.step(stepThaw, func() error {
			return j.insist(ctx, func(ctx context.Context) error { return j.thaw(ctx, j.UUID) })
		}))
	}
	if err == nil {
		syncAll() // as above
	}
	return err
}

func (j *job) freeze(ctx context.Context, uuid string) error {
	_, err := j.c.Host.Freeze(ctx, uuid)
	return err
}

// thaw thaws the guest. One whose agent does not answer for so long was never frozen, or
// needs a person.
func (j *job) thaw(ctx context.Context, uuid string) error {
	ctx = context.WithoutCancel(ctx)
	for end := time.Now().Add(j.c.Patience); ; {
		err := j.try(ctx, j.c.Host.Thaw)
		if !errors.Is(err, virt.ErrAgent) {
			return err
		}
		if !time.Now().Before(end) {
			j.note("the guest's file systems may be held for ever: %v", err)
			return nil
		}
		_ = sleep(ctx, time.Second)
	}
}

// callTimeout bounds one call to the host; a call that begins to merge or starts a
// machine returns within seconds.
const callTimeout = time.Minute

// try makes one call to the host, and no more than waits for it.
func (j *job) try(ctx context.Context, call func(ctx context.Context, uuid string) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return call(ctx, j.UUID)
}

// tries is how often a call is made whose answer was lost and that had no effect.
const tries = 3

// startHeld starts the machine, held. If the answer was lost it asks what became of
// it.
func (j *job) startHeld(ctx context.Context) error {
	for range tries {
		err := j.try(ctx, func(ctx context.Context, uuid string) error { return j.c.Host.Start(ctx, uuid, true) })
		if errors.Is(err, virt.ErrState) {
			return ErrStarted
		}
		if !errors.Is(err, virt.ErrLost) {
			return err
		}
		m, err := j.machine(ctx)
		if err != nil {
			return err
		}
		switch m.State {
		case virt.Off:
		case virt.Paused:
			return nil
		default:
			return ErrStarted
		}
	}
	return virt.ErrLost
}

// snapshot puts the overlays over the disks. If the answer was lost it asks what became
// of them.
func (j *job) snapshot(ctx context.Context) error {
	var overlays []virt.Overlay
	for _, d := range j.Disks {
		overlays = append(overlays, virt.Overlay{Disk: d.Disk, Path: d.Overlay})
	}
	for range tries {
		err := j.try(ctx, func(ctx context.Context, uuid string) error { return j.c.Host.Snapshot(ctx, uuid, overlays) })
		if !errors.Is(err, virt.ErrLost) {
			return err
		}
		var chains []chainState
		err = j.insist(ctx, func(ctx context.Context) (err error) {
			chains, err = j.chains(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(chains, func(c chainState) bool { return !c.overlaid() }) {
			return nil
		}
	}
	return virt.ErrLost
}
