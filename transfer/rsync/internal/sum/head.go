package sum

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

const (
	maxBlockLen    = 1 << 17 // from version 30 on
	maxBlockLenOld = 1 << 29
	minBlockLen    = 700
	maxStrongLen   = 16
)

// Head says how a basis is cut into blocks, and how much of each strong sum is
// sent. The zero Head stands for no basis.
type Head struct {
	// Count is the number of blocks.
	Count int32
	// BlockLen is the length of each block but the last, in bytes.
	BlockLen int32
	// StrongLen is the number of bytes of each strong sum.
	StrongLen int32
	// Rem is the length of the last block, in bytes. Zero means BlockLen.
	Rem int32
}

// NewHead returns the head of a basis of size bytes in blocks of blockLen. It
// is the zero Head if either is not positive, or if the blocks are more than
// a Head can count.
func NewHead(size int64, blockLen, strongLen int32) Head {
	if size <= 0 || blockLen <= 0 || (size-1)/int64(blockLen) >= math.MaxInt32 {
		return Head{}
	}
	return Head{
		Count:     int32((size-1)/int64(blockLen) + 1),
		BlockLen:  blockLen,
		StrongLen: strongLen,
		Rem:       int32(size % int64(blockLen)),
	}
}

// ReadHead reads a head. maxStrong is the size of the strong sum agreed on and
// version that of the protocol. A head out of their limits makes r fail, and
// then, as after any error, the head is zero.
func ReadHead(r *wire.Reader, maxStrong int, version int) Head {
	h := Head{r.Int(), r.Int(), r.Int(), r.Int()}
	if r.Err() != nil {
		return Head{}
	}
	limit := int32(maxBlockLen)
	if version < 30 {
		limit = maxBlockLenOld
	}
	err := h.check(maxStrong)
	if err == nil && h.BlockLen > limit {
		err = fmt.Errorf("sum: block length %d is above %d", h.BlockLen, limit)
	}
	if err != nil {
		r.Fail(err)
		return Head{}
	}
	return h
}

// Write writes h.
func (h Head) Write(w *wire.Writer) {
	w.Int(h.Count)
	w.Int(h.BlockLen)
	w.Int(h.StrongLen)
	w.Int(h.Rem)
}

// Size returns the length of the basis in bytes.
func (h Head) Size() int64 {
	if h.Count <= 0 {
		return 0
	}
	return int64(h.Count-1)*int64(h.BlockLen) + int64(h.Len(h.Count-1))
}

// Len returns the length of block i in bytes, 0 for a block that is not there.
func (h Head) Len(i int32) int {
	switch {
	case i < 0 || i >= h.Count:
		return 0
	case i == h.Count-1 && h.Rem != 0:
		return int(h.Rem)
	}
	return int(h.BlockLen)
}

func (h Head) check(maxStrong int) error {
	switch {
	case h.Count < 0:
		return fmt.Errorf("sum: block count %d", h.Count)
	case h.BlockLen < 0, h.BlockLen == 0 && h.Count > 0:
		return fmt.Errorf("sum: block length %d", h.BlockLen)
	case h.StrongLen < 0, int64(h.StrongLen) > int64(maxStrong):
		return fmt.Errorf("sum: %d bytes of a strong sum of %d", h.StrongLen, maxStrong)
	case h.Rem < 0, h.Rem > h.BlockLen:
		return fmt.Errorf("sum: last block of %d bytes in blocks of %d", h.Rem, h.BlockLen)
	}
	return nil
}

// BlockLen returns the block length that the reference program chooses for a
// basis of size bytes: about its square root, from 700 to 131072.
func BlockLen(size int64) int32 {
	if size <= minBlockLen*minBlockLen {
		return minBlockLen
	}
	// The power of two whose exponent is half that of size, rounded down.
	high := int64(1) << (log2(size) / 2)
	if high >= maxBlockLen {
		return maxBlockLen
	}
	var root int64
	for bit := high; bit >= 8; bit >>= 1 {
		if n := root | bit; n*n <= size {
			root = n
		}
	}
	return int32(max(root, minBlockLen))
}

// StrongLen returns how many bytes of each strong sum the reference program
// sends at first, for a basis of size bytes: enough that a false match is
// unlikely, from 2 to 16, and not above limit, the size of the sum. When a file
// is sent again after a false match, full sums are right.
func StrongLen(size int64, blockLen int32, limit int) int32 {
	b := 10 + 2*log2(size) - log2(int64(blockLen))
	return int32(min(max((b+1-32+7)/8, 2), maxStrongLen, limit))
}

// log2 returns the logarithm of n, rounded down, and 0 for n below 1.
func log2(n int64) int {
	if n < 1 {
		return 0
	}
	return bits.Len64(uint64(n)) - 1
}
