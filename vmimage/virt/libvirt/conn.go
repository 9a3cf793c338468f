package libvirt

import (
	"context"
	"errors"
	"net"
	"sync"

	libvirt "github.com/digitalocean/go-libvirt"
)

// conn is a connection to libvirtd. The library knows no context, and tells in a dozen
// ways, or not at all, that a connection was lost: so the wire beneath it is ours,
// and what ends is the wire. All that waits in the library then returns.
type conn struct {
	lv   *libvirt.Libvirt
	wire *wire
}

// wire is a network connection that knows when it has ended.
type wire struct {
	net.Conn
	ended chan struct{}
	end   func()
}

func newConn(nc net.Conn) *conn {
	w := &wire{Conn: nc, ended: make(chan struct{})}
	w.end = sync.OnceFunc(func() {
		close(w.ended)
		nc.Close() // there is nothing left to lose
	})
	return &conn{lv: libvirt.NewWithDialer(dialed{w}), wire: w}
}

// dialed gives the library the connection that it is to use.
type dialed struct{ wire *wire }

func (d dialed) Dial() (net.Conn, error) { return d.wire, nil }

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.end()
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		w.end()
	}
	return n, err
}

func (w *wire) Close() error {
	w.end()
	return nil
}

func (c *conn) cut() { c.wire.end() }

func (c *conn) isCut() bool {
	select {
	case <-c.wire.ended:
		return true
	default:
		return false
	}
}

// do runs f, which uses the connection, and returns what it returns; or, soon after the context
// ends, cuts the connection and is ErrLost. f has returned in either case.
func (c *conn) do(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return cutOff(ctx, err)
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		c.cut()
		err = <-done
	}
	if err != nil && (c.isCut() || errors.Is(err, libvirt.ErrInterrupted)) {
		c.cut()
		return cutOff(ctx, err)
	}
	return translate(err)
}
