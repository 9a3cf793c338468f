package match_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/obskeep/obskeep/transfer/rsync/internal/match"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/stretchr/testify/require"
)

// counter counts literal bytes and blocks.
type counter struct{ literal, blocks int }

func (c *counter) Literal(p []byte) { c.literal += len(p) }
func (c *counter) Block(int32)      { c.blocks++ }

func BenchmarkSearch(b *testing.B) {
	const size = 256 << 20
	basis, other := random(1, size), random(2, size)
	scattered := bytes.Clone(basis)
	for at := 0; at < size; at += 100 * 4096 {
		copy(scattered[at:], other[:4096])
	}
	shifted := append([]byte{1}, basis[:size-1]...)
	swapped := append(bytes.Clone(basis[size/2:]), basis[:size/2]...)
	zeros := make([]byte, size)
	reference := sum.BlockLen(size)

	for _, tt := range []struct {
		name          string
		algorithm     string
		basis, source []byte
		blockLen      int32
		inPlace       bool
	}{
		{"no basis", "xxh128", nil, other, 0, false},
		{"nothing in common, reference blocks", "xxh128", basis, other, reference, false},
		{"nothing in common", "xxh128", basis, other, 4096, false},
		{"nothing in common, md5", "md5", basis, other, reference, false},
		{"identical, reference blocks", "xxh128", basis, basis, reference, false},
		{"identical", "xxh128", basis, basis, 4096, false},
		{"identical, md5", "md5", basis, basis, 4096, false},
		{"identical, in place", "xxh128", basis, basis, 4096, true},
		{"scattered 4 KiB", "xxh128", basis, scattered, 4096, false},
		{"scattered 4 KiB, in place", "xxh128", basis, scattered, 4096, true},
		{"moved by a byte", "xxh128", basis, shifted, 4096, false},
		{"halves swapped", "xxh128", basis, swapped, 4096, false},
		{"zeros", "xxh128", zeros, zeros, 4096, false},
	} {
		s := session(b, tt.algorithm)
		var sums *sum.Sums
		if tt.basis != nil {
			h := sum.NewHead(size, tt.blockLen, sum.StrongLen(size, tt.blockLen, 16))
			var err error
			sums, err = sum.Compute(b.Context(), bytes.NewReader(tt.basis), h, s, 2)
			require.NoError(b, err)
		}
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", tt.name, workers), func(b *testing.B) {
				b.SetBytes(size)
				var c counter
				for b.Loop() {
					c = counter{}
					_, _, err := match.Search(b.Context(), bytes.NewReader(tt.source), size, sums, s, tt.inPlace, workers, &c)
					require.NoError(b, err)
				}
				b.ReportMetric(float64(c.literal), "literal-bytes")
			})
		}
	}
}

// Many small files are common; each costs little more than its hash.
func BenchmarkSearch_SmallFile(b *testing.B) {
	s, data := session(b, "xxh128"), random(3, 2000)
	b.SetBytes(2000)
	b.ReportAllocs()
	for b.Loop() {
		_, _, err := match.Search(b.Context(), bytes.NewReader(data), 2000, nil, s, false, 2, &counter{})
		require.NoError(b, err)
	}
}
