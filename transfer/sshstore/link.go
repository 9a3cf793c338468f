package sshstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/transfer"
)

// link is a connection that comes back.
type link struct {
	config Config
	keys   map[string]ssh.Signer // of key files; belongs to the only dialling
	shell  atomic.Int32          // whether the account may run programs: unknown, yes, no
	execs  *sessions

	hashesFast atomic.Bool
	noRsync    atomic.Bool // that answers

	mu      sync.Mutex
	conn    *conn
	dialing *dialing // that is wanted
	last    *dialing // wanted or not
	closed  bool
}

// dialing is one attempt to connect, for all that wait for it.
type dialing struct {
	done   chan struct{}
	cancel context.CancelFunc
	conn   *conn // once done
	err    error
	wanted int // by how many
}

func newLink(c Config) *link {
	return &link{config: c, keys: map[string]ssh.Signer{}, execs: newSessions(maxExecs)}
}

// get returns the connection. If there is none, one is dialled, for all who
// ask meanwhile; who asks later gets a new attempt. Once a link has worked, it
// is an ErrLost if it does not come back.
func (l *link) get(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return nil, fs.ErrClosed
	case l.conn != nil && !l.conn.isDead():
		defer l.mu.Unlock()
		return l.conn, nil
	case l.dialing == nil:
		l.dial(ctx)
	}
	d := l.dialing
	d.wanted++
	l.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if d.wanted--; d.wanted == 0 {
			d.cancel()
			if l.dialing == d {
				l.dialing = nil
			}
		}
		return nil, ctx.Err()
	}
}

// dial starts an attempt; l.mu is held.
func (l *link) dial(ctx context.Context) {
	// It is not only for the caller that happens to be the first.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &dialing{done: make(chan struct{}), cancel: cancel}
	last, before := l.last, l.conn
	l.dialing, l.last = d, d
	go func() {
		defer close(d.done)
		defer cancel()
		if last != nil {
			<-last.done // one at a time, also when nobody wants it any more
		}
		c, err := l.dialSFTP(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.dialing != d || l.closed {
			if err == nil {
				c.kill(fs.ErrClosed)
			}
			d.err = fs.ErrClosed
			return
		}
		l.dialing = nil
		if err != nil {
			d.err = err
			if before != nil && mayReturn(err) {
				d.err = &lostError{l.config.addr(), err}
			}
			return
		}
		l.conn, d.conn = c, c
		l.config.logger().Info("connected", "addr", l.config.addr(), "again", before != nil)
	}()
}

// mayReturn reports whether a machine that could be entered before may let us
// in again: not if it shows another key now.
func mayReturn(err error) bool {
	_, host := errors.AsType[*HostKeyError](err)
	_, key := errors.AsType[*KeyError](err)
	return !host && !key
}

// close ends the connection, and returns when nothing runs any more.
func (l *link) close() error {
	l.mu.Lock()
	l.closed = true
	d, c := l.last, l.conn
	l.mu.Unlock()
	if d != nil {
		d.cancel()
		<-d.done
	}
	if c != nil {
		c.kill(fs.ErrClosed)
		c.wg.Wait()
	}
	return nil
}

// lostError says which connection was lost, and why. It is an ErrLost.
type lostError struct {
	addr string
	err  error
}

func (e *lostError) Error() string {
	if _, ok := errors.AsType[*UnreachableError](e.err); ok {
		return fmt.Sprintf("connection lost: %v", e.err)
	}
	return fmt.Sprintf("connection to %s lost: %v", e.addr, e.err)
}

func (e *lostError) Unwrap() []error { return []error{transfer.ErrLost, e.err} }
