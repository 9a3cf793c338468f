package rsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/match"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/token"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// Flags of a request and its answer.
const (
	itemTransfer = 0x8000
	itemLocal    = 0x4000
	itemNew      = 0x2000
	itemName     = 0x1000
	itemBasis    = 0x0800
	itemXattr    = 0x0100
	itemMtime    = 0x0008
)

// Types of a basis.
const (
	basisFile    = 0x80
	basisPartial = 0x81
	basisFuzzy   = 0x83
)

// sender answers the requests for a list.
type sender struct {
	*session
	list   *lister
	files  dirs
	tokens *token.Writer
	began  time.Time
	sentAt time.Time // when the list was out
}

// newSender sends the list of what the arguments name.
func newSender(s *session, root *os.Root, args []string) (*sender, error) {
	filters, err := s.o.filters()
	if err != nil {
		return nil, err
	}
	snd := &sender{session: s, list: &lister{s: s, root: root, filters: filters}, files: dirs{root: root, named: make([]string, len(args))}, began: time.Now()}
	for i, arg := range args {
		snd.files.named[i] = inRoot(arg)
	}
	if err := snd.list.send(args); err != nil {
		return nil, err
	}
	snd.sentAt = time.Now()
	snd.tokens, err = token.NewWriter(s.w, s.method)
	return snd, err
}

// run answers until the far side says goodbye.
func (s *sender) run(ctx context.Context) error {
	defer s.files.close()
	if len(s.list.list) == 0 && s.server {
		return s.w.Flush()
	}
	for phase := 1; ; {
		ndx := s.r.Index()
		if err := s.r.Err(); err != nil {
			return err
		}
		switch {
		case ndx == wire.Done:
			s.w.Index(wire.Done)
			if phase == 3 {
				return s.goodbye()
			}
			phase++
		case ndx == wire.DeletionCounts:
			s.deletions()
		default:
			if err := s.answer(ctx, ndx, phase); err != nil {
				return err
			}
		}
	}
}

