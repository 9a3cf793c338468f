package transfer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Op is one step of a delta: literal Data of the source, or, when Data is
// empty, Len matched bytes of the basis from Off on. Neither is an invalid Op.
type Op struct {
	Data     []byte
	Off, Len int64 // bytes
}

// MaxLiteral is the most bytes that Delta puts into the Data of one Op.
const MaxLiteral = 64 << 10

// ErrDelta is returned for a delta that cannot be applied to the basis: it
// reaches outside the basis, or an Op says nothing or two things.
var ErrDelta = errors.New("delta does not fit the basis")

// Delta reads src to its end and yields what makes it out of the basis that
// sig describes: the search of chapter 3 of Tridgell's thesis ("Efficient
// Algorithms for Sorting and Synchronization", 1999). A nil or zero sig is
// that of an empty basis.
//
// Blocks of the basis are found at any offset of src. Where several would do,
// the one that continues the last match is taken, at first the one at the
// same offset; matches that adjoin in the basis become one Op. The last,
// shorter block of the basis is found at the end of src and where it continues
// a match.
//
// Data of an Op is valid until the next step of the iteration. An error, of
// src or an ErrSignature, is the last pair, and the ops before it are not a
// delta of anything. The sequence reads src, so it can be used once.
//
// A whole-file hash is the caller's: it proves that the basis is still what
// was signed and that src did not change while it was read.
func Delta(sig *Signature, src io.Reader) iter.Seq2[Op, error] {
	return func(yield func(Op, error) bool) {
		if sig == nil {
			sig = &Signature{}
		}
		err := sig.check()
		if err == nil {
			err = newSearch(sig, src, func(op Op) bool { return yield(op, nil) }).run()
		}
		if err != nil && err != errStopped {
			yield(Op{}, fmt.Errorf("transfer: delta: %w", err))
		}
	}
}

// Patch writes to dst what delta makes out of basis. Whatever the delta says,
// nothing outside basis is read, memory stays at one buffer of 256 KiB, and
// what does not fit is an ErrDelta; how much is written is for dst to limit.
// After an error dst holds a useless beginning.
func Patch(dst io.Writer, basis io.ReaderAt, delta iter.Seq2[Op, error]) error {
	var buf []byte
	for op, err := range delta {
		if err != nil {
			return err
		}
		switch {
		case op.Off < 0 || op.Len < 0 || (len(op.Data) > 0) == (op.Len > 0):
			err = fmt.Errorf("%w: %d literal bytes, %d from %d", ErrDelta, len(op.Data), op.Len, op.Off)
		case op.Len > 0:
			if buf == nil {
				buf = make([]byte, 256<<10)
			}
			err = copyRange(dst, basis, op.Off, op.Len, buf)
		default:
			err = writeAll(dst, op.Data)
		}
		if err != nil {
			return fmt.Errorf("transfer: patch: %w", err)
		}
	}
	return nil
}

func copyRange(dst io.Writer, basis io.ReaderAt, off, n int64, buf []byte) error {
	for n > 0 {
		p := buf[:min(n, int64(len(buf)))]
		m, err := basis.ReadAt(p, off)
		if m < len(p) {
			if err == io.EOF {
				return fmt.Errorf("%w: %d bytes from %d, %d of them after its end", ErrDelta, n, off, n-int64(m))
			}
			return err
		}
		if err := writeAll(dst, p); err != nil {
			return err
		}
		off += int64(m)
		n -= int64(m)
	}
	return nil
}

