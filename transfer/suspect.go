package transfer

import (
	"context"
	"errors"
)

// findSuspects notes which of the files that seem unchanged are to be looked at.
func (r *run) findSuspects(ctx context.Context) {
	r.suspects = make(map[string]bool)
	for _, s := range r.plan.Steps {
		if s.Info.Mode.IsRegular() && s.Action != Send {
			d := r.delivery(s)
			r.suspects[s.Info.Name] = r.suspect(ctx, d.src, d.old)
		}
	}
}

// suspect reports whether a source of the size and time of what the destination
// has is another file than the one whose signature is kept, or has been changed
// since.
func (c *copier) suspect(ctx context.Context, src source, old Info) bool {
	if c.o.Signatures == "" || old.Size < keptMin {
		return false
	}
	s := c.readKept(old.Name, true)
	if s == nil || !s.describes(old) {
		return false
	}
	now := src.identity(ctx)
	return now.known() && !now.is(s.identity)
}

// altered reads a suspect, and reports whether it has other bytes than those
// whose signature is kept. If not it is none from now on.
func (c *copier) altered(ctx context.Context, d *delivery) (bool, error) {
	s := c.readKept(d.old.Name, false)
	if s == nil || !s.describes(d.old) {
		return false, nil
	}
	d.identify(ctx)
	found, err := d.scanSource(ctx, s)
	switch {
	case errors.Is(err, ErrChanged):
		return true, nil // whoever sends it finds out
	case found == nil:
		return false, err
	case found.whole != s.whole:
		d.scan = found
		return true, nil
	}
	if err := c.writeKept(d, s); err != nil {
		c.o.Logger.Warn("signature not kept", "file", d.info.Name, "err", err)
	}
	return false, nil
}
