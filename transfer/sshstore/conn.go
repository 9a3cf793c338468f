package sshstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/transfer"
)

// conn is one SSH connection, with an SFTP session if it is not a jump host's.
type conn struct {
	addr   string
	net    *wire
	client *ssh.Client
	jump   *conn
	sftp   *sftp.Client
	packet int // bytes of data in a request
	wg     sync.WaitGroup
	trip   atomic.Int64 // round trip when nothing else was on the way, nanoseconds
	more   struct {     // see sessions
		once    sync.Once
		clients []*sftp.Client
	}

	once  sync.Once
	dead  chan struct{}
	cause error // once dead
}

// wire notes what the far side lets hear of itself.
type wire struct {
	net.Conn
	reads atomic.Int64
	err   atomic.Pointer[error] // that ended reading
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.reads.Add(1)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		w.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

func (c *conn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// kill ends the connection at once; all that wait for an answer get an error.
func (c *conn) kill(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.dead)
		// From the outside in: a message to say goodbye has nowhere to go in
		// a jump host that has fallen silent.
		if c.jump != nil {
			c.jump.kill(cause)
		}
		if tcp, ok := c.net.Conn.(*net.TCPConn); ok && cause != fs.ErrClosed {
			_ = tcp.SetLinger(0) // what is still on its way is not to arrive when the next connection is at work
		}
		c.net.Close()
		if c.client != nil {
			c.client.Close()
		}
	})
}

const (
	plainPacket = 32 << 10  // what every server takes, draft-ietf-secsh-filexfer-02 section 3
	largePacket = 255 << 10 // OpenSSH's limit of 256 KiB less the head of a packet
)

// dialSFTP connects and starts an SFTP session.
func (l *link) dialSFTP(ctx context.Context) (*conn, error) {
	cfg := &l.config
	c, err := l.dialSSH(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := limit(ctx, cfg)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.kill(context.Cause(ctx)) })
	c.sftp, err = sftp.NewClient(c.client, sftp.MaxPacketUnchecked(largePacket), sftp.UseConcurrentReads(false))
	if !stop() {
		c.kill(context.Cause(ctx))
		return nil, context.Cause(ctx)
	}
	if err != nil {
		c.kill(err)
		if err := c.net.err.Load(); err != nil {
			return nil, &UnreachableError{c.addr, hungUp(*err)}
		}
		return nil, fmt.Errorf("%s lets %s in, but has no SFTP for it (in sshd_config: Subsystem sftp internal-sftp): %w", c.addr, cfg.user(), err)
	}
	c.packet = plainPacket
	_, fsync := c.sftp.HasExtension("fsync@openssh.com")
	if fsync && strings.HasPrefix(string(c.client.ServerVersion()), "SSH-2.0-OpenSSH_") {
		c.packet = largePacket
	}
	c.wg.Go(func() { c.kill(c.reason(c.sftp.Wait())) })
	c.wg.Go(func() { c.keepAlive(cfg.keepAlive()) })
	c.wg.Go(c.measure)
	return c, nil
}

// limit is the context of one dialling or logging in.
func limit(ctx context.Context, cfg *Config) (context.Context, context.CancelFunc) {
	err := fmt.Errorf("no answer for %v: %w", cfg.timeout(), context.DeadlineExceeded)
	return context.WithTimeoutCause(ctx, cfg.timeout(), &UnreachableError{cfg.addr(), err})
}

// dialSSH connects, through the jump host if there is one, and logs in.
func (l *link) dialSSH(ctx context.Context, cfg *Config) (_ *conn, err error) {
	hosts, err := cfg.hostKeys()
	if err != nil {
		return nil, err
	}
	c := &conn{addr: cfg.addr(), dead: make(chan struct{})}
	if cfg.Jump != nil {
		if c.jump, err = l.dialSSH(ctx, cfg.Jump); err != nil {
			return nil, fmt.Errorf("jump host: %w", err)
		}
		defer func() {
			if err != nil {
				c.jump.kill(err)
			}
		}()
	}
	ids, err := cfg.identities(ctx, l.keys)
	if err != nil {
		return nil, err
	}
	defer ids.close()
	ctx, cancel := limit(ctx, cfg)
	defer cancel()

	var tcp net.Conn
	if c.jump != nil {
		tcp, err = c.jump.client.DialContext(ctx, "tcp", c.addr)
		if err != nil {
			err = fmt.Errorf("through %s: %w", c.jump.addr, err)
		}
	} else {
		tcp, err = new(net.Dialer).DialContext(ctx, "tcp", c.addr)
	}
	if err != nil {
		return nil, unreachable(ctx, c.addr, err)
	}
	c.net = &wire{Conn: tcp}
	stop := context.AfterFunc(ctx, func() {
		if c.jump != nil {
			c.jump.kill(context.Cause(ctx))
		}
		ids.close()
		tcp.Close()
	})
	var hostErr error
	known := false
	sc, chans, reqs, err := ssh.NewClientConn(c.net, c.addr, &ssh.ClientConfig{
		User:              cfg.user(),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(ids.signers...)},
		HostKeyAlgorithms: hosts.algorithms(c.addr),
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			hostErr = hosts.check(host, remote, key)
			known = hostErr == nil
			return hostErr
		},
		// AES-GCM first: with the processor's help it is twice as fast as
		// ChaCha20 and more than that ahead of a cipher with a separate MAC.
		Config: ssh.Config{Ciphers: []string{
			ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
			ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
		}},
	})
	if err == nil {
		c.client = ssh.NewClient(sc, chans, reqs)
	}
	if !stop() {
		c.kill(context.Cause(ctx))
		return nil, context.Cause(ctx)
	}
	if err == nil {
		return c, nil
	}
	c.kill(err)
	_, broken := errors.AsType[net.Error](err)
	switch {
	case hostErr != nil:
		return nil, hostErr
	case broken, errors.Is(err, io.EOF), !known:
		return nil, &UnreachableError{c.addr, hungUp(err)}
	}
	return nil, &LoginError{User: cfg.user(), Addr: c.addr, Keys: ids.names, Err: err}
}