func writeAll(w io.Writer, p []byte) error {
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// errStopped ends a search whose caller wants no more ops.
var errStopped = errors.New("stopped")

// search goes through a source with a window of one block.
//
//	buf: … sent | literal | window | read ahead | free
//	            lit       pos      pos+block    end
type search struct {
	sig   *Signature
	block int // bytes in a full block
	full  int // number of full blocks
	short int // bytes in the last block if it is not full, else 0
	index blockIndex
	power uint64
	src   io.Reader
	yield func(Op) bool

	buf           []byte
	lit, pos, end int
	base          int64 // source offset of buf[0]
	eof           bool

	match Op    // found, not yet sent: the next one may continue it
	shift int64 // offset in the basis less offset in the source, of the last match
	vain  int64 // bytes hashed that were not a match
}

func newSearch(sig *Signature, src io.Reader, yield func(Op) bool) *search {
	s := &search{sig: sig, src: src, yield: yield, block: max(sig.BlockSize, MinBlockSize)}
	s.full = int(sig.Size / int64(s.block))
	s.short = int(sig.Size % int64(s.block))
	s.index = newBlockIndex(sig.Blocks[:s.full])
	s.power = weakPower(s.block)
	s.buf = make([]byte, MaxLiteral+2*s.block+256<<10)
	return s
}

// run sends all ops.
func (s *search) run() error {
	var sum uint64
	fresh := true // sum is not that of the window
	for {
		// One byte more than the window, to roll on.
		if s.end-s.pos <= s.block && !s.eof {
			if err := s.fill(); err != nil {
				return err
			}
		}
		if s.end-s.pos < s.block {
			return s.finish()
		}
		if fresh {
			sum = weakSum(s.buf[s.pos : s.pos+s.block])
			fresh = false
		}
		if i, ok := s.find(sum); ok {
			if err := s.matched(i); err != nil {
				return err
			}
			fresh = true
			continue
		}
		if s.pos+s.block == s.end {
			s.pos++
			fresh = true
		} else {
			sum = s.scan(sum)
		}
		if s.pos-s.lit >= MaxLiteral {
			if err := s.literal(s.pos); err != nil {
				return err
			}
		}
	}
}

// fill moves what is still needed to the front of the buffer and reads until
// the buffer is full.
func (s *search) fill() error {
	s.base += int64(s.lit)
	s.end = copy(s.buf, s.buf[s.lit:s.end])
	s.pos -= s.lit
	s.lit = 0
	n, err := readUpTo(s.src, s.buf[s.end:])
	s.end += n
	if err == io.EOF {
		s.eof = true
		return nil
	}
	return err
}

// scan rolls the window on by at least one byte, to where a block may begin,
// to the end of the buffer, or until a literal is due. It returns the sum there.
func (s *search) scan(sum uint64) uint64 {
	n := min(s.end-s.block-s.pos, s.lit+MaxLiteral-s.pos)
	out := s.buf[s.pos:][:n]
	in := s.buf[s.pos+s.block:][:n]
	filter, power := s.index.filter, s.power
	for i, x := range out {
		sum = roll(sum, power, x, in[i])
		if filter.mayHold(sum) {
			if _, ok := s.index.lookup(s.sig.Blocks, sum); ok {
				s.pos += i + 1
				return sum
			}
		}
	}
	s.pos += n
	return sum
}

// find returns the block that begins at pos. sum is that of the window.
func (s *search) find(sum uint64) (int, bool) {
	next, hasNext := s.next()
	if hasNext && next == s.full {
		// A hash of less than one block, and once for each match.
		if s.isLast(s.buf[s.pos:][:s.short]) {
			return next, true
		}
		hasNext = false
	}
	hasNext = hasNext && s.sig.Blocks[next].Weak == sum
	first, hasFirst := s.index.lookup(s.sig.Blocks, sum)
	if !hasNext && !hasFirst {
		return 0, false
	}
	// Whoever made the basis and the source can have every offset meet a weak
	// checksum. No more is hashed for nothing than was read, and 16 blocks:
	// beyond that, what might match is sent.
	if s.vain > s.base+int64(s.pos)+16*int64(s.block) {
		return 0, false
	}
	strong := sha256.Sum256(s.buf[s.pos : s.pos+s.block])
	if hasNext && s.sig.Blocks[next].Strong == strong {
		return next, true
	}
	if hasFirst && s.sig.Blocks[first].Strong == strong {
		return first, true
	}
	s.vain += int64(s.block)
	return 0, false
}

// isLast reports whether w is the last block of the basis, a short one.
func (s *search) isLast(w []byte) bool {
	last := &s.sig.Blocks[s.full]
	return weakSum(w) == last.Weak && sha256.Sum256(w) == last.Strong
}

// next returns the block of the basis that continues the last match at pos.
func (s *search) next() (int, bool) {
	off := s.base + int64(s.pos) + s.shift
	if off < 0 || off >= s.sig.Size || off%int64(s.block) != 0 {
		return 0, false
	}
	return int(off / int64(s.block)), true
}

// matched sends the literal before pos and moves on behind block i.
func (s *search) matched(i int) error {
	if err := s.literal(s.pos); err != nil {
		return err
	}
	n := s.block
	if i == s.full {
		n = s.short
	}
	off := int64(i) * int64(s.block)
	if s.match.Off+s.match.Len != off {
		if err := s.flush(); err != nil {
			return err
		}
		s.match.Off = off
	}
	s.match.Len += int64(n)
	s.shift = off - (s.base + int64(s.pos))
	s.pos += n
	s.lit = s.pos
	return nil
}

// flush sends the match found last.
func (s *search) flush() error {
	if s.match.Len > 0 && !s.yield(s.match) {
		return errStopped
	}
	s.match = Op{}
	return nil
}

// literal sends the source up to buf[end] as it is.
func (s *search) literal(end int) error {
	for s.lit < end {
		if err := s.flush(); err != nil {
			return err
		}
		n := min(end-s.lit, MaxLiteral)
		if !s.yield(Op{Data: s.buf[s.lit:][:n:n]}) {
			return errStopped
		}
		s.lit += n
	}
	return nil
}

// finish sends the end of the source, which is shorter than a block.
func (s *search) finish() error {
	for _, at := range []int{s.pos, s.end - s.short} {
		if s.short > 0 && at >= s.pos && at+s.short <= s.end && s.isLast(s.buf[at:][:s.short]) {
			s.pos = at
			if err := s.matched(s.full); err != nil {
				return err
			}
		}
	}
	if err := s.literal(s.end); err != nil {
		return err
	}
	return s.flush()
}
