package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"
)

const (
	writeFrame = 64<<10 - frameHeader // data of a frame at most: with its header two packets of SSH
	maxText    = 4 << 10              // real programs take text messages below 5,000 bytes
)

// A Writer writes the values of one direction of a session. What it is given is
// held back until Flush, Message, or a buffer is full. Data is for one goroutine;
// Message, KeepAlive, Flush, Fail and Err may be called by others meanwhile.
// NewWriter makes one; the zero Writer is of no use.
type Writer struct {
	mu     sync.Mutex // of all below
	dst    io.Writer
	buf    []byte // frameHeader bytes of room, then data
	framed bool
	old    bool // version 29
	heard  bool // something went out since the last KeepAlive
	state  indexes
	err    error
}

// NewWriter returns a Writer to w. Until Multiplex is called it writes data
// without frames.
func NewWriter(w io.Writer) *Writer {
	buf := make([]byte, frameHeader, frameHeader+writeFrame+frameHeader)
	return &Writer{dst: w, buf: buf, state: indexes{-1, 1}}
}

// SetVersion says which forms the peer reads. Until it is called they are those
// of version 30 and later.
func (w *Writer) SetVersion(v int) {
	w.mu.Lock()
	w.old = v < longVersion
	w.mu.Unlock()
}

// Multiplex flushes, and makes frames of what is written from now on.
func (w *Writer) Multiplex() {
	w.mu.Lock()
	w.flush()
	w.framed = true
	w.mu.Unlock()
}

// Err returns the first error: what the stream below reported, io.ErrShortWrite,
// a value that has no form, or what Fail got.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Fail makes err the error of w, if it has none.
func (w *Writer) Fail(err error) {
	w.mu.Lock()
	w.fail(err)
	w.mu.Unlock()
}

// Byte writes one byte.
func (w *Writer) Byte(b byte) {
	w.mu.Lock()
	w.put(b)
	w.mu.Unlock()
}

// Short writes two bytes, low first.
func (w *Writer) Short(v uint16) {
	w.mu.Lock()
	w.put(byte(v), byte(v>>8))
	w.mu.Unlock()
}

// Int writes four bytes, low first.
func (w *Writer) Int(v int32) {
	w.mu.Lock()
	w.int(v)
	w.mu.Unlock()
}

func (w *Writer) int(v int32) {
	w.put(byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

// Varint writes a varint; in version 29 an int.
func (w *Writer) Varint(v int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.old {
		w.int(v)
		return
	}
	w.variable(uint64(uint32(v)), 1)
}

// Varlong writes a varlong of at least min bytes, of 3 to 8; in version 29 an
// int, or the int -1 and eight bytes.
func (w *Writer) Varlong(v int64, min int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.old && v >= 0 && v <= math.MaxInt32:
		w.int(int32(v))
	case w.old:
		w.int(-1)
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(v))
		w.put(b[:]...)
	default:
		w.variable(uint64(v), min)
	}
}

// variable writes v in low bytes of which least-1 are always there, after a byte
// whose leading ones count the others and whose other bits are the top of v.
func (w *Writer) variable(v uint64, least int) {
	n := max(least, (bits.Len64(v)+7)/8)
	var b [9]byte
	binary.LittleEndian.PutUint64(b[1:], v)
	ones := n - least
	if top := b[n]; top < 1<<(7-ones) {
		b[0] = ^byte(0xff>>ones) | top
		w.put(b[:n]...)
		return
	}
	b[0] = ^byte(0xff >> (ones + 1))
	w.put(b[:n+1]...)
}

// Vstring writes s. One that is longer than MaxVstring is an error.
func (w *Writer) Vstring(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(s) > MaxVstring:
		w.fail(fmt.Errorf("a string of %d bytes", len(s)))
		return
	case len(s) > 0x7f:
		w.put(byte(0x80|len(s)>>8), byte(len(s)))
	default:
		w.put(byte(len(s)))
	}
	w.data([]byte(s))
}

// Index writes a number of the file list or one of the negative constants.
func (w *Writer) Index(v int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.old {
		w.int(v)
		return
	}
	if v == Done {
		w.put(0)
		return
	}
	last := &w.state.pos
	if v < 0 {
		if v == math.MinInt32 {
			w.fail(fmt.Errorf("an index of %d", v))
			return
		}
		last, v = &w.state.neg, -v
		w.put(0xff)
	}
	d := int64(v) - int64(*last)
	*last = v
	switch {
	case d >= 1 && d <= 253:
		w.put(byte(d))
	case d >= 0 && d <= math.MaxInt16:
		w.put(0xfe, byte(d>>8), byte(d))
	default:
		w.put(0xfe, 0x80|byte(v>>24), byte(v), byte(v>>8), byte(v>>16))
	}
}

// Write writes data.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.data(p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Flush writes what is held back.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return w.err
}

// Message flushes and then writes a message, text that is too long for one in
// several. Before Multiplex it is dropped, since the peer could not tell it from
// data. It blocks as a write of data does: a goroutine that must go on reading
// for the peer to take anything lets the one that writes send its messages.
func (w *Writer) Message(t MessageType, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t == 0 || t > 0xff-frameBase {
		w.fail(fmt.Errorf("a message of type %d", t))
	}
	if t.isText() {
		for ; len(payload) > maxText; payload = payload[maxText:] {
			w.message(t, payload[:maxText])
		}
	} else if len(payload) > maxMessage {
		w.fail(fmt.Errorf("a message of %d bytes", len(payload)))
	}
	w.message(t, payload)
	return w.err
}

func (t MessageType) isText() bool {
	switch t {
	case MsgErrorXfer, MsgInfo, MsgError, MsgWarning, MsgErrorUTF8:
		return true
	}
	return false
}

// KeepAlive lets the peer hear something: if nothing has gone out since the last
// call it flushes, or writes an empty data frame when there is nothing to flush.
// Before Multiplex it does nothing.
func (w *Writer) KeepAlive() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.framed && !w.heard {
		w.flush()
		if !w.heard {
			w.out(binary.LittleEndian.AppendUint32(nil, header(frameBase, 0)))
		}
	}
	w.heard = false
	return w.err
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// put appends a few bytes to the buffer.
func (w *Writer) put(b ...byte) {
	if len(w.buf)+len(b) > frameHeader+writeFrame {
		w.flush()
	}
	if w.err == nil {
		w.buf = append(w.buf, b...)
	}
}

func (w *Writer) data(p []byte) {
	for len(p) > 0 && w.err == nil {
		n := min(len(p), frameHeader+writeFrame-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(p) > 0 {
			w.flush()
		}
	}
}

// frame makes what is held back ready to go out, and returns it. The buffer is
// empty afterwards.
func (w *Writer) frame() []byte {
	p := w.buf
	w.buf = w.buf[:frameHeader]
	switch {
	case len(p) == frameHeader:
		return p[:0]
	case w.framed:
		binary.LittleEndian.PutUint32(p, header(frameBase, len(p)-frameHeader))
		return p
	}
	return p[frameHeader:]
}

func (w *Writer) flush() {
	if p := w.frame(); len(p) > 0 {
		w.out(p)
	}
}

func (w *Writer) message(t MessageType, payload []byte) {
	if !w.framed {
		return
	}
	p := binary.LittleEndian.AppendUint32(w.frame(), header(frameBase+byte(t), len(payload)))
	w.out(append(p, payload...))
}

func (w *Writer) out(p []byte) {
	if w.err != nil {
		return
	}
	n, err := w.dst.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
	w.heard = true
}

func header(kind byte, n int) uint32 { return uint32(kind)<<24 | uint32(n) }
