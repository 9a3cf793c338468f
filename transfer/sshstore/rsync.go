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
	"sync/atomic"

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
	conn := newRsyncConn(c, session)
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err = conn.start(ctx, args); err == nil {
		err = talk(conn)
	}
	if err == nil {
		// Some trouble is told by the exit status alone.
		var exit error
		exit, err = await(ctx, c, func() (error, error) { return session.Wait(), nil }, nil)
		err = cmp.Or(err, exit)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.isDead():
		return c.answer(c.cause)
	case err != nil && !conn.heard.Load():
		// What there is does not answer as an rsync does.
		l.noRsync.Store(true)
		l.config.logger().Info("no rsync on the far side, SFTP alone is used", "addr", l.config.addr(), "err", err)
		return errNoRsync
	}
	return err
}

// rsyncConn is the conversation with an rsync of the far side. Its Close ends
// it here, also when the line is silent: a channel of x/crypto/ssh waits for the
// far side to agree.
type rsyncConn struct {
	conn    *conn
	session *ssh.Session
	in      *io.PipeWriter // to rsync
	stdin   *io.PipeReader
	out     *bufio.Reader // from rsync
	stdout  *io.PipeReader
	from    *io.PipeWriter
	heard   atomic.Bool
	once    sync.Once
}

func newRsyncConn(c *conn, session *ssh.Session) *rsyncConn {
	r := &rsyncConn{conn: c, session: session}
	r.stdin, r.in = io.Pipe()
	r.stdout, r.from = io.Pipe()
	r.out = bufio.NewReaderSize(r.stdout, 256<<10)
	return r
}

// start has the shell of the far side become an rsync.
func (c *rsyncConn) start(ctx context.Context, args []string) error {
	in, err := c.session.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.session.StdoutPipe()
	if err != nil {
		return err
	}
	exit, err := await(ctx, c.conn, func() (error, error) { return c.session.Start("exec sh"), nil }, nil)
	if err := cmp.Or(err, exit); err != nil {
		return err
	}
	c.conn.wg.Go(func() {
		_, err := io.Copy(in, c.stdin)
		c.stdin.CloseWithError(err)
		in.Close() // the far side may have gone
	})
	c.conn.wg.Go(func() {
		_, err := io.CopyBuffer(c.from, out, make([]byte, 256<<10))
		c.from.CloseWithError(err) // nil is io.EOF
	})
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	// Nothing is sent to rsync before the shell has said that it has read this
	// line: shells read ahead. Some greet first.
	if _, err := fmt.Fprintf(c.in, "echo; echo %s; exec rsync %s\n", ready, strings.Join(quoted, " ")); err != nil {
		return err
	}
	for range 1000 {
		line, err := c.out.ReadSlice('\n')
		if err != nil {
			return err
		}
		if string(line) == ready+"\n" {
			return nil
		}
	}
	return errNoShell
}

const ready = "obskeep-ready"

func (c *rsyncConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if n > 0 {
		c.heard.Store(true)
	}
	return n, err
}

func (c *rsyncConn) Write(p []byte) (int, error) { return c.in.Write(p) }
func (c *rsyncConn) CloseWrite() error           { return c.in.Close() }

func (c *rsyncConn) Close() error {
	c.once.Do(func() {
		c.stdin.CloseWithError(io.ErrClosedPipe)
		c.stdout.CloseWithError(io.ErrClosedPipe)
		c.conn.wg.Go(func() { c.session.Close() }) // which a silent line may keep waiting
	})
	return nil
}
