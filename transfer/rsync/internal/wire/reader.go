package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
)

const (
	readBuffer = 256 << 10
	direct     = 32 << 10 // a read of this length goes around the buffer
	emptyReads = 100      // after so many the stream below makes no progress
)

// A Reader reads the values of one direction of a session. It is for one
// goroutine. NewReader makes one; the zero Reader is of no use.
type Reader struct {
	src io.Reader
	buf []byte
	// buf[pos:end] is data and buf[end:top] comes after it, not looked at yet.
	pos, end, top int
	// more bytes of the frame are still below; then end == top.
	more    int
	framed  bool
	old     bool // version 29
	state   indexes
	on      func(Message) error
	err     error
	next    error  // came from below with the last bytes
	scratch []byte // of Bytes
}

// indexes is the state of the index form: the last index of either sign, the
// negative one without its sign.
type indexes struct{ pos, neg int32 }

// NewReader returns a Reader of r, of which it may read more than it is asked
// for. Until Multiplex is called the bytes of r are the data.
func NewReader(r io.Reader) *Reader {
	return &Reader{src: r, buf: make([]byte, readBuffer), state: indexes{-1, 1}}
}

// SetVersion says which forms the peer writes. Until it is called they are those
// of version 30 and later.
func (r *Reader) SetVersion(v int) { r.old = v < longVersion }

// Multiplex says that frames begin with the next byte. Messages are handed to
// on, in their places among the data that is read, on the goroutine that reads;
// on must not use r but for Fail. An error of on sticks. A nil on drops them.
// Types that this package has no name for are handed over as well.
func (r *Reader) Multiplex(on func(Message) error) {
	r.framed, r.on = true, on
	r.end = r.pos
}

// Err returns the first error: what the stream below reported, io.EOF where it
// ended before the first byte of an item, io.ErrUnexpectedEOF where it ended
// inside an item or a frame, an error that wraps ErrInvalid, or what Fail got.
func (r *Reader) Err() error { return r.err }

// Fail makes err the error of r, if it has none.
func (r *Reader) Fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
		r.pos, r.end, r.top, r.more = 0, 0, 0, 0 // so that no fast path finds a byte
	}
}

