package libvirt

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Options change how a Host is reached. The zero value will do for one that is local.
type Options struct {
	// Dial connects to the socket of libvirtd: network is "unix", address its
	// path. It must return when its context ends. Nil means net.Dialer, and will not do
	// for qemu+ssh: there it is to connect from the far side, as the Dial of an SSH
	// client does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (o *Options) dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	if o == nil {
		return nil
	}
	return o.Dial
}

// Host is a host of virtual machines that libvirt manages. It is safe for concurrent use.
type Host struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	addr address

	dialing chan struct{} // holds a token while somebody connects

	mu     sync.Mutex
	closed bool
	hangUp func() // ends the attempt to connect that is under way, if one is
	open   map[*conn]bool
	idle   []*conn // of open; the one used last comes last
}

var _ virt.Host = (*Host)(nil)

// maxIdle is how many connections are kept for later calls.
const maxIdle = 4

// Open connects to the host of a URI, which is one of
//
//	qemu:///system             the system's libvirtd, or virtqemud
//	qemu:///session            that of this user, which must be running
//	qemu+ssh://user@host/system    the system's of another host, through Options.Dial
//
// Behind any of them ?socket=PATH is another socket than the usual. If nothing answers
// it is ErrLost; trying again may then help.
func Open(ctx context.Context, uri string, opts *Options) (*Host, error) {
	addr, err := parse(uri)
	if err != nil {
		return nil, fmt.Errorf("libvirt: open %s: %w", uri, err)
	}
	h := &Host{
		dial:    opts.dial(),
		addr:    addr,
		dialing: make(chan struct{}, 1),
		hangUp:  func() {},
		open:    make(map[*conn]bool),
	}
	if h.dial == nil {
		if addr.far {
			return nil, fmt.Errorf("libvirt: open %s: no Dial of an SSH client given: %w", uri, virt.ErrUnsupported)
		}
		h.dial = new(net.Dialer).DialContext
	}
	if err := h.call(ctx, "open", uri, func(*libvirt.Libvirt) error { return nil }); err != nil {
		return nil, err
	}
	return h, nil
}

// Close ends all connections. Calls under way, and later ones, return ErrLost.
func (h *Host) Close() error {
	h.mu.Lock()
	idle := h.idle
	h.closed, h.idle = true, nil
	h.hangUp()
	for c := range h.open {
		if !slices.Contains(idle, c) {
			c.cut()
		}
	}
	h.mu.Unlock()
	// libvirtd logs an error for each client that goes without a word.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range idle {
		// It is cut in any case, and nothing of ours is lost with it.
		_ = c.do(ctx, c.lv.ConnectClose)
		h.drop(c)
	}
	return nil
}

// call runs f with a connection to itself. What f returns is made one of virt's errors,
// and told with what was tried on what.
func (h *Host) call(ctx context.Context, what, on string, f func(lv *libvirt.Libvirt) error) error {
	c, err := h.take(ctx)
	if err == nil {
		err = c.do(ctx, func() error { return f(c.lv) })
		h.give(c)
	}
	if err != nil {
		return fmt.Errorf("libvirt: %s %s: %w", what, on, err)
	}
	return nil
}

// take returns a connection for one call.
func (h *Host) take(ctx context.Context) (*conn, error) {
	h.mu.Lock()
	for len(h.idle) > 0 {
		c := h.idle[len(h.idle)-1]
		h.idle = h.idle[:len(h.idle)-1]
		if !c.isCut() {
			h.mu.Unlock()
			return c, nil
		}
		delete(h.open, c)
	}
	h.mu.Unlock()
	return h.connect(ctx)
}

// connect makes a connection. One is made at a time, so that a host that does not answer
// is not asked by all callers at once.
func (h *Host) connect(ctx context.Context) (*conn, error) {
	c, err := h.reach(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", cutOff(ctx, err))
	}
	return c, nil
}

func (h *Host) reach(ctx context.Context) (*conn, error) {
	select {
	case h.dialing <- struct{}{}:
		defer func() { <-h.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.mu.Lock()
	closed := h.closed
	h.hangUp = cancel
	h.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	var wire net.Conn
	var err error
	for _, path := range h.addr.sockets {
		var e error
		if wire, e = h.dial(ctx, "unix", path); e == nil {
			break
		}
		if err == nil {
			err = e
		} else {
			err = fmt.Errorf("%w; %w", err, e)
		}
	}
	if wire == nil {
		return nil, err
	}
	c := newConn(wire)
	h.mu.Lock()
	h.open[c] = true
	h.mu.Unlock()
	if err := c.do(ctx, func() error { return c.lv.ConnectToURI(libvirt.ConnectURI(h.addr.name)) }); err != nil {
		h.drop(c)
		return nil, err
	}
	return c, nil
}

// give takes a connection back after a call. If it was cut in it, the idle ones are as good
// as lost too: the next call is to connect anew.
func (h *Host) give(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var gone []*conn
	switch {
	case h.closed, len(h.idle) == maxIdle:
		gone = []*conn{c}
	case c.isCut():
		gone = append(h.idle, c)
		h.idle = nil
	default:
		h.idle = append(h.idle, c)
	}
	for _, c := range gone {
		c.cut()
		delete(h.open, c)
	}
}

// drop ends a connection.
func (h *Host) drop(c *conn) {
	c.cut()
	h.mu.Lock()
	delete(h.open, c)
	h.mu.Unlock()
}
