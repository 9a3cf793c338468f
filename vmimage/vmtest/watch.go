package vmtest

import (
	"context"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// watcher is one who is told what happens.
type watcher struct {
	w      *world
	events []virt.Event
	more   chan struct{} // holds something if there are events
	lost   <-chan struct{}
}

func (w *world) watch() *watcher {
	a := &watcher{w: w, more: make(chan struct{}, 1), lost: w.lost}
	w.watchers[a] = true
	return a
}

func (w *world) unwatch(a *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watchers, a)
}

func (w *world) emit(e virt.Event) {
	for a := range w.watchers {
		a.events = append(a.events, e)
		select {
		case a.more <- struct{}{}:
		default:
		}
	}
}

// loseAll ends all connections. The next call of each connects anew.
func (w *world) loseAll() {
	close(w.lost)
	w.lost = make(chan struct{})
}

func (a *watcher) take() []virt.Event {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	events := a.events
	a.events = nil
	return events
}

func (a *watcher) run(ctx context.Context, lost <-chan struct{}, yield func(virt.Event, error) bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-lost:
			yield(virt.Event{}, virt.ErrLost)
			return
		case <-a.lost:
			yield(virt.Event{}, virt.ErrLost)
			return
		case <-a.more:
		}
		for _, e := range a.take() {
			if !yield(e, nil) {
				return
			}
		}
	}
}
