package transfer

import (
	"context"
	"errors"
	"iter"
)

// commits gathers finished uploads, so that a store that can make many
// durable at once does: all that finished while the last group was written.
type commits struct {
	queue chan commitRequest
	done  chan struct{}
	err   error // the first that ends the mirror; once done is closed
}

type commitRequest struct {
	up   Upload
	then func(context.Context, error) error
}

// groupSize bounds the files that wait to be committed, and those that are
// being committed.
const groupSize = 256

// newCommits begins to commit what is added. An error that ends the mirror
// goes to cancel at once.
func newCommits(ctx context.Context, cancel context.CancelCauseFunc, store GroupCommitter, readBack bool) *commits {
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
				err = group[i].then(ctx, errors.Join(err, uploads[i].Close()))
				if err != nil && c.err == nil {
					c.err = err
					cancel(err)
				}
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
func (c *commits) add(up Upload, then func(context.Context, error) error) {
	c.queue <- commitRequest{up, then}
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
