package transfer

import (
	"context"
	"errors"
	"iter"
	"time"
)

// commits gathers finished uploads, so that a store that can make many
// durable at once does. A group is what comes until it is full or late.
type commits struct {
	ctx    context.Context
	cancel context.CancelCauseFunc // ends the mirror
	queue  chan commitRequest
	done   chan struct{}
	err    error // the first that ends the mirror; once done is closed
}

type commitRequest struct {
	up      Upload
	allowed <-chan error // becomes nil or why it must not be committed; nil if nobody is asked
	then    func(context.Context, error) error
}

// groupTime is how long a group waits to be full.
const groupTime = 500 * time.Millisecond

// newCommits begins to commit what is added. An error that ends the mirror
// goes to cancel at once.
func newCommits(ctx context.Context, cancel context.CancelCauseFunc, store GroupCommitter, readBack bool) *commits {
	c := &commits{ctx: ctx, cancel: cancel, queue: make(chan commitRequest, store.GroupSize()), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for group := range c.groups() {
			group = c.allowed(group)
			uploads := make([]Upload, len(group))
			for i, r := range group {
				uploads[i] = r.up
			}
			for i, err := range store.CommitAll(ctx, uploads, readBack) {
				if err != nil {
					err = &opError{"write", err}
				}
				c.settle(group[i], err)
			}
		}
	}()
	return c
}

// settle closes an upload and passes on what has become of it.
func (c *commits) settle(r commitRequest, err error) {
	err = r.then(c.ctx, errors.Join(err, r.up.Close()))
	if err != nil && c.err == nil {
		c.err = err
		c.cancel(err)
	}
}

// allowed leaves of a group what may be committed.
func (c *commits) allowed(group []commitRequest) []commitRequest {
	good := group[:0]
	for _, r := range group {
		var err error
		if r.allowed != nil {
			err = <-r.allowed
		}
		if err == nil {
			good = append(good, r)
		} else {
			c.settle(r, err)
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

// add takes over an upload. While it waits for its group check is asked whether it may
// be committed; nil if nobody is to be asked. then is called with the outcome, on
// another goroutine; what it returns ends the mirror.
func (c *commits) add(up Upload, check func(context.Context) error, then func(context.Context, error) error) {
	r := commitRequest{up: up, then: then}
	if check != nil {
		allowed := make(chan error, 1)
		go func() { allowed <- check(c.ctx) }()
		r.allowed = allowed
	}
	c.queue <- r
}

// wait returns when all uploads are settled.
func (c *commits) wait() error {
	if c == nil {
		return nil
	}
	close(c.queue)
	<-c.done
	return c.err
}
