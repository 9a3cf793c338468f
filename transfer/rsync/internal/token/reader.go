package token

import (
	"fmt"
	"io"
	"math"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// A Reader reads the files of a session. It is for one goroutine.
type Reader struct {
	r     *wire.Reader
	d     decompressor // nil: none
	items source       // of d
	left  int          // bytes of a plain literal
	token int32        // last block of the run before
	err   error
}

type decompressor interface {
	// next returns the next bytes of a stretch of literal data, at most
	// maxDelivery, valid until the next call; none at its end.
	next() ([]byte, error)
	// reset ends a file.
	reset()
}

// NewReader returns a Reader of r. The method is "zstd", "lz4" or "zlibx", or
// "" or "none" for no compression; any other is an error.
func NewReader(r *wire.Reader, method string) (*Reader, error) {
	t := &Reader{r: r}
	t.items.r = r
	switch method {
	case "", "none":
	case "zstd":
		t.d = newZstdDecompressor(&t.items)
	case "lz4":
		t.d = newLZ4Decompressor(&t.items)
	case "zlibx":
		t.d = newZlibxDecompressor(&t.items)
	default:
		return nil, unknown(method)
	}
	return t, nil
}

// Next reads on in the file. If literal is not nil it is the data that comes
// next, at most 64 KiB, valid until the next call. If count > 0 the blocks block
// to block+count-1 of the basis come next; no number is negative, but the caller
// has to check them against the basis. Else it is the end of the file, and the
// next call begins another.
//
// The error sticks, to the wire.Reader below as well. It wraps wire.ErrInvalid if
// the bytes are not tokens of the method, and is io.ErrUnexpectedEOF where the
// stream ends inside a file.
func (t *Reader) Next() (literal []byte, block int32, count int32, err error) {
	if t.err != nil {
		return nil, 0, 0, t.err
	}
	if t.d == nil {
		literal, block, count = t.plain()
	} else {
		literal, block, count, err = t.compressed()
	}
	switch e := t.r.Err(); {
	case e == io.EOF:
		t.err = io.ErrUnexpectedEOF
	case e != nil:
		t.err = e
	case err != nil:
		t.err = fmt.Errorf("%w: %w", wire.ErrInvalid, err)
		t.r.Fail(t.err)
	}
	if t.err != nil {
		return nil, 0, 0, t.err
	}
	return literal, block, count, nil
}

func (t *Reader) plain() (literal []byte, block, count int32) {
	if t.left == 0 {
		n := t.r.Int()
		if n < 0 {
			return nil, -(n + 1), 1
		}
		t.left = int(n)
	}
	if t.left == 0 {
		return nil, 0, 0
	}
	n := min(t.left, maxDelivery)
	t.left -= n
	return t.r.Bytes(n), 0, 0
}

func (t *Reader) compressed() (literal []byte, block, count int32, err error) {
	if p, err := t.d.next(); err != nil || len(p) > 0 {
		return p, 0, 0, err
	}
	t.items.ended = false
	tag := t.items.tag
	if tag == endOfFile {
		t.token = 0
		t.d.reset()
		return nil, 0, 0, nil
	}
	first, run := int64(t.token), tag&runAfter == runAfter
	switch {
	case tag >= blockAfter:
		first += int64(tag & maxAfter)
	case tag == blockAt, tag == runAt:
		first, run = int64(t.r.Int()), tag == runAt
	default:
		return nil, 0, 0, fmt.Errorf("an item that begins with %#x", tag)
	}
	count = 1
	if run {
		count += int32(t.r.Short())
	}
	last := first + int64(count) - 1
	if first < 0 || last > math.MaxInt32 {
		return nil, 0, 0, fmt.Errorf("blocks %d to %d", first, last)
	}
	t.token = int32(last)
	return nil, int32(first), count, nil
}
