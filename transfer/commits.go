package transfer

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// commits gathers finished uploads, so that a store that can make many
// durable at once does: all that finished while the last group was written.
type commits struct {
	queue chan commitRequest
	done  chan struct{}
	mu    sync.Mutex
	err   error
}

type commitRequest struct {
	up   Upload
	then func(error) error
}

// groupSize bounds the files that are open at once.
const groupSize = 256

func newCommits(ctx context.Context, store GroupCommitter, readBack bool) *commits {
	c := &commits{queue: make(chan commitRequest, groupSize), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for group := range c.groups() {
			uploads := make([]Upload, len(group))
			for i, r := range group {
				uploads[i] = r.up
			}
			for i, err := range store.CommitAll(ctx, uploads, readBack) {
				if err != nil {
					err = &opError{"write", err}
				}
				c.fail(group[i].then(errors.Join(err, uploads[i].Close())))
			}
		}
	}()
	return c
}

// groups yields what has been added since the last group.
func (c *commits) groups() iter.Seq[[]commitRequest] {
	return func(yield func([]commitRequest) bool) {
		for first := range c.queue {
			group := []commitRequest{first}
			for len(c.queue) > 0 && len(group) < groupSize {
				group = append(group, <-c.queue)
			}
			if !yield(group) {
				return
			}
		}
	}
}

// add takes over an upload. then is called with the outcome of its commit, on
// another goroutine; what it returns ends the mirror.
func (c *commits) add(up Upload, then func(error) error) {
	c.queue <- commitRequest{up, then}
}

func (c *commits) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// failed returns the first error that ends the mirror.
func (c *commits) failed() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// wait returns when all uploads are settled.
func (c *commits) wait() error {
	if c == nil {
		return nil
	}
	close(c.queue)
	<-c.done
	return c.failed()
}
