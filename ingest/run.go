package ingest

import (
	"context"
	"time"
)

// Run sweeps until ctx ends: at once, then every poll, and sooner when hints has
// something or a batch is due. After each sweep it calls swept, unless that is nil,
// with its error; the next sweep does what was left. A hint is never needed.
func (f *Feed) Run(ctx context.Context, poll time.Duration, hints <-chan struct{}, swept func(error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-hints:
		}
		err := f.Sweep(ctx)
		if swept != nil {
			swept(err)
		}
		timer.Reset(f.idle(poll))
	}
}

// idle is how long after a sweep the next one is due.
func (f *Feed) idle(poll time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.config.Now()
	soonest := now.Add(poll)
	consider := func(t time.Time) {
		if t.After(now) && t.Before(soonest) {
			soonest = t
		}
	}
	consider(f.wait)
	for _, fl := range f.files {
		if fl.open > 0 {
			consider(fl.due)
		}
	}
	return soonest.Sub(now)
}
