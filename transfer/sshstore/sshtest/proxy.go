package sshtest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy forwards TCP connections and can be told to break them.
type Proxy struct {
	lis    net.Listener
	target string

	mu       sync.Mutex
	conns    map[net.Conn]bool
	received int64 // by clients, bytes
	sent     int64
	cuts     []int64 // totals of bytes both ways at which all is cut
	stalled  bool
	delay    time.Duration // one way
	rate     int64         // bytes per second, each way; 0 for any
	wg       sync.WaitGroup
}

// NewProxy starts a proxy on a free port.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{lis: lis, target: target, conns: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.forward(c) })
		}
	})
	t.Cleanup(func() {
		lis.Close()
		p.Cut()
		p.Stall(false)
		p.wg.Wait()
	})
	return p
}

// Addr is the address to dial instead.
func (p *Proxy) Addr() string { return p.lis.Addr().String() }

// CutAt breaks all connections each time the bytes forwarded since now reach
// one of the totals, which rise.
func (p *Proxy) CutAt(totals ...int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = nil
	for _, n := range totals {
		p.cuts = append(p.cuts, p.received+p.sent+n)
	}
}

// CutsLeft is how many cuts have not happened yet.
func (p *Proxy) CutsLeft() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.cuts)
}

// Bytes is what clients have received and sent.
func (p *Proxy) Bytes() (received, sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.received, p.sent
}

// Stall makes the proxy swallow all bytes, as a dead route does.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = on
}

// Slow makes connections from now on those of a link with a round trip of so
// long, and so many bytes per second each way; zero means no limit.
func (p *Proxy) Slow(roundTrip time.Duration, rate int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.rate = roundTrip/2, rate
}

// Cut breaks all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) forward(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, client)
		delete(p.conns, server)
		p.mu.Unlock()
	}()
	var wg sync.WaitGroup
	wg.Go(func() { p.pipe(client, server, &p.received); client.Close(); server.Close() })
	wg.Go(func() { p.pipe(server, client, &p.sent); client.Close(); server.Close() })
	wg.Wait()
}

func (p *Proxy) pipe(dst, src net.Conn, count *int64) {
	p.mu.Lock()
	delay, rate := p.delay, p.rate
	p.mu.Unlock()
	write := func(b []byte) error { _, err := dst.Write(b); return err }
	if delay > 0 {
		var end func()
		write, end = late(dst, delay, rate)
		defer end()
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 && p.pass(count, n) {
			if err := write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// late returns a function that writes to dst after a delay, and one that waits
// until all is written.
func late(dst net.Conn, delay time.Duration, rate int64) (write func([]byte) error, end func()) {
	type piece struct {
		data []byte
		due  time.Time
	}
	queue := make(chan piece, 8192) // 128 MiB: what is under way on the link
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range queue {
			time.Sleep(time.Until(p.due))
			if _, err := dst.Write(p.data); err != nil {
				dst.Close()
			}
		}
	}()
	var free time.Time // the link
	write = func(b []byte) error {
		if now := time.Now(); free.Before(now) {
			free = now
		}
		if rate > 0 {
			free = free.Add(time.Duration(len(b)) * time.Second / time.Duration(rate))
		}
		queue <- piece{bytes.Clone(b), free.Add(delay)}
		return nil
	}
	return write, func() { close(queue); <-done }
}

// pass counts n bytes and reports whether they go through.
func (p *Proxy) pass(count *int64, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled {
		return false
	}
	*count += int64(n)
	if len(p.cuts) > 0 && p.received+p.sent >= p.cuts[0] {
		p.cuts = p.cuts[1:]
		for c := range p.conns {
			c.Close()
		}
		return false
	}
	return true
}
