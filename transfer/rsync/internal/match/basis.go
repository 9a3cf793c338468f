package match

import (
	"bytes"
	"math/bits"

	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
)

const (
	// candidates is how many blocks are compared at one offset.
	candidates = 64
	// mix spreads weak sums over the table (Knuth, The Art of Computer
	// Programming, vol. 3, 6.4: 2³² by the golden ratio).
	mix = 0x9e3779b1
)

// basis answers which blocks have a given sum. Scanners share it; only the reader
// of the source writes to it, in compareInPlace.
type basis struct {
	head   sum.Head
	weak   []uint32
	strong []byte
	full   int32 // blocks of full length; a shorter one may follow

	filter filter // of the weak sums in the table

	// heads has the first block of each chain, nexts the block after a block,
	// −1 at the end. Equal blocks are in a chain once.
	heads, nexts []int32
	headShift    uint8

	// inPlace is set if the receiver writes into the basis. Then equal blocks
	// stand in a chain by the last of them, equals has the one before a block,
	// and kept tells which blocks the source has at their own place.
	inPlace bool
	equals  []int32
	kept    []bool
	hasher  *sum.BlockHasher
	buf     []byte
}

// newBasis builds the table for a source of size bytes.
func newBasis(sums *sum.Sums, s sum.Session, size int64, inPlace bool) (*basis, error) {
	b := &basis{inPlace: inPlace, hasher: s.NewBlock()}
	if sums == nil {
		return b, nil
	}
	if err := checkSums(sums, s); err != nil {
		return nil, err
	}
	if sums.Head.Count == 0 || sums.Head.BlockLen > maxBlockLen {
		return b, nil
	}
	b.head, b.weak, b.strong = sums.Head, sums.Weak, sums.Strong
	b.full = b.head.Count
	if b.head.Len(b.full-1) < int(b.head.BlockLen) {
		b.full--
	}
	if size < int64(b.head.BlockLen) {
		b.full = 0
	}
	b.index()
	return b, nil
}

func (b *basis) index() {
	if b.full == 0 {
		return
	}
	size := max(bits.Len32(uint32(b.full-1)), 1)
	b.filter = newFilter(size)
	b.heads = make([]int32, 1<<min(size+1, 31))
	b.headShift = uint8(32 - min(size+1, 31))
	for i := range b.heads {
		b.heads[i] = -1
	}
	b.nexts = make([]int32, b.full)
	if b.inPlace {
		b.equals = make([]int32, b.full)
		b.kept = make([]bool, b.full)
	}
	for i := range b.full {
		b.add(i)
	}
}

func (b *basis) add(i int32) {
	weak := b.weak[i]
	at := &b.heads[weak*mix>>b.headShift]
	if b.inPlace {
		b.equals[i] = -1
	}
	// A peer could make one chain of all blocks, which would take a square of
	// their number to build and is never walked to its end.
	n := 0
	for p := at; *p >= 0; p = &b.nexts[*p] {
		j := *p
		if b.weak[j] == weak && bytes.Equal(b.strongOf(j), b.strongOf(i)) {
			if b.inPlace {
				b.equals[i], b.nexts[i], *p = j, b.nexts[j], i
			}
			return
		}
		if n++; n == candidates {
			return
		}
	}
	b.nexts[i], *at = *at, i
	b.filter.add(weak)
}

func (b *basis) strongOf(i int32) []byte {
	n := int(b.head.StrongLen)
	return b.strong[int(i)*n : (int(i)+1)*n]
}

// usable reports whether block i still is what it was when the receiver writes
// at off.
func (b *basis) usable(i int32, off int64) bool {
	return !b.inPlace || int64(i)*int64(b.head.BlockLen) >= off || b.kept[i]
}

// aligned returns the full block whose own place is off, or −1.
func (b *basis) aligned(off int64) int32 {
	if n := int64(b.head.BlockLen); off%n == 0 && off/n < int64(b.full) {
		return int32(off / n)
	}
	return -1
}

// compareInPlace notes which blocks of the basis seg has at their own places.
// It is called for the segments in order, before they are searched: what the
// search may ask about an earlier block is then known.
func (b *basis) compareInPlace(seg *segment) {
	if !b.inPlace || b.full == 0 {
		return
	}
	n := int(b.head.BlockLen)
	for off := 0; off+n <= seg.own; off += n {
		i := b.aligned(seg.off + int64(off))
		if i < 0 {
			return
		}
		window := seg.data[off : off+n]
		if sum.Weak(window) == b.weak[i] {
			b.buf = b.hasher.Sum(b.buf[:0], window)
			b.kept[i] = bytes.HasPrefix(b.buf, b.strongOf(i))
		}
	}
}

// segment returns the length of a segment, which is a multiple of the block
// length so that data at its place in the basis is found at once, and how many
// bytes of the next one a window may need.
func (b *basis) segment() (step, ahead int64) {
	n := int64(b.head.BlockLen)
	if n == 0 {
		return copyLen, 0
	}
	// Short segments for very short blocks, whose hits would fill the memory.
	step = min(max(n<<13, 64<<10), segmentLen)
	return max(step/n, 1) * n, n
}
