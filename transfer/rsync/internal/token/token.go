// Package token writes and reads files as rsync sends them: literal data, and
// numbers of blocks of the basis, that is of the old file that the receiver has.
//
// Without compression a token is an int: n > 0, and n bytes of literal data
// follow; n < 0, the block -n-1; 0, the end of the file. With compression the
// items begin with a byte:
//
//	00               the end of the file
//	01hhhhhh l       data: 256*h + l bytes, compressed
//	10rrrrrr         one block: r after the last block of the run before
//	11rrrrrr n n     a run of n+1 blocks, which begins there
//	20 b b b b       one block: b
//	21 b b b b n n   a run of n+1 blocks, which begins with b
//
// where "the last block of the run before" is 0 at the beginning of a file. All
// data up to a block or the end of the file can be decompressed from the items
// before it. The compressed data is
//
//   - zstd: one frame of RFC 8878 for the whole session, which is flushed and
//     never ended;
//   - lz4: a block of the LZ4 block format in each item, on its own;
//   - zlibx: deflate (RFC 1951), begun anew in each file; of each sync flush the
//     last four bytes, 00 00 ff ff, are left out.
//
// # Guarantees
//
//   - What a Writer is given a Reader returns, in the same order: the same bytes,
//     however they are cut, and the same blocks, however they are grouped.
//   - A Writer writes literals that every rsync takes: no longer than 32768 bytes.
//   - Whatever the peer sends, a Reader does not panic, holds less than 10 MiB,
//     and returns literal data in pieces of at most 64 KiB.
//   - A Reader takes nothing after the end of a file out of the stream below.
package token

import (
	"fmt"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

const (
	endOfFile   = 0x00
	blockAt     = 0x20
	runAt       = 0x21
	data        = 0x40
	blockAfter  = 0x80
	runAfter    = 0xc0
	maxAfter    = 1<<6 - 1  // the longest step of blockAfter and runAfter
	maxRun      = 1 << 16   // blocks
	maxItem     = 1<<14 - 1 // compressed bytes
	maxPlain    = 32 << 10  // literal bytes: rsync 3.4.3 ends at more
	maxDelivery = 64 << 10  // literal bytes that Reader.Next returns
)

func unknown(method string) error {
	return fmt.Errorf("unsupported compression %q", method)
}

// items writes compressed data as items.
type items struct {
	w    *wire.Writer
	buf  []byte
	tail int // so many bytes at the end of a stretch are not sent
}

func (s *items) Write(p []byte) (int, error) {
	s.buf = append(s.buf, p...)
	s.send(maxItem)
	return len(p), nil
}

// flush ends a stretch of literal data.
func (s *items) flush() {
	s.send(1)
	s.buf = s.buf[:0]
}

// send writes items until fewer bytes than least could go.
func (s *items) send(least int) {
	p := s.buf
	for len(p)-s.tail >= least {
		n := min(len(p)-s.tail, maxItem)
		s.w.Byte(data | byte(n>>8))
		s.w.Byte(byte(n))
		_, _ = s.w.Write(p[:n]) // the error sticks to w
		p = p[n:]
	}
	s.buf = append(s.buf[:0], p...)
}

// source reads the items of a stretch of compressed data.
type source struct {
	r     *wire.Reader
	tag   byte // of the item after the stretch
	ended bool // tag holds it
}

// item begins the next item of data and returns its length, or 0 if the next
// item is not data.
func (s *source) item() int {
	for !s.ended && s.r.Err() == nil {
		b := s.r.Byte()
		if b&0xc0 != data {
			s.tag, s.ended = b, true
			break
		}
		if n := int(b&0x3f)<<8 | int(s.r.Byte()); n > 0 {
			return n
		}
	}
	return 0
}
