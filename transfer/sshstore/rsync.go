package sshstore

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
	"github.com/obskeep/obskeep/transfer/rsync"
)

var errNoRsync = fmt.Errorf("no rsync on the far side: %w", errors.ErrUnsupported)

// ListTree implements [transfer.TreeLister] with the rsync of the far side.
func (s *Store) ListTree(ctx context.Context, dir string) ([]transfer.Info, error) {
	if err := transfer.ValidName(dir); err != nil {
		return nil, err
	}
	var entries []rsync.Entry
	args := rsync.ListOptions().ServerArgs(true, s.fs.path(dir)+"/")
	err := s.link.rsync(ctx, args, func(c rsync.Conn) (err error) {
		entries, err = rsync.List(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	infos := make([]transfer.Info, 0, len(entries))
	for _, e := range entries {
		if !fsstore.IsHidden(e.Name) {
			infos = append(infos, transfer.Info(e))
		}
	}
	return infos, nil
}

// Fetch implements [transfer.Fetcher] with the rsync of the far side.
func (s *Store) Fetch(ctx context.Context, dir string, wants []transfer.Want) error {
	if err := transfer.ValidName(dir); err != nil {
		return err
	}
	list := make([]rsync.Want, len(wants))
	for i, w := range wants {
		list[i] = rsync.Want{Name: w.Name, Size: w.Size, ModTime: w.ModTime}
		list[i].Create = func() (rsync.Output, error) { return w.Create() }
		if w.Basis != nil {
			list[i].Basis = func() (rsync.Basis, error) { return w.Basis() }
		}
	}
	args := rsync.FetchOptions(list).ServerArgs(true, s.fs.path(dir)+"/")
	return s.link.rsync(ctx, args, func(c rsync.Conn) error {
		_, err := rsync.Fetch(ctx, c, list)
		return err
	})
}

// rsync runs talk with an rsync of the far side. It is errors.ErrUnsupported if
// there is none.
func (l *link) rsync(ctx context.Context, args []string, talk func(c rsync.Conn) error) error {
	if l.noRsync.Load() || !l.hasShell(ctx) {
		return cmp.Or(ctx.Err(), errNoRsync)
	}
	c, err := l.get(ctx)
	if err != nil {
		return err
	}
	session, err := l.session(ctx, c)
	if err != nil {
		return err
	}
	defer l.sessionDone()
	conn, err := startRsync(session, args)
	if err == nil {
		err = talk(conn)
	}
	if err == nil {
		// Some trouble is told by the exit status alone.
		var exit error
		exit, err = await(ctx, c, func() (error, error) { return session.Wait(), nil }, nil)
		err = cmp.Or(err, exit)
	}
	session.Close()
	if c.isDead() {
		return c.answer(c.cause)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if conn == nil || !conn.spoke() {
		// What there is does not answer as an rsync does.
		l.noRsync.Store(true)
		l.config.logger().Info("no rsync on the far side, SFTP alone is used", "addr", l.config.addr(), "err", err)
		return errNoRsync
	}
	return err
}

// rsyncConn is the conversation with an rsync of the far side.
type rsyncConn struct {
	io.WriteCloser
	r       *bufio.Reader
	session *ssh.Session
	mu      sync.Mutex
	heard   bool
}

// startRsync has the shell of the far side become an rsync.
func startRsync(session *ssh.Session, args []string) (*rsyncConn, error) {
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := session.Start("exec sh"); err != nil {
		return nil, err
	}
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	// Nothing is sent to rsync before the shell has said that it has read this
	// line: shells read ahead. Some greet first.
	if _, err := fmt.Fprintf(in, "echo; echo %s; exec rsync %s\n", ready, strings.Join(quoted, " ")); err != nil {
		return nil, err
	}
	c := &rsyncConn{WriteCloser: in, r: bufio.NewReaderSize(out, 256<<10), session: session}
	for range 1000 {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ready+"\n" {
			return c, nil
		}
	}
	return nil, errNoShell
}

const ready = "obskeep-ready"

func (c *rsyncConn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.heard = true
		c.mu.Unlock()
	}
	return n, err
}

func (c *rsyncConn) spoke() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

func (c *rsyncConn) CloseWrite() error { return c.WriteCloser.Close() }
func (c *rsyncConn) Close() error      { return c.session.Close() }
