package rsync

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// Compatibility flags, of the server.
const (
	compatIncremental = 1 << iota
	compatLinkTimes
	compatConvert
	compatSafeList
	compatNoAttributeShortcut
	compatSeedFirst
	compatPartialInPlace
	compatVarint
	compatIDZero
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
		if err = p.limit.WaitN(p.ctx, len(part)); err == nil {
			var m int
			m, err = p.w.Write(part)
			n += m
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

// handshake agrees with the far side on everything. args are what a server
// was started with.
func (s *session) handshake(args *serverArgs) error {
	s.w.Int(int32(s.o.version()))
	theirs := s.r.Int()
	if err := s.r.Err(); err != nil {
		return err
	}
	if theirs < 20 || theirs > 40 {
		return fmt.Errorf("%w: it begins with %s", ErrNotRsync, quote(s.firstWords(theirs)))
	}
	s.version = min(s.o.version(), int(theirs))
	if s.version < minVersion {
		return fmt.Errorf("the far side speaks version %d of the protocol, which is older than %d", theirs, minVersion)
	}
	s.r.SetVersion(s.version)
	s.w.SetVersion(s.version)
	if s.version >= 30 {
		if s.server {
			s.compat = compatFor(args)
			s.w.Varint(s.compat)
		} else {
			s.compat = s.r.Varint()
			if s.incremental() && (s.sender || !s.o.incremental()) {
				return errors.New("the far side wants incremental recursion, which it was not offered")
			}
		}
	}
	if err := s.negotiate(); err != nil {
		return err
	}
	if s.server {
		s.sum.Seed = s.o.Seed
		if s.sum.Seed == 0 {
			var b [4]byte
			_, _ = rand.Read(b[:]) // never fails
			s.sum.Seed = int32(binary.LittleEndian.Uint32(b[:]) | 1)
		}
		s.w.Int(s.sum.Seed)
	} else {
		s.sum.Seed = s.r.Int()
	}
	s.sum.Version = s.version
	s.sum.SeedLast = s.compat&(compatSeedFirst|compatVarint) == 0
	if err := s.r.Err(); err != nil {
		return err
	}
	if s.version >= 30 || s.server {
		s.w.Multiplex()
	}
	if s.version >= 30 || !s.server {
		s.r.Multiplex(s.message)
	}
	return s.w.Err()
}

// incremental reports whether lists come piece by piece.
func (s *session) incremental() bool { return s.compat&compatIncremental != 0 }

// compatFor are the flags for a client. Pieces of lists are read here, but not sent.
func compatFor(args *serverArgs) int32 {
	flags := int32(compatLinkTimes)
	if !args.send && args.incremental() && strings.ContainsRune(args.capabilities, 'i') {
		flags |= compatIncremental
	}
	for letter, flag := range map[rune]int32{
		'f': compatSafeList, 'x': compatNoAttributeShortcut, 'C': compatSeedFirst,
		'I': compatPartialInPlace, 'v': compatVarint, 'u': compatIDZero,
	} {
		if strings.ContainsRune(args.capabilities, letter) {
			flags |= flag
		}
	}
	return flags
}

// firstWords shows what came instead of a version.
func (s *session) firstWords(first int32) string {
	text := binary.LittleEndian.AppendUint32(nil, uint32(first))
	for len(text) < 80 && !bytes.ContainsRune(text, '\n') {
		b := s.r.Byte()
		if s.r.Err() != nil {
			break
		}
		text = append(text, b)
	}
	return strings.TrimSpace(string(text))
}

// negotiate chooses the checksum and the compression.
func (s *session) negotiate() error {
	name := "md5"
	if s.version < 30 {
		name = "md4"
	}
	if len(s.o.Compress) > 0 {
		s.method = "zlib"
		if len(s.o.Compress) == 1 {
			s.method = s.o.Compress[0]
		}
	}
	negotiated := s.compat&compatVarint != 0
	sums, methods := negotiated && len(s.o.Checksums) != 1, negotiated && len(s.o.Compress) > 1
	if sums {
		s.w.Vstring(strings.Join(s.o.checksums(), " "))
	} else if len(s.o.Checksums) == 1 {
		name = s.o.Checksums[0]
	}
	if methods {
		s.w.Vstring(strings.Join(s.o.Compress, " "))
	}
	if sums {
		theirs := s.r.Vstring(maxNames)
		if err := s.choose(&name, "checksum", s.o.checksums(), theirs); err != nil {
			return err
		}
	}
	if methods {
		theirs := s.r.Vstring(maxNames)
		if err := s.choose(&s.method, "compression", s.o.Compress, theirs); err != nil {
			return err
		}
	}
	var ok bool
	if s.sum.Algorithm, ok = sum.ByName(name); !ok {
		return fmt.Errorf("checksum %s is not supported", quote(name))
	}
	if s.method != "" && !slices.Contains(compressors, s.method) {
		return fmt.Errorf("compression %s is not supported: %w", s.method, errors.ErrUnsupported)
	}
	return nil
}

// maxNames bounds a list of names, bytes.
const maxNames = 4096

// choose takes the first name of the client's list that the server has, too.
func (s *session) choose(name *string, what string, ours []string, text string) error {
	if err := s.r.Err(); err != nil {
		return err
	}
	theirs := strings.Fields(text)
	first, second := ours, theirs
	if s.server {
		first, second = theirs, ours
	}
	for _, n := range first {
		if n == "xxhash" {
			n = "xxh64"
		}
		if slices.Contains(second, n) {
			*name = n
			return nil
		}
	}
	return fmt.Errorf("no %s in common: here %s, there %s", what, strings.Join(ours, " "), quote(text))
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

// listOptions is the form of a file list in this session.
func (s *session) listOptions() flist.Options {
	o := flist.Options{
		Version: s.version, Varint: s.compat&compatVarint != 0, IDZero: s.compat&compatIDZero != 0, SafeErrors: s.compat&compatSafeList != 0,
		Owner: s.o.Owner, Group: s.o.Group, Devices: s.o.Devices, Specials: s.o.Specials, Links: s.o.Links, HardLinks: s.o.HardLinks,
		NumericIDs: s.o.NumericIDs, Relative: s.o.Relative, Incremental: s.incremental(),
	}
	if s.o.Checksum {
		o.SumLen = s.sum.Algorithm.Size()
	}
	return o
}

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
