package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LostError says that a connection was lost, and did not come back. It is an
// [ErrLost], and lies within the [*FileError] of what was being done.
type LostError struct {
	Attempts int
	Err      error // of the last one
}

func (e *LostError) Error() string {
	return fmt.Sprintf("gave up after %d attempts: %v", e.Attempts, e.Err)
}

func (e *LostError) Unwrap() error { return e.Err }

const maxPause = time.Minute

// retry calls f until it does something else than lose the connection, or has
// done so too often without reporting that it got further.
func (o *Options) retry(ctx context.Context, what string, f func() (further bool, err error)) error {
	pause := o.Pause
	for attempt := 1; ; attempt++ {
		further, err := f()
		if _, gaveUp := errors.AsType[*LostError](err); gaveUp || !errors.Is(err, ErrLost) {
			return err
		}
		if further {
			attempt, pause = 1, o.Pause
		}
		if attempt > o.Retries {
			if oe, ok := errors.AsType[*opError](err); ok {
				return &opError{oe.op, &LostError{attempt, oe.err}}
			}
			return &LostError{attempt, err}
		}
		o.Logger.Warn("connection lost, trying again", "file", what, "attempt", attempt, "pause", pause, "err", err)
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// wait returns after d, or with an error as soon as ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
