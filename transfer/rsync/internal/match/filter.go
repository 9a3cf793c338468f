package match

// filter tells of a weak sum that no block has it, nearly always: a Bloom filter
// whose two bits for a sum are in one word, small enough to stay in the cache.
// Most offsets of a source end here.
type filter struct {
	words []uint64
	shift uint8
}

// newFilter returns a filter for 2^size sums, with 32 bits for each, so that
// about one sum of 200 passes by chance.
func newFilter(size int) filter {
	n := min(max(size-1, 1), 21)
	return filter{make([]uint64, 1<<n), uint8(32 - n)}
}

func (f filter) add(weak uint32) {
	f.words[weak*mix>>(f.shift&31)] |= bitsOf(weak)
}

func (f filter) has(weak uint32) bool {
	bits := bitsOf(weak)
	return f.words[weak*mix>>(f.shift&31)]&bits == bits
}

func bitsOf(weak uint32) uint64 { return 1<<(weak&63) | 1<<(weak>>16&63) }
