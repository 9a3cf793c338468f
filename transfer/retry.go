package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LostError says that a connection was lost, and did not come back.
// It is an ErrLost.
type LostError struct {
	Attempts int
	Err      error // of the last one
}

func (e *LostError) Error() string {
	return fmt.Sprintf("transfer: gave up after %d attempts: %v", e.Attempts, e.Err)
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
			return &LostError{Attempts: attempt, Err: err}
		}
		o.Logger.Warn("connection lost, trying again", "file", what, "attempt", attempt, "pause", pause, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}
