package sshstore

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// program is the conversation with a program of the far side. Its Close ends
// it here, also when the line is silent: a channel of x/crypto/ssh waits for the
// far side to agree.
type program struct {
	conn    *conn
	session *ssh.Session
	in      *io.PipeWriter // to the program
	stdin   *io.PipeReader
	out     *bufio.Reader // from the program
	stdout  *io.PipeReader
	from    *io.PipeWriter
	heard   atomic.Bool
	once    sync.Once
}

// talk runs a command of the POSIX shell, and f with it to the end. heard
// reports whether the command has said anything.
func (l *link) talk(ctx context.Context, command string, f func(p *program) error) (heard bool, err error) {
	c, err := l.get(ctx)
	if err != nil {
		return false, err
	}
	session, err := l.session(ctx, c)
	if err != nil {
		return false, err
	}
	defer l.sessionDone()
	p := &program{conn: c, session: session}
	p.stdin, p.in = io.Pipe()
	p.stdout, p.from = io.Pipe()
	p.out = bufio.NewReaderSize(p.stdout, 256<<10)
	defer p.Close()
	stop := context.AfterFunc(ctx, func() { p.Close() })
	defer stop()
	if err = p.start(ctx, command); err == nil {
		err = f(p)
	}
	if err == nil {
		// Some trouble is told by the exit status alone.
		var exit error
		exit, err = await(ctx, c, func() (error, error) { return session.Wait(), nil }, nil)
		err = cmp.Or(err, exit)
	}
	if err != nil {
		err = cmp.Or(c.check(ctx), err)
	}
	return p.heard.Load(), err
}

// check returns an ErrLost if the connection is gone: a program may be the first
// to notice.
func (c *conn) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := await(ctx, c, func() (struct{}, error) {
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil) // any answer counts
		return struct{}{}, err
	}, nil)
	return err
}

// start has the shell of the far side become the command.
func (p *program) start(ctx context.Context, command string) error {
	in, err := p.session.StdinPipe()
	if err != nil {
		return err
	}
	out, err := p.session.StdoutPipe()
	if err != nil {
		return err
	}
	exit, err := await(ctx, p.conn, func() (error, error) { return p.session.Start("exec sh"), nil }, nil)
	if err := cmp.Or(err, exit); err != nil {
		return err
	}
	p.conn.wg.Go(func() {
		_, err := io.CopyBuffer(in, p.stdin, make([]byte, 64<<10))
		p.stdin.CloseWithError(err)
		in.Close() // the far side may have gone
	})
	p.conn.wg.Go(func() {
		_, err := io.CopyBuffer(p.from, out, make([]byte, 256<<10))
		p.from.CloseWithError(err) // nil is io.EOF
	})
	// Nothing is sent to the command before the shell has said that it has read
	// this line: shells read ahead. Some greet first.
	if _, err := fmt.Fprintf(p.in, "echo; echo %s; %s\n", ready, command); err != nil {
		return err
	}
	for range 1000 {
		line, err := p.out.ReadSlice('\n')
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

func (p *program) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if n > 0 {
		p.heard.Store(true)
	}
	return n, err
}

func (p *program) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *program) CloseWrite() error           { return p.in.Close() }

func (p *program) Close() error {
	p.once.Do(func() {
		p.stdin.CloseWithError(io.ErrClosedPipe)
		p.stdout.CloseWithError(io.ErrClosedPipe)
		p.conn.wg.Go(func() { p.session.Close() }) // which a silent line may keep waiting
	})
	return nil
}
