package rsync

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// session is one conversation, after its handshake.
type session struct {
	conn    Conn
	r       *wire.Reader
	w       *wire.Writer
	o       *Options
	server  bool
	sender  bool
	version int
	compat  int32
	sum     sum.Session
	method  string // of compression; "" for none

	eager atomic.Bool  // flush before each read from the connection
	heard atomic.Int64 // reads from the connection
	stop  func()

	refused func(ndx int32) error // an entry that will not be sent
	passOn  func(e *flist.Entry)  // gets the entries of lists, which are not kept then

	mu       sync.Mutex // of what follows
	remote   []string
	ioErrors int32 // flags of the far side's sender
	exit     error // said by the far side
	result   Result
}

// newSession begins a session on c, which ends with ctx. From then on every
// wait is over.
func newSession(ctx context.Context, c Conn, o *Options) *session {
	s := &session{conn: c, o: o}
	s.r = wire.NewReader((*flushing)(s))
	s.w = wire.NewWriter(c)
	if o.Bandwidth > 0 {
		s.w = wire.NewWriter(paced{ctx, c, rate.NewLimiter(rate.Limit(o.Bandwidth), pace)})
	}
	s.eager.Store(true)
	after := context.AfterFunc(ctx, func() { c.Close() })
	s.stop = func() { after() }
	return s
}

// paced writes no faster than it may.
type paced struct {
	ctx   context.Context
	w     io.Writer
	limit *rate.Limiter
}

const pace = 4 << 10 // bytes at once

func (p paced) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		part := b[n:min(n+pace, len(b))]
		// Not WaitN, which fails at once when the context would end meanwhile.
		select {
		case <-time.After(p.limit.ReserveN(time.Now(), len(part)).Delay()):
			var m int
			m, err = p.w.Write(part)
			n += m
		case <-p.ctx.Done():
			err = context.Cause(p.ctx)
		}
	}
	return n, err
}

// flushing is the connection as the reader sees it. Who waits for the far
// side must not hold back what it waits for.
type flushing session

func (f *flushing) Read(p []byte) (int, error) {
	if f.eager.Load() {
		if err := f.w.Flush(); err != nil {
			return 0, err
		}
	}
	n, err := f.conn.Read(p)
	f.heard.Add(1)
	return n, err
}

// message takes what the far side says beside the data.
func (s *session) message(m wire.Message) error {
	if m.Type == wire.MsgNoSend && len(m.Data) == 4 && s.refused != nil {
		return s.refused(int32(binary.LittleEndian.Uint32(m.Data)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.Type {
	case wire.MsgErrorXfer, wire.MsgError, wire.MsgErrorUTF8, wire.MsgWarning, wire.MsgInfo:
		s.say(string(m.Data))
		if m.Type == wire.MsgErrorXfer {
			s.ioErrors |= ioPartial
		}
	case wire.MsgIOError:
		if len(m.Data) == 4 {
			s.ioErrors |= int32(binary.LittleEndian.Uint32(m.Data))
		}
	case wire.MsgErrorExit:
		code := 0
		if len(m.Data) == 4 {
			code = int(int32(binary.LittleEndian.Uint32(m.Data)))
		}
		if code != 0 {
			s.exit = &Error{Code: Code(code), Err: errors.New("the far side has given up")}
			return s.exit
		}
	}
	return nil
}

// say notes a line of the far side; mu is held. A far side that says too much
// is not listened to any more.
func (s *session) say(text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && len(s.remote) < 100 {
			s.remote = append(s.remote, quote(line))
		}
	}
}

// Flags of a sender's errors; ioPartial is our own.
const (
	ioGeneral  = 1
	ioVanished = 2
	ioPartial  = 1 << 20
)

// keepAlive lets the far side hear something as often as was agreed, and ends
// a session in which nothing is heard. It returns a function that ends it.
func (s *session) keepAlive() (stop func()) {
	if s.o.Timeout <= 0 {
		return func() {}
	}
	done := make(chan struct{})
	every := func(f func() (goOn bool)) {
		tick := time.NewTicker(max(s.o.Timeout/4, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if !f() {
				return
			}
		}
	}
	// Two, since to write may have to wait for a far side that does not read.
	go every(func() bool { return s.w.KeepAlive() == nil }) // the error sticks
	heard, since := s.heard.Load(), time.Now()
	go every(func() bool {
		if now := s.heard.Load(); now != heard {
			heard, since = now, time.Now()
		} else if time.Since(since) > s.o.Timeout {
			s.mu.Lock()
			s.exit = &Error{Code: CodeTimeout, Err: fmt.Errorf("nothing heard for %v", s.o.Timeout)}
			s.mu.Unlock()
			s.conn.Close()
			return false
		}
		return true
	})
	return sync.OnceFunc(func() { close(done) })
}

// end makes the error of a session of whatever ended it.
func (s *session) end(ctx context.Context, err error) (*Result, error) {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Remote = s.remote
	res := &s.result
	switch {
	case ctx.Err() != nil:
		return res, fmt.Errorf("rsync: %w", context.Cause(ctx))
	case s.exit != nil:
		err = s.exit
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return res, &Error{e.Code, e.Err, s.remote}
	}
	switch {
	case errors.Is(err, ErrNotRsync):
		return res, &Error{CodeStream, err, s.remote}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return res, &Error{CodeStream, fmt.Errorf("the far side ended the conversation: %w", io.ErrUnexpectedEOF), s.remote}
	case err != nil:
		return res, &Error{CodeStream, err, s.remote}
	case len(res.Failed) > 0:
		return res, &Error{CodePartial, fmt.Errorf("%d of %d entries were not transferred: %w", len(res.Failed), res.Files, res.Failed[0]), s.remote}
	case s.ioErrors&(ioGeneral|ioPartial) != 0:
		return res, &Error{CodePartial, errors.New("the far side could not transfer everything"), s.remote}
	case s.ioErrors&ioVanished != 0:
		return res, &Error{CodeVanished, errors.New("files vanished before they could be sent"), s.remote}
	}
	return res, nil
}

// fail notes a failure, and tells a client of it.
func (s *session) fail(name string, err error) {
	if s.server {
		_ = s.w.Message(wire.MsgErrorXfer, fmt.Appendf(nil, "%s: %v\n", name, err)) // the error sticks
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Failed = append(s.result.Failed, Failed{name, err})
}

func (s *session) skip(name, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Skipped = append(s.result.Skipped, Skip{name, reason})
}

func (s *session) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.result.Stats)
}