// unreachable tells a caller who gave up from a machine that did not answer.
func unreachable(ctx context.Context, addr string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return &UnreachableError{addr, err}
}

// UnreachableError says that a machine did not answer, or hung up.
type UnreachableError struct {
	Addr string
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach %s: %v", e.Addr, bare(e.Err))
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// bare takes the addresses out of an error of a connection.
func bare(err error) error {
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		return oe.Err
	}
	return err
}

// hungUp says what the end of a connection's bytes means.
func hungUp(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("it hung up: %w", err)
	}
	return bare(err)
}

// keepAlive asks the far side in each interval whether it is there, and kills
// the connection when nothing has come from it for four.
func (c *conn) keepAlive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	asking := make(chan struct{}, 1)
	for silent, heard := 0, int64(0); ; silent++ {
		select {
		case <-c.dead:
			return
		case <-tick.C:
		}
		// Any byte will do: on a slow link the answer waits behind data.
		if now := c.net.reads.Load(); now != heard {
			silent, heard = 0, now
		}
		if silent == 4 {
			c.kill(fmt.Errorf("no answer for %v", 4*every))
			return
		}
		select {
		case asking <- struct{}{}:
			c.wg.Go(func() {
				_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil) // any answer counts
				<-asking
			})
		default:
		}
	}
}

// await runs f and returns its result, or the context's error as soon as that
// ends; late gets a result that nobody waited for.
func await[T any](ctx context.Context, c *conn, f func() (T, error), late func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, c.answer(err)}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		if late != nil {
			go func() {
				if r := <-done; r.err == nil {
					late(r.v)
				}
			}()
		}
		var zero T
		return zero, ctx.Err()
	}
}

// Status codes of draft-ietf-secsh-filexfer-02 section 7.
const (
	statusFailure       = 4
	statusBadMessage    = 5
	statusNoConnection  = 6
	statusOpUnsupported = 8
)

// isAnswer reports whether an error is one that the server, or we, gave as an
// answer, rather than the end of the connection.
func isAnswer(err error) bool {
	if status, ok := errors.AsType[*sftp.StatusError](err); ok {
		return status.Code < statusNoConnection || status.Code >= statusOpUnsupported
	}
	for _, e := range []error{
		fs.ErrNotExist, fs.ErrPermission, fs.ErrExist, fs.ErrClosed, errors.ErrUnsupported,
		transfer.ErrName, errServerLies, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// answer tells an answer from a connection that is gone, which then is gone
// for all.
func (c *conn) answer(err error) error {
	if err == nil {
		return nil
	}
	if isAnswer(err) && !c.isDead() {
		if status, ok := errors.AsType[*sftp.StatusError](err); ok {
			switch status.Code {
			case statusOpUnsupported:
				return fmt.Errorf("%w by the server (%w)", errors.ErrUnsupported, err)
			case statusBadMessage:
				// OpenSSH's word for EINVAL and ENAMETOOLONG.
				return fmt.Errorf("%w to the server, or too long (%w)", fs.ErrInvalid, err)
			}
		}
		return err
	}
	c.kill(c.reason(err))
	if errors.Is(c.cause, fs.ErrClosed) {
		return fs.ErrClosed
	}
	return &lostError{c.addr, c.cause}
}

// reason is why the connection is gone, as far as anybody knows.
func (c *conn) reason(err error) error {
	if e := c.net.err.Load(); e != nil {
		return hungUp(*e)
	}
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		return fmt.Errorf("its SFTP server ended: %w", exit)
	}
	return hungUp(err)
}
