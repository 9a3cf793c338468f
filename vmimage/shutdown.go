package vmimage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

var errStubborn = errors.New("the guest did not shut down in its time")

// askAgain is how long a guest is given before its power button is pressed once
// more: one that has not booted far enough, or shows a dialogue, misses the first.
const askAgain = 15 * time.Second

func (m Machine) shutdown() time.Duration {
	if m.Shutdown <= 0 {
		return 3 * time.Minute
	}
	return m.Shutdown
}

// shutdown asks the guest to shut itself down, by its agent if that answers, then by
// its power button, again and again. It reports whether the machine is off in the end.
func (j *job) shutdown(ctx context.Context, agent bool) (off bool, err error) {
	deadline := time.Now().Add(j.config.shutdown())
	by := virt.ACPI
	if agent && j.try(ctx, j.c.Host.Ping) == nil {
		by = virt.Agent
	}
	for {
		err := j.try(ctx, func(ctx context.Context, uuid string) error { return j.c.Host.Shutdown(ctx, uuid, by) })
		// An agent that is shutting down may end before it has answered.
		if err != nil && by == virt.ACPI && !errors.Is(err, virt.ErrLost) && !errors.Is(err, virt.ErrState) {
			return false, fmt.Errorf("shut down by %v: %w", by, err)
		}
		by = virt.ACPI
		off, err := j.waitOff(ctx, min(askAgain, time.Until(deadline)))
		if off || err != nil {
			return off, err
		}
		if time.Now().Before(deadline) {
			continue
		}
		if j.config.Stubborn != Destroy {
			return false, nil
		}
		j.note("the guest did not shut down within %v and was switched off", j.config.shutdown())
		j.destroyed = true
		err = j.try(ctx, j.c.Host.Destroy)
		if err != nil && !errors.Is(err, virt.ErrLost) && !errors.Is(err, virt.ErrState) {
			return false, fmt.Errorf("switch off: %w", err)
		}
		return j.waitOff(ctx, callTimeout)
	}
}

// asked reports whether the guest was asked to shut down and did not in its time, so that it may
// do so yet.
func (j *job) asked() bool {
	e, ok := j.ledger.last(stepShutdown, stepRestart)
	return j.Ran && ok && e.Step == stepShutdown && !e.Done
}

// awaited reports whether that is waited for: for as long again as the guest had. If the clock
// was set back meanwhile, that is counted from when the machine began to be put in order.
func (j *job) awaited() bool {
	e, _ := j.ledger.last(stepShutdown)
	return j.asked() && e.At.Add(2*j.config.shutdown()).After(j.now()) &&
		(j.settling.IsZero() || time.Since(j.settling) < 2*j.config.shutdown())
}

// waitOff waits until the machine is off, no longer than d.
func (j *job) waitOff(ctx context.Context, d time.Duration) (bool, error) {
	for end := time.Now().Add(d); ; {
		m, err := j.machine(ctx)
		if err != nil || m.State == virt.Off {
			return err == nil, err
		}
		if !time.Now().Before(end) {
			return false, nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// machine asks for the machine as it is now.
func (j *job) machine(ctx context.Context) (m virt.Machine, err error) {
	err = j.insist(ctx, func(ctx context.Context) (err error) {
		m, err = j.c.Host.Machine(ctx, j.UUID)
		return err
	})
	return m, err
}

// insist asks again while the host cannot be reached.
func (j *job) insist(ctx context.Context, ask func(ctx context.Context) error) error {
	for end := time.Now().Add(j.c.Patience); ; {
		err := j.try(ctx, func(ctx context.Context, _ string) error { return ask(ctx) })
		if !errors.Is(err, virt.ErrLost) || !time.Now().Before(end) {
			return err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
