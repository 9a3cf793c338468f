package transfer

import (
	"context"
	"errors"
)

// fetchMax is the size up to which a file that the destination has not is
// sent with others. A larger one alone fills the line, and is resumed.
const fetchMax = 8 << 20

// together reports whether a file had better be sent with others.
func (t *task) together() bool {
	switch {
	case t.handed: // the rest of it is of the goroutine that commits
		return false
	case t.Action != Send || t.alone:
		return false
	case t.old.Mode.IsRegular() && t.old.Size >= hashMin && t.old.Size < t.info.Size:
		return false // it may have grown only
	case t.old.Size < hashMin && t.info.Size > fetchMax:
		return false
	}
	return true
}

// atOnce makes what a store says after many files an error for all, or none.
func (r *run) atOnce(ctx context.Context, op string, tasks []*task, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrLost):
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lost = tasks[0]
		return &opError{op, err}
	case err != nil:
		r.o.Logger.Debug("not all was sent at once", "err", err)
	}
	return nil
}
