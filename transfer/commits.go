package transfer

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"
)

// commits gathers finished uploads, so that a store that can make many
// durable at once does. A group is what comes until it is full or late.
type commits struct {
	queue chan commitRequest
	done  chan struct{}
	err   error // the first that ends the mirror; once done is closed
}

type commitRequest struct {
	up    Upload
	check func(context.Context) error // asked before; nil for nothing to ask
	then  func(context.Context, error) error
}

// groupTime is how long a group waits to be full.
const groupTime = 500 * time.Millisecond

// newCommits begins to commit what is added. An error that ends the mirror
// goes to cancel at once.
func newCommits(ctx context.Context, cancel context.CancelCauseFunc, store GroupCommitter, readBack bool) *commits {
	c := &commits{queue: make(chan commitRequest, store.GroupSize()), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for group := range c.groups() {
			group = c.checked(ctx, cancel, group)
			uploads := make([]Upload, len(group))
			for i, r := range group {
				uploads[i] = r.up
			}
			for i, err := range store.CommitAll(ctx, uploads, readBack) {
				if err != nil {
					err = &opError{"write", err}
				}
				c.settle(ctx, cancel, group[i], err)
			}
		}
	}()
	return c
}

// settle closes an upload and passes on what has become of it.
func (c *commits) settle(ctx context.Context, cancel context.CancelCauseFunc, r commitRequest, err error) {
	err = r.then(ctx, errors.Join(err, r.up.Close()))
	if err != nil && c.err == nil {
		c.err = err
		cancel(err)
	}
}

// checked leaves of a group what may be committed.
func (c *commits) checked(ctx context.Context, cancel context.CancelCauseFunc, group []commitRequest) []commitRequest {
	errs := make([]error, len(group))
	var wg sync.WaitGroup
	for i, r := range group {
		if r.check != nil {
			wg.Go(func() { errs[i] = r.check(ctx) })
		}
	}
	wg.Wait()
	good := group[:0]
	for i, r := range group {
		if errs[i] == nil {
			good = append(good, r)
		} else {
			c.settle(ctx, cancel, r, errs[i])
		}
	}
	return good
}

// groups yields what is added, as much at once as comes in time.
func (c *commits) groups() iter.Seq[[]commitRequest] {
	return func(yield func([]commitRequest) bool) {
		for first := range c.queue {
			if !yield(c.fill(first)) {
				return
			}
		}
	}
}

func (c *commits) fill(first commitRequest) []commitRequest {
	group := []commitRequest{first}
	late := time.After(groupTime)
	for len(group) < cap(c.queue) {
		select {
		case next, more := <-c.queue:
			if !more {
				return group
			}
			group = append(group, next)
		case <-late:
			return group
		}
	}
	return group
}

// add takes over an upload. r.then is called with the outcome of its commit, on
// another goroutine; what it returns ends the mirror.
func (c *commits) add(r commitRequest) { c.queue <- r }

// wait returns when all uploads are settled.
func (c *commits) wait() error {
	if c == nil {
		return nil
	}
	close(c.queue)
	<-c.done
	return c.err
}
