package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
)

// board has the newest status of each account, writes it down, and says what has gone
// wrong, once, and that it is well again. It is safe for concurrent use.
type board struct {
	config *config
	stderr io.Writer

	mu     sync.Mutex
	all    []*accountStatus // in the order of the accounts; nil before the first
	failed bool             // something is not written
}

func newBoard(c *config, stderr io.Writer) *board {
	return &board{config: c, stderr: stderr, all: make([]*accountStatus, len(c.Accounts))}
}

// put takes the status of the account with a number.
func (b *board) put(i int, s *accountStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := cmp.Or(b.all[i], new(accountStatus))
	b.all[i] = s
	if s.Error != was.Error {
		b.say(s.Account, cmp.Or(s.Error, "its state and its sources are well again"))
	}
	if (s.Logger == "") != (was.Logger == "") {
		b.say(s.Account, "the logger: "+cmp.Or(s.Logger, "is reached again"))
	}
	if (s.Receiver == "") != (was.Receiver == "") {
		b.say(s.Account, "the receiver: "+cmp.Or(s.Receiver, "takes files again"))
	}
	if s.Refusal != was.Refusal && s.Refusal != "" {
		b.say(s.Account, "the receiver refuses a file: "+s.Refusal)
	}
	err := s.write(b.config.dir(&b.config.Accounts[i]))
	if b.config.Metrics != "" {
		err = errors.Join(err, replace(b.config.Metrics, metrics(b.all)))
	}
	if err != nil && !b.failed {
		b.say(s.Account, fmt.Sprintf("its status is not written: %v", err))
	}
	b.failed = err != nil
}

func (b *board) say(account, text string) {
	fmt.Fprintf(b.stderr, "observatory: account %s: %s\n", account, text)
}

// statuses are the newest of each account.
func (b *board) statuses() []*accountStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return known(b.all)
}
