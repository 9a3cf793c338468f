package rsync

import (
	"cmp"
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

// source is where the files of a list are. The size is what Input has, which may
// not be what the list says.
type source interface {
	open(e *flist.Entry) (in Input, size int64, err error)
	close()
}

// sender answers the requests for a list.
type sender struct {
	*session
	list   []*flist.Entry // in the order in which both sides count
	source source
	tokens *token.Writer
	began  time.Time
	sentAt time.Time // when the list was out
}

// newSender has a list sent; send returns it in the order in which it was.
func newSender(s *session, from source, send func() ([]*flist.Entry, error)) (*sender, error) {
	snd := &sender{session: s, source: from, began: time.Now()}
	var err error
	if snd.list, err = send(); err != nil {
		return nil, err
	}
	flist.Sort(snd.list)
	if err = s.w.Flush(); err != nil {
		return nil, err
	}
	snd.sentAt = time.Now()
	snd.tokens, err = token.NewWriter(s.w, s.method)
	return snd, err
}

// sendTree sends what the arguments name below a root.
func sendTree(ctx context.Context, s *session, root *os.Root, args []string) error {
	filters, err := s.o.filters()
	if err != nil {
		return err
	}
	t := &sentTree{list: lister{s: s, root: root, filters: filters}, files: dirs{root: root, named: make([]string, len(args))}}
	for i, arg := range args {
		t.files.named[i] = inRoot(arg)
	}
	snd, err := newSender(s, t, func() ([]*flist.Entry, error) { return t.list.send(args) })
	if err != nil {
		return err
	}
	return snd.run(ctx)
}

// run answers until the far side says goodbye.
func (s *sender) run(ctx context.Context) error {
	defer s.source.close()
	if len(s.list) == 0 && s.server {
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
	if ndx < 0 || int(ndx) >= len(s.list) {
		return fmt.Errorf("request for entry %d of %d", ndx, len(s.list))
	}
	e := s.list[ndx]
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
	in, size, err := s.source.open(e)
	if err != nil {
		flag := int32(ioGeneral)
		if errors.Is(err, fs.ErrNotExist) {
			flag = ioVanished
		}
		s.failAndSay(e.Name, err, flag)
		return s.w.Message(wire.MsgNoSend, littleEndian(ndx))
	}
	head()
	h.Write(s.w)
	inPlace := s.o.InPlace && basis == basisFile || s.compat&compatPartialInPlace != 0 && basis == basisPartial
	out := &counter{to: s.tokens, in: in, head: h, stats: &s.result.Stats}
	var fileSum []byte
	if appending {
		fileSum, err = s.appendix(ctx, in, size, h, out)
	} else {
		fileSum, _, err = match.Search(ctx, in, size, sums, s.sum, inPlace, workers, out)
	}
	s.tokens.End()
	err = in.Done(err)
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

// sentTree is a tree as a source.
type sentTree struct {
	list  lister
	files dirs
}

func (t *sentTree) close() { t.files.close() }

func (t *sentTree) open(e *flist.Entry) (Input, int64, error) {
	f, err := t.files.open(t.list.path(e))
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return &sentFile{f, e, fi.Size()}, fi.Size(), nil
}

// sentFile is an [Input].
type sentFile struct {
	*os.File
	entry *flist.Entry
	size  int64
}

func (*sentFile) Literal(int) {}
func (*sentFile) Matched(int) {}

// Done finds a file that was written to meanwhile.
func (f *sentFile) Done(err error) error {
	defer f.Close()
	fi, e := f.Stat()
	if err = cmp.Or(err, e); err != nil {
		return err
	}
	if fi.Size() != f.size || f.size == f.entry.Size && (fi.ModTime().Unix() != f.entry.Sec || uint32(fi.ModTime().Nanosecond()) != f.entry.Nsec) {
		return ErrChanged
	}
	return nil
}

// ErrChanged is returned for a file that changed after it was listed.
var ErrChanged = errors.New("source changed while it was read")

// appendix sends what a file has beyond what the far side has of it, which is
// taken to be the same.
func (s *sender) appendix(ctx context.Context, in Input, size int64, h sum.Head, out match.Emitter) ([]byte, error) {
	file := s.sum.NewFile()
	have := min(h.Size(), size)
	var err error
	if s.o.AppendBlind {
		_, err = in.(io.Seeker).Seek(have, io.SeekStart) // only files of trees are appended to
	} else {
		_, err = io.CopyN(file, in, have)
	}
	if err != nil {
		return nil, err
	}
	_, _, err = match.Search(ctx, io.TeeReader(in, file), size-have, new(sum.Sums), s.sum, false, 1, out)
	return file.Sum(nil), err
}

// failAndSay notes a failure, and tells a client what kind it is.
func (s *sender) failAndSay(name string, err error, flag int32) {
	s.fail(name, bare(err))
	if s.server {
		_ = s.w.Message(wire.MsgIOError, littleEndian(flag))
	}
}

func littleEndian(v int32) []byte {
	return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
}

// counter counts what goes into the answers.
type counter struct {
	to    *token.Writer
	in    Input
	head  sum.Head
	stats *Stats
}

func (c *counter) Literal(p []byte) {
	c.in.Literal(len(p))
	c.stats.Literal += int64(len(p))
	c.to.Literal(p)
}

func (c *counter) Block(i int32) {
	n := c.head.Len(i)
	c.in.Matched(n)
	c.stats.Matched += int64(n)
	c.to.Block(i)
}
