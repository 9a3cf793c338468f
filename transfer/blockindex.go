package transfer

import "math/bits"

// blockIndex finds a block by its weak checksum. Of several blocks with one
// weak checksum it holds the first: they are equal, or made to differ.
type blockIndex struct {
	filter bloom

	// slots are block numbers plus one, open-addressed; 0 is free.
	slots []uint32
}

// maxProbes bounds the search for a slot. In slots at most half full so long a
// run is made on purpose; a block without a slot is found only as the
// continuation of a match.
const maxProbes = 128

func newBlockIndex(blocks []BlockSum) blockIndex {
	size := 0 // 1<<size is at least the number of blocks
	if len(blocks) > 0 {
		size = bits.Len(uint(len(blocks) - 1))
	}
	x := blockIndex{
		filter: make(bloom, 1<<size),
		slots:  make([]uint32, 2<<size),
	}
	for i := range blocks {
		weak := blocks[i].Weak
		if slot, ok := x.slot(blocks, weak); ok && x.slots[slot] == 0 {
			x.slots[slot] = uint32(i + 1)
			x.filter.add(weak)
		}
	}
	return x
}

func (x *blockIndex) lookup(blocks []BlockSum, weak uint64) (int, bool) {
	if !x.filter.mayHold(weak) {
		return 0, false
	}
	slot, ok := x.slot(blocks, weak)
	if !ok || x.slots[slot] == 0 {
		return 0, false
	}
	return int(x.slots[slot] - 1), true
}

// slot returns where weak is, or the free slot where it belongs.
func (x *blockIndex) slot(blocks []BlockSum, weak uint64) (int, bool) {
	// Sparse blocks differ in few bits: fold and multiply, or they crowd.
	mask := len(x.slots) - 1
	at := int((weak ^ weak>>32) * weakBase >> 32)
	for range maxProbes {
		at &= mask
		if n := x.slots[at]; n == 0 || blocks[n-1].Weak == weak {
			return at, true
		}
		at++
	}
	return 0, false
}

// bloom is a Bloom filter with two bits of one word for each weak checksum. Its
// length is a power of two; with a word or more for each checksum it holds, one in
// about 500 others seems to be there.
type bloom []uint64

func (f bloom) add(weak uint64) {
	f[weak>>36&uint64(len(f)-1)] |= twoBits(weak)
}

func (f bloom) mayHold(weak uint64) bool {
	two := twoBits(weak)
	return f[weak>>36&uint64(len(f)-1)]&two == two
}

func twoBits(weak uint64) uint64 {
	return 1<<(weak>>30&63) | 1<<(weak>>24&63)
}
