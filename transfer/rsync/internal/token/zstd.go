package token

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

const (
	zstdMagic = 0xfd2fb528
	// zstdBlock is the longest block, compressed or not (RFC 8878, 3.1.1.2.4).
	zstdBlock = 128 << 10
	// zstdMaxWindow is what every decoder is recommended to take (RFC 8878,
	// 3.1.1.1.2), and enough for level 19 of the reference encoder.
	zstdMaxWindow = 8 << 20
	// zstdWindow is that of level 3, rsync's default.
	zstdWindow = 2 << 20
)

type zstdCompressor struct {
	items items
	c     *zstd.Encoder
}

func newZstdCompressor(w *wire.Writer) *zstdCompressor {
	c := &zstdCompressor{items: items{w: w}}
	// The options are right, so there is no error. Concurrency 1 leaves no
	// goroutine behind a Writer that nobody closes, and the checksum would stand
	// at the end, which never comes.
	c.c, _ = zstd.NewWriter(&c.items, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(zstdWindow))
	return c
}

func (c *zstdCompressor) write(p []byte) {
	if _, err := c.c.Write(p); err != nil {
		c.items.w.Fail(err)
	}
}

func (c *zstdCompressor) flush() {
	if err := c.c.Flush(); err != nil {
		c.items.w.Fail(err)
	}
	c.items.flush()
}

func (c *zstdCompressor) reset() {}

// A zstdDecompressor hands whole blocks to the decoder, one at a time, because a
// decoder that runs out of input cannot go on. A flush ends a block.
type zstdDecompressor struct {
	items  *source
	d      *zstd.Decoder
	queue  bytes.Buffer // compressed
	whole  int          // so many bytes of queue are for the decoder
	header bool         // of the frame has been seen
	out    []byte       // of one block
	rest   []byte       // of out
}

func newZstdDecompressor(s *source) *zstdDecompressor {
	d := &zstdDecompressor{items: s, out: make([]byte, zstdBlock)}
	// The options are right, so there is no error. With concurrency 1 there is no
	// goroutine, and Read asks for a block only when it has nothing to return.
	d.d, _ = zstd.NewReader((*zstdBlocks)(d), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMaxWindow))
	return d
}

func (d *zstdDecompressor) next() ([]byte, error) {
	for len(d.rest) == 0 {
		ready, err := d.block()
		if err != nil {
			return nil, err
		}
		if !ready {
			n := d.items.item()
			if n == 0 && d.whole < d.queue.Len() {
				return nil, errors.New("a zstd block that is cut")
			}
			if n == 0 {
				return nil, nil
			}
			d.queue.Write(d.items.r.Bytes(n))
			continue
		}
		n, err := d.d.Read(d.out)
		if err != nil {
			return nil, err
		}
		d.rest = d.out[:n]
	}
	p := d.rest[:min(len(d.rest), maxDelivery)]
	d.rest = d.rest[len(p):]
	return p, nil
}

func (d *zstdDecompressor) reset() {}

// block makes the next block with content whole, with the header of the frame
// before it, if it is in the queue.
func (d *zstdDecompressor) block() (bool, error) {
	if !d.header {
		n, err := zstdHeader(d.queue.Bytes())
		if err != nil || n > d.queue.Len() {
			return false, err
		}
		d.header, d.whole = true, n
	}
	for {
		p := d.queue.Bytes()[d.whole:]
		if len(p) < 3 {
			return false, nil
		}
		h := int(p[0]) | int(p[1])<<8 | int(p[2])<<16
		last, kind, size := h&1 != 0, h>>1&3, h>>3
		if last {
			return false, errors.New("the end of a zstd frame")
		}
		if size > zstdBlock {
			return false, fmt.Errorf("a zstd block of %d bytes", size)
		}
		if size == 0 && kind < 2 {
			// It has no content: the decoder would ask for another.
			b := d.queue.Bytes()
			copy(b[3:], b[:d.whole])
			d.queue.Next(3)
			continue
		}
		if kind == 1 { // one byte, repeated
			size = 1
		}
		if len(p) < 3+size {
			return false, nil
		}
		d.whole += 3 + size
		return true, nil
	}
}

// zstdHeader returns the length of the frame header that begins with p, or of as
// much of it as has to be known to tell (RFC 8878, 3.1.1.1).
func zstdHeader(p []byte) (int, error) {
	n := 5 // the magic number and the descriptor
	if len(p) < n {
		return n, nil
	}
	if binary.LittleEndian.Uint32(p) != zstdMagic {
		return 0, errors.New("no zstd frame")
	}
	single := p[4]&0x20 != 0
	if !single {
		n++ // window
	}
	n += []int{0, 1, 2, 4}[p[4]&3] // dictionary
	switch size := p[4] >> 6; {
	case size > 0:
		n += 1 << size
	case single:
		n++
	}
	return n, nil
}

// zstdBlocks is what the decoder reads: the whole blocks, and then the end.
type zstdBlocks zstdDecompressor

func (d *zstdBlocks) Read(p []byte) (int, error) {
	if d.whole == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.queue.Next(min(len(p), d.whole)))
	d.whole -= n
	return n, nil
}