func (r *Reader) invalid(format string, args ...any) {
	r.Fail(fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.pos == r.end && !r.fill() {
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

// Short reads two bytes, low first.
func (r *Reader) Short() uint16 {
	var b [2]byte
	r.Full(b[:])
	return binary.LittleEndian.Uint16(b[:])
}

// Int reads four bytes, low first.
func (r *Reader) Int() int32 {
	if r.end-r.pos >= 4 {
		v := binary.LittleEndian.Uint32(r.buf[r.pos:])
		r.pos += 4
		return int32(v)
	}
	var b [4]byte
	r.Full(b[:])
	return int32(binary.LittleEndian.Uint32(b[:]))
}

// Varint reads a varint; in version 29 an int.
func (r *Reader) Varint() int32 {
	if r.old {
		return r.Int()
	}
	first := r.Byte()
	extra := bits.LeadingZeros8(^first)
	if extra > 4 {
		r.invalid("a varint begins with %#x", first)
		return 0
	}
	var b [8]byte
	r.rest(b[:extra])
	b[extra] = first & (1<<(7-extra) - 1)
	if r.err != nil {
		return 0
	}
	return int32(binary.LittleEndian.Uint32(b[:]))
}

// Varlong reads a varlong of at least min bytes, of 3 to 8; in version 29 an
// int, or the int -1 and eight bytes.
func (r *Reader) Varlong(min int) int64 {
	var b [16]byte
	if r.old {
		if v := r.Int(); v != -1 {
			return int64(v)
		}
		r.rest(b[:8])
		return int64(binary.LittleEndian.Uint64(b[:]))
	}
	first := r.Byte()
	extra := bits.LeadingZeros8(^first)
	if extra > 6 {
		extra = 6
	}
	n := min - 1 + extra
	if n > 8 {
		r.invalid("a number of at least %d bytes begins with %#x", min, first)
		return 0
	}
	r.rest(b[:n])
	b[n] = first & (1<<(7-extra) - 1)
	if r.err != nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// Vstring reads a string of at most max bytes. A longer one is an error.
func (r *Reader) Vstring(max int) string {
	n := int(r.Byte())
	if n&0x80 != 0 {
		var low [1]byte
		r.rest(low[:])
		n = n&0x7f<<8 | int(low[0])
	}
	if n > max {
		r.invalid("a string of %d bytes where at most %d can be", n, max)
		return ""
	}
	p := make([]byte, n)
	r.rest(p)
	if r.err != nil {
		return ""
	}
	return string(p)
}

// Index reads a number of the file list or one of the negative constants.
func (r *Reader) Index() int32 {
	if r.old {
		return r.Int()
	}
	first := r.Byte()
	if r.err != nil {
		return 0
	}
	if first == 0 {
		return Done
	}
	last, sign, floor := &r.state.pos, int32(1), int64(0)
	var b [4]byte
	b[0] = first
	if first == 0xff {
		// -1 has a form of its own.
		last, sign, floor = &r.state.neg, -1, 2
		r.rest(b[:1])
	}
	value := int64(*last) + int64(b[0])
	switch b[0] {
	case 0, 0xff:
		r.invalid("an index with the difference %#x", b[0])
	case 0xfe:
		r.rest(b[:2])
		if b[0]&0x80 == 0 {
			value = int64(*last) + int64(binary.BigEndian.Uint16(b[:]))
			break
		}
		r.rest(b[2:])
		value = int64(b[0]&0x7f)<<24 | int64(b[3])<<16 | int64(b[2])<<8 | int64(b[1])
	}
	if value < floor || value > math.MaxInt32 {
		r.invalid("an index of %d", int64(sign)*value)
	}
	if r.err != nil {
		return 0
	}
	*last = int32(value)
	return sign * int32(value)
}

// Read reads data, at least one byte unless p is empty or there is an error.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, r.err
	}
	if n := r.around(p); n > 0 {
		return n, nil
	}
	if r.pos == r.end && !r.fill() {
		return 0, r.err
	}
	n := copy(p, r.buf[r.pos:r.end])
	r.pos += n
	return n, nil
}

// Full fills p with data. After an error p is all zeros.
func (r *Reader) Full(p []byte) {
	for n := 0; n < len(p); {
		k, err := r.Read(p[n:])
		if err != nil {
			r.cut(n > 0)
			clear(p)
			return
		}
		n += k
	}
}

// rest is Full for what is not the beginning of an item.
func (r *Reader) rest(p []byte) {
	if r.err == nil {
		r.Full(p)
		r.cut(true)
		return
	}
	clear(p)
}

// cut turns the end of the stream into an error if it came inside an item.
func (r *Reader) cut(inside bool) {
	if inside && r.err == io.EOF {
		r.err = io.ErrUnexpectedEOF
	}
}

// Bytes reads n bytes of data, which stay valid until the next call of a method
// of r. It is for lengths that the caller has bounded; nil after an error.
func (r *Reader) Bytes(n int) []byte {
	if n < 0 {
		r.invalid("a length of %d", n)
	}
	if r.err != nil {
		return nil
	}
	if r.end-r.pos < n && n <= len(r.buf) && (!r.framed || r.end-r.pos+r.more >= n) {
		inside := r.pos < r.end || r.more > 0
		if err := r.ensure(n); err != nil {
			r.Fail(err)
			r.cut(inside)
			return nil
		}
	}
	if r.end-r.pos >= n {
		p := r.buf[r.pos : r.pos+n : r.pos+n]
		r.pos += n
		return p
	}
	r.scratch = r.scratch[:0]
	for len(r.scratch) < n {
		if r.pos == r.end && !r.fill() {
			r.cut(len(r.scratch) > 0)
			return nil
		}
		k := min(n-len(r.scratch), r.end-r.pos)
		r.scratch = append(r.scratch, r.buf[r.pos:r.pos+k]...)
		r.pos += k
	}
	return r.scratch
}

// Skip reads n bytes of data and drops them.
func (r *Reader) Skip(n int64) {
	if n < 0 {
		r.invalid("a length of %d", n)
	}
	for begun := false; n > 0; begun = true {
		if r.pos == r.end && !r.fill() {
			r.cut(begun)
			return
		}
		k := min(n, int64(r.end-r.pos))
		r.pos += int(k)
		n -= k
	}
}

// Buffered reports whether a byte of data is here already: whether the next read
// begins without a Read of the stream below, on which the peer may let it wait
// until it has got what is not flushed yet.
func (r *Reader) Buffered() bool {
	if r.pos < r.end {
		return true
	}
	if !r.framed || r.more > 0 {
		return false
	}
	for at := r.pos; r.top-at > frameHeader; {
		kind, n := splitHeader(r.buf[at:])
		at += frameHeader
		if kind == frameBase && n > 0 {
			return true
		}
		at += n
	}
	return false
}

// fill makes one byte of data ready at least.
func (r *Reader) fill() bool {
	if r.err != nil {
		return false
	}
	for r.framed && r.more == 0 && r.pos == r.end {
		if err := r.header(); err != nil {
			r.Fail(err)
		}
		if r.err != nil {
			return false
		}
	}
	if r.pos < r.end {
		return true
	}
	err := r.ensure(1)
	if err == io.EOF && r.framed {
		err = io.ErrUnexpectedEOF // the frame has more
	}
	r.Fail(err)
	return err == nil
}

// header reads the header of a frame, and the whole frame if it is a message.
// It is called between frames. Its io.EOF is the end of the stream there.
func (r *Reader) header() error {
	if err := r.ensure(frameHeader); err != nil {
		return err
	}
	kind, n := splitHeader(r.buf[r.pos:])
	r.pos += frameHeader
	r.end = r.pos
	if kind == frameBase {
		r.end += min(n, r.top-r.pos)
		r.more = n - (r.end - r.pos)
		return nil
	}
	if kind < frameBase {
		return fmt.Errorf("%w: a frame of type %d", ErrInvalid, int(kind)-frameBase)
	}
	if n > maxMessage {
		return fmt.Errorf("%w: a message of %d bytes", ErrInvalid, n)
	}
	if err := r.ensure(n); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	m := Message{MessageType(kind - frameBase), r.buf[r.pos : r.pos+n : r.pos+n]}
	r.pos += n
	r.end = r.pos
	if r.on == nil {
		return nil
	}
	return r.on(m)
}

func splitHeader(p []byte) (kind byte, n int) {
	h := binary.LittleEndian.Uint32(p)
	return byte(h >> 24), int(h & maxFrame)
}

// ensure reads from below until buf[pos:top] has n bytes, at most those of the
// buffer. io.EOF means that it has none.
func (r *Reader) ensure(n int) error {
	if r.pos == r.top || r.pos+n > len(r.buf) {
		copy(r.buf, r.buf[r.pos:r.top])
		r.pos, r.end, r.top = 0, r.end-r.pos, r.top-r.pos
	}
	for r.top-r.pos < n {
		k, err := r.below(r.buf[r.top:])
		r.top += k
		if !r.framed {
			r.end = r.top
		} else if r.more > 0 {
			k = min(k, r.more)
			r.end += k
			r.more -= k
		}
		if err == io.EOF && r.top > r.pos {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// around reads straight into p if that saves a copy, else it returns 0.
func (r *Reader) around(p []byte) int {
	if r.framed {
		p = p[:min(len(p), r.more)]
	}
	if r.pos < r.top || r.err != nil || len(p) < direct {
		return 0
	}
	n, err := r.below(p)
	if r.framed {
		r.more -= n
	}
	if err == io.EOF && r.framed {
		err = io.ErrUnexpectedEOF
	}
	r.Fail(err)
	return n
}

// below is one Read of the stream below that gets on: n > 0 or an error, and
// not both.
func (r *Reader) below(p []byte) (int, error) {
	for range emptyReads {
		if r.next == nil {
			var n int
			if n, r.next = r.src.Read(p); n > 0 {
				return n, nil
			}
		}
		if r.next != nil {
			return 0, r.next
		}
	}
	return 0, io.ErrNoProgress
}