// goodbye ends a session whose requests are all answered.
func (s *sender) goodbye() error {
	if s.server {
		s.w.Varlong(0, 3) // bytes read and written are known to the client
		s.w.Varlong(s.result.Literal, 3)
		s.w.Varlong(s.result.Size, 3)
		if s.version >= 29 {
			s.w.Varlong(s.sentAt.Sub(s.began).Milliseconds(), 3)
			s.w.Varlong(0, 3)
		}
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	if s.version >= 31 {
		if err := s.awaitDone(); err != nil {
			return err
		}
		s.w.Index(wire.Done)
		if err := s.w.Flush(); err != nil {
			return err
		}
	}
	return s.awaitDone()
}

func (s *sender) awaitDone() error {
	for {
		ndx := s.r.Index()
		switch err := s.r.Err(); {
		case err != nil:
			return err
		case ndx == wire.Done:
			return nil
		case ndx == wire.DeletionCounts:
			s.deletions()
		default:
			return fmt.Errorf("request for entry %d after the last phase", ndx)
		}
	}
}

// deletions takes the five counts of what the far side has removed.
func (s *sender) deletions() {
	var counts [5]int32
	for i := range counts {
		counts[i] = s.r.Varint()
		s.result.Deleted += int(max(0, counts[i]))
	}
	if s.server {
		s.w.Index(wire.DeletionCounts)
		for _, n := range counts {
			s.w.Varint(n)
		}
	}
}

// answer answers one request.
func (s *sender) answer(ctx context.Context, ndx int32, phase int) error {
	flags := s.r.Short()
	basis, name := byte(basisFile), ""
	if flags&itemBasis != 0 {
		basis = s.r.Byte()
	}
	if flags&itemName != 0 {
		name = s.r.Vstring(maxPath)
	}
	head := func() {
		s.w.Index(ndx)
		s.w.Short(flags)
		if flags&itemBasis != 0 {
			s.w.Byte(basis)
		}
		if flags&itemName != 0 {
			s.w.Vstring(name)
		}
	}
	if err := s.r.Err(); err != nil {
		return err
	}
	if ndx < 0 || int(ndx) >= len(s.list.list) {
		return fmt.Errorf("request for entry %d of %d", ndx, len(s.list.list))
	}
	e := s.list.list[ndx]
	switch {
	case flags&itemTransfer == 0:
		head()
		return nil
	case e.Mode&modeType != modeFile:
		return fmt.Errorf("request for the data of %s, which is no file", quote(e.Name))
	case phase > 2:
		return fmt.Errorf("request for entry %d after the last phase", ndx)
	case s.o.DryRun:
		head()
		return nil
	}
	h := sum.ReadHead(s.r, s.sum.Algorithm.Size(), s.version)
	sums := &sum.Sums{Head: h}
	appending := (s.o.Append || s.o.AppendBlind) && phase == 1
	if !appending {
		sums = sum.ReadSums(s.r, h)
	}
	if err := s.r.Err(); err != nil {
		return err
	}
	f, size, err := s.open(e)
	if err != nil {
		flag := int32(ioGeneral)
		if errors.Is(err, fs.ErrNotExist) {
			flag = ioVanished
		}
		s.failAndSay(e.Name, err, flag)
		return s.w.Message(wire.MsgNoSend, littleEndian(ndx))
	}
	defer f.Close()
	head()
	h.Write(s.w)
	inPlace := s.o.InPlace && basis == basisFile || s.compat&compatPartialInPlace != 0 && basis == basisPartial
	out := &counter{to: s.tokens, head: h, stats: &s.result.Stats}
	var fileSum []byte
	if appending {
		fileSum, err = s.appendix(ctx, f, size, h, out)
	} else {
		fileSum, _, err = match.Search(ctx, f, size, sums, s.sum, inPlace, workers, out)
	}
	s.tokens.End()
	if err == nil {
		err = s.unmoved(f, e, size)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		if len(fileSum) != s.sum.Algorithm.Size() {
			fileSum = make([]byte, s.sum.Algorithm.Size())
		}
		fileSum[0] ^= 0xff // the receiver must not keep it
		if phase == 2 {
			s.failAndSay(e.Name, err, ioGeneral)
		}
	} else if phase == 1 {
		s.result.Sent++
	}
	_, _ = s.w.Write(fileSum) // the error sticks
	return s.w.Err()
}

// workers is how many goroutines search one file.
var workers = runtime.GOMAXPROCS(0)

// maxPath bounds a name, bytes.
const maxPath = 4096

// open opens a file of the list, which the far side knows with size bytes.
func (s *sender) open(e *flist.Entry) (*os.File, int64, error) {
	f, err := s.files.open(s.list.path(e))
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, fi.Size(), nil
}

// appendix sends what a file has beyond what the far side has of it, which is
// taken to be the same.
func (s *sender) appendix(ctx context.Context, f *os.File, size int64, h sum.Head, out match.Emitter) ([]byte, error) {
	file := s.sum.NewFile()
	have := min(h.Size(), size)
	if s.o.Append {
		if _, err := io.Copy(file, io.NewSectionReader(f, 0, have)); err != nil {
			return nil, err
		}
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return nil, err
	}
	rest := io.TeeReader(f, file)
	_, _, err := match.Search(ctx, rest, size-have, new(sum.Sums), s.sum, false, 1, out)
	return file.Sum(nil), err
}

// unmoved returns ErrChanged for a file that was written to meanwhile.
func (s *sender) unmoved(f *os.File, e *flist.Entry, size int64) error {
	fi, err := f.Stat()
	if err == nil && (fi.Size() != size || size == e.Size && (fi.ModTime().Unix() != e.Sec || uint32(fi.ModTime().Nanosecond()) != e.Nsec)) {
		err = ErrChanged
	}
	return err
}

// ErrChanged is returned for a file that changed after it was listed.
var ErrChanged = errors.New("source changed while it was read")

// failAndSay notes a failure, and tells a client of it.
func (s *sender) failAndSay(name string, err error, flag int32) {
	s.fail(name, bare(err))
	if s.server {
		_ = s.w.Message(wire.MsgErrorXfer, fmt.Appendf(nil, "%s: %v\n", name, bare(err)))
		_ = s.w.Message(wire.MsgIOError, littleEndian(flag))
	}
}

func littleEndian(v int32) []byte {
	return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
}

// counter counts what goes into the answers.
type counter struct {
	to    *token.Writer
	head  sum.Head
	stats *Stats
}

func (c *counter) Literal(p []byte) {
	c.stats.Literal += int64(len(p))
	c.to.Literal(p)
}

func (c *counter) Block(i int32) {
	c.stats.Matched += int64(c.head.Len(i))
	c.to.Block(i)
}
