package sshstore

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
)

// A session of x/crypto/ssh and OpenSSH has at most 2 MiB on the way: 40 MB/s when
// an answer takes 50 ms. What is large then goes through several sessions of one
// connection, each with a handle of its own for the file.
const (
	maxLanes = 4                     // with the first; sshd allows ten sessions
	laneMin  = 8 << 20               // bytes of a file before there are more lanes
	laneTrip = 10 * time.Millisecond // round trip from which they help
)

// lanes are the handles of a file beside the first.
type lanes struct {
	moved atomic.Int64 // bytes
	next  atomic.Uint32
	open  atomic.Pointer[[]*sftp.File]
	once  sync.Once

	mu     sync.Mutex
	closed bool
}

// lane returns the handle for the next n bytes, and how many handles there are.
func (f *file) lane(n int) (*sftp.File, int) {
	l := &f.lanes
	if l.moved.Add(int64(n)) >= laneMin {
		l.once.Do(func() { f.conn.wg.Go(f.openLanes) })
	}
	more := l.open.Load()
	if more == nil {
		return f.f, 1
	}
	if i := int(l.next.Add(1)) % maxLanes; i < len(*more) {
		return (*more)[i], maxLanes
	}
	return f.f, maxLanes
}

// openLanes opens the file in the other sessions, if that is all of them, and it is
// the same file there: something may have taken its name.
func (f *file) openLanes() {
	sessions := f.conn.sessions()
	if sessions == nil {
		return
	}
	first, err := f.f.Stat()
	if err != nil {
		return
	}
	flags := os.O_RDONLY
	if f.write {
		flags = os.O_RDWR // it is read back
	}
	var open []*sftp.File
	for _, c := range sessions {
		h, err := c.OpenFile(f.fs.path(f.name), flags)
		if err != nil {
			break
		}
		open = append(open, h)
		if fi, err := h.Stat(); err != nil || !f.write && (fi.Size() != first.Size() || !fi.ModTime().Equal(first.ModTime())) {
			break
		}
		if len(open) == len(sessions) && f.lanes.set(&open) {
			return
		}
	}
	for _, h := range open {
		h.Close()
	}
}

func (l *lanes) set(open *[]*sftp.File) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.open.Store(open)
	}
	return !l.closed
}

func (l *lanes) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if open := l.open.Load(); open != nil {
		for _, h := range *open {
			h.Close()
		}
	}
}

// measure takes the time of one round trip.
func (c *conn) measure() {
	begun := time.Now()
	_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil) // any answer counts
	c.trip.Store(int64(time.Since(begun)))
}

// sessions are the further SFTP sessions of a connection; nil if it is fast
// enough without, or the server does not want more.
func (c *conn) sessions() []*sftp.Client {
	c.more.once.Do(func() {
		if time.Duration(c.trip.Load()) < laneTrip {
			return
		}
		var clients []*sftp.Client
		for range maxLanes - 1 {
			s, err := sftp.NewClient(c.client, sftp.MaxPacketUnchecked(largePacket), sftp.UseConcurrentReads(false))
			if err != nil {
				return // the sessions there are end with the connection
			}
			c.wg.Go(func() { _ = s.Wait() }) // the first session knows why
			clients = append(clients, s)
		}
		c.more.clients = clients
	})
	return c.more.clients
}
