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

// UnreachableError says that a machine did not answer, or hung up.
type UnreachableError struct {
	Addr string
	Err  error
}

func (e *UnreachableError) Error() string {
	err := e.Err
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	return fmt.Sprintf("cannot reach %s: %v", e.Addr, err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// link is a connection that comes back.
type link struct {
	config Config
	turn   chan struct{} // holds a token while somebody dials or looks
	conn   *conn
	closed atomic.Bool
	shell  atomic.Int32 // whether the account may run programs: unknown, yes, no
	execs  chan struct{}
}

const (
	shellUnknown = iota
	shellYes
	shellNo
)

// maxExecs stays below the ten sessions that sshd allows a connection.
const maxExecs = 4

func newLink(c Config) *link {
	return &link{config: c, turn: make(chan struct{}, 1), execs: make(chan struct{}, maxExecs)}
}

// conn is one SSH connection with an SFTP session.
type conn struct {
	client *ssh.Client
	jump   *conn
	sftp   *sftp.Client
	packet int // bytes of data in a request
	dead   chan struct{}
	once   sync.Once
}

// get returns the connection, dialling if there is none. Once a link has
// worked, an error of dialling it again is an ErrLost.
func (l *link) get(ctx context.Context) (*conn, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.closed.Load() {
		return nil, fs.ErrClosed
	}
	if l.conn != nil && !l.conn.isDead() {
		return l.conn, nil
	}
	again := l.conn != nil
	c, err := dialSFTP(ctx, &l.config)
	if err != nil {
		if again && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", transfer.ErrLost, err)
		}
		return nil, err
	}
	l.conn = c
	l.config.logger().Info("connected", "addr", l.config.addr(), "again", again)
	return c, nil
}

func (l *link) close() error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.closed.Swap(true) || l.conn == nil {
		return nil
	}
	l.conn.kill()
	return nil
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
func (c *conn) kill() {
	c.once.Do(func() {
		close(c.dead)
		c.client.Close()
		if c.jump != nil {
			c.jump.kill()
		}
	})
}

// dialSFTP connects and starts an SFTP session.
func dialSFTP(ctx context.Context, cfg *Config) (*conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.timeout(), &UnreachableError{cfg.addr(), context.DeadlineExceeded})
	defer cancel()
	c, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c.packet = 32 << 10
	if strings.HasPrefix(string(c.client.ServerVersion()), "SSH-2.0-OpenSSH_") {
		c.packet = 255 << 10 // its limit of 256 KiB less the head of a packet
	}
	stop := context.AfterFunc(ctx, c.kill)
	c.sftp, err = sftp.NewClient(c.client, sftp.MaxPacketUnchecked(c.packet), sftp.UseConcurrentReads(false))
	if !stop() {
		c.kill()
		return nil, context.Cause(ctx)
	}
	if err != nil {
		c.kill()
		return nil, fmt.Errorf("%s has no SFTP: %w", cfg.addr(), err)
	}
	go func() {
		_ = c.sftp.Wait() // the reason is told by the calls that fail of it
		c.kill()
	}()
	go c.keepAlive(cfg.keepAlive())
	return c, nil
}

// dial connects, through the jump host if there is one, and logs in.
func dial(ctx context.Context, cfg *Config) (_ *conn, err error) {
	addr := cfg.addr()
	hosts, err := cfg.hostKeys()
	if err != nil {
		return nil, err
	}
	signers, names, done, err := cfg.signers()
	if err != nil {
		return nil, err
	}
	defer done()

	c := &conn{dead: make(chan struct{})}
	var tcp net.Conn
	if cfg.Jump != nil {
		if c.jump, err = dial(ctx, cfg.Jump); err != nil {
			return nil, fmt.Errorf("jump host: %w", err)
		}
		defer func() {
			if err != nil {
				c.jump.kill()
			}
		}()
		tcp, err = c.jump.client.DialContext(ctx, "tcp", addr)
	} else {
		tcp, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, unreachable(ctx, addr, err)
	}
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	var hostErr error
	known := false
	sc, chans, reqs, err := ssh.NewClientConn(tcp, addr, &ssh.ClientConfig{
		User:              cfg.user(),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		HostKeyAlgorithms: hosts.db.HostKeyAlgorithms(addr),
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
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		tcp.Close()
		switch _, isNet := errors.AsType[net.Error](err); {
		case ctx.Err() != nil:
			return nil, unreachable(ctx, addr, err)
		case hostErr != nil:
			return nil, hostErr
		case isNet || errors.Is(err, io.EOF) || !known:
			return nil, &UnreachableError{addr, err}
		}
		return nil, &LoginError{User: cfg.user(), Addr: addr, Keys: names, Err: err}
	}
	c.client = ssh.NewClient(sc, chans, reqs)
	return c, nil
}

// unreachable tells a caller who gave up from a machine that did not answer.
func unreachable(ctx context.Context, addr string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return &UnreachableError{addr, err}
}

// keepAlive asks the far side in each interval whether it is there, and kills
// the connection when it has not said so for three.
func (c *conn) keepAlive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	answered := make(chan struct{}, 1)
	for waiting := 0; ; {
		select {
		case <-c.dead:
			return
		case <-answered:
			waiting = 0
		case <-tick.C:
			if waiting++; waiting > 3 {
				c.kill()
				return
			}
			if waiting == 1 {
				go func() {
					if _, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
						answered <- struct{}{}
					}
				}()
			}
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
		done <- result{v, c.lost(err)}
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

// lost tells an answer, of the server or of ours, from a connection that is
// gone, which then is gone for all.
func (c *conn) lost(err error) error {
	if err == nil {
		return nil
	}
	_, answer := errors.AsType[*sftp.StatusError](err)
	for _, e := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrClosed, errors.ErrUnsupported, transfer.ErrName} {
		answer = answer || errors.Is(err, e)
	}
	if answer && !c.isDead() {
		return err
	}
	c.kill()
	return fmt.Errorf("%w: %w", transfer.ErrLost, err)
}
