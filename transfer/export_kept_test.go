package transfer

import "time"

// KeptSums encodes the sums of n blocks.
func KeptSums(n int) []byte {
	s := &blockSums{size: int64(n) * 4096, modTime: time.Unix(1, 2), block: 4096, sums: make([]sha256Sum, n)}
	for i := range s.sums {
		s.sums[i][0] = byte(i)
	}
	return s.encode()
}

// ReadKeptSums decodes and encodes them again.
func ReadKeptSums(b []byte) ([]byte, bool) {
	s, err := decodeKept(b)
	if err != nil {
		return nil, false
	}
	return s.encode(), true
}
