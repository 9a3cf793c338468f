package token

import (
	"github.com/pierrec/lz4/v4"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// maxLZ4 is how much one LZ4 block is made of: so little that it fits into an
// item even if it cannot be compressed, which takes a byte in 255 and a few more.
const maxLZ4 = maxItem - maxItem/255 - 19

type lz4Compressor struct {
	items items
	c     lz4.Compressor
	in    []byte
	out   []byte
}

func newLZ4Compressor(w *wire.Writer) *lz4Compressor {
	return &lz4Compressor{items: items{w: w}, in: make([]byte, 0, maxLZ4), out: make([]byte, lz4.CompressBlockBound(maxLZ4))}
}

func (c *lz4Compressor) write(p []byte) {
	for len(p) > 0 {
		n := min(len(p), maxLZ4-len(c.in))
		c.in = append(c.in, p[:n]...)
		p = p[n:]
		if len(c.in) == maxLZ4 {
			c.flush()
		}
	}
}

func (c *lz4Compressor) flush() {
	if len(c.in) == 0 {
		return
	}
	// The room is enough for any data, so there is no error.
	n, err := c.c.CompressBlock(c.in, c.out)
	if err != nil {
		c.items.w.Fail(err)
	}
	_, _ = c.items.Write(c.out[:n])
	c.items.flush()
	c.in = c.in[:0]
}

func (c *lz4Compressor) reset() {}

type lz4Decompressor struct {
	items *source
	out   []byte
}

func newLZ4Decompressor(s *source) *lz4Decompressor {
	return &lz4Decompressor{items: s, out: make([]byte, maxDelivery)}
}

func (d *lz4Decompressor) next() ([]byte, error) {
	for {
		n := d.items.item()
		if n == 0 {
			return nil, nil
		}
		if n, err := lz4.UncompressBlock(d.items.r.Bytes(n), d.out); n > 0 || err != nil {
			return d.out[:max(n, 0)], err
		}
	}
}

func (d *lz4Decompressor) reset() {}
