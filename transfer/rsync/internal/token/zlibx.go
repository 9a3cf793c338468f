package token

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

const (
	deflateWindow = 32 << 10
	// syncTail is how a sync flush ends: an empty stored block (RFC 1951, 3.2.4).
	syncTail = "\x00\x00\xff\xff"
	// lastBlock is the same as the last block of a deflate stream.
	lastBlock = "\x01" + syncTail
)

type zlibxCompressor struct {
	items items
	c     *flate.Writer
	used  bool // in this file
}

func newZlibxCompressor(w *wire.Writer) *zlibxCompressor {
	c := &zlibxCompressor{items: items{w: w, tail: len(syncTail)}}
	// The level is one of the known ones, so there is no error.
	c.c, _ = flate.NewWriter(&c.items, flate.DefaultCompression)
	return c
}

func (c *zlibxCompressor) write(p []byte) {
	c.used = true
	if _, err := c.c.Write(p); err != nil {
		c.items.w.Fail(err)
	}
}

func (c *zlibxCompressor) flush() {
	if err := c.c.Flush(); err != nil {
		c.items.w.Fail(err)
	}
	c.items.flush()
}

func (c *zlibxCompressor) reset() {
	if c.used {
		c.c.Reset(&c.items)
		c.used = false
	}
}

// A zlibxDecompressor makes a stream with an end of each stretch, because a
// deflate reader that runs out of input cannot go on. What one stretch leaves to
// the next is the window alone: a sync flush ends on a byte.
type zlibxDecompressor struct {
	items   *source
	in      *bufio.Reader // of stretch
	stretch io.Reader     // the items, syncTail and lastBlock
	left    int           // bytes of the item
	d       io.ReadCloser
	inside  bool
	end     error  // came with the last bytes
	window  []byte // the last bytes of the file, deflateWindow at least
	out     []byte
}

func newZlibxDecompressor(s *source) *zlibxDecompressor {
	return &zlibxDecompressor{
		items:  s,
		in:     bufio.NewReaderSize(nil, maxItem),
		d:      flate.NewReader(nil),
		window: make([]byte, 0, 2*deflateWindow+maxDelivery),
		out:    make([]byte, maxDelivery),
	}
}

func (d *zlibxDecompressor) next() ([]byte, error) {
	if !d.inside {
		if d.left = d.items.item(); d.left == 0 {
			return nil, nil
		}
		d.inside, d.end = true, nil
		d.stretch = io.MultiReader(itemReader{d}, strings.NewReader(syncTail+lastBlock))
		d.in.Reset(d.stretch)
		if err := d.d.(flate.Resetter).Reset(d.in, d.window[max(0, len(d.window)-deflateWindow):]); err != nil {
			return nil, err
		}
	}
	for {
		var n int
		if d.end == nil {
			n, d.end = d.d.Read(d.out)
		}
		if n > 0 {
			d.remember(d.out[:n])
			return d.out[:n], nil
		}
		if d.end == io.EOF {
			d.inside = false
			if _, err := d.in.ReadByte(); err != io.EOF {
				return nil, errors.New("data after the last block of a deflate stream")
			}
			return nil, nil
		}
		if d.end != nil {
			return nil, d.end
		}
	}
}

func (d *zlibxDecompressor) remember(p []byte) {
	if len(d.window)+len(p) > cap(d.window) {
		d.window = append(d.window[:0], d.window[len(d.window)-deflateWindow:]...)
	}
	d.window = append(d.window, p...)
}

func (d *zlibxDecompressor) reset() { d.window = d.window[:0] }

// itemReader reads the data of a stretch, whose first item has begun.
type itemReader struct{ *zlibxDecompressor }

func (d itemReader) Read(p []byte) (int, error) {
	if d.left == 0 {
		if d.left = d.items.item(); d.left == 0 {
			if err := d.items.r.Err(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
	}
	n, err := d.items.r.Read(p[:min(len(p), d.left)])
	d.left -= n
	return n, err
}
