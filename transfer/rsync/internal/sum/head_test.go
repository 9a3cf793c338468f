package sum_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
	"github.com/stretchr/testify/require"
)

func encode(t testing.TB, write func(*wire.Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	write(w)
	require.NoError(t, w.Flush())
	return b.Bytes()
}

func TestBlockLen_IsTheReferenceChoice(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	tests := []struct {
		rule          string
		size          int64
		blockLen      int32
		blocks        int32
		strongLen     int32
		fullStrongLen int
	}{
		{"nothing", 0, 700, 0, 2, 16},
		{"one byte", 1, 700, 1, 2, 16},
		{"up to 490000 bytes, 700", 490_000, 700, 700, 2, 16},
		{"above, the root in steps of 8", mib, 1024, 1024, 2, 16},
		{"10 MiB", 10 * mib, 3232, 3245, 2, 16},
		{"100 MiB", 100 * mib, 10240, 10240, 3, 16},
		{"512 MiB", 512 * mib, 23168, 23173, 3, 16},
		{"4 GiB", 4096 * mib, 65536, 65536, 4, 16},
		{"16 GiB, the longest block", 16384 * mib, 131072, 131072, 4, 16},
		{"64 GiB", 65536 * mib, 131072, 1 << 19, 5, 16},
		{"never more than the sum has", 65536 * mib, 131072, 1 << 19, 3, 3},
	}
	for _, tt := range tests {
		blockLen := sum.BlockLen(tt.size)
		require.Equal(t, tt.blockLen, blockLen, tt.rule)
		require.Equal(t, tt.strongLen, sum.StrongLen(tt.size, blockLen, tt.fullStrongLen), tt.rule)
		head := sum.NewHead(tt.size, blockLen, tt.strongLen)
		require.Equal(t, tt.blocks, head.Count, tt.rule)
		require.Equal(t, tt.size, head.Size(), tt.rule)
	}
}

func TestHead_CutsTheBasisIntoBlocks(t *testing.T) {
	t.Parallel()
	for size := range int64(50) {
		for blockLen := int32(1); blockLen < 20; blockLen++ {
			h := sum.NewHead(size, blockLen, 2)
			var total int64
			for i := range h.Count {
				require.Positive(t, h.Len(i))
				require.LessOrEqual(t, h.Len(i), int(blockLen))
				total += int64(h.Len(i))
			}
			require.Equal(t, size, total)
			require.Equal(t, size, h.Size())
			require.Zero(t, h.Len(-1))
			require.Zero(t, h.Len(h.Count))
		}
	}
}

func TestNewHead_IsZeroForWhatItCannotCount(t *testing.T) {
	t.Parallel()
	for _, h := range []sum.Head{
		sum.NewHead(-1, 700, 2), sum.NewHead(1, 0, 2), sum.NewHead(1, -1, 2),
		sum.NewHead(math.MaxInt64, 131072, 2), sum.NewHead(1<<31, 1, 2),
	} {
		require.Equal(t, sum.Head{}, h)
	}
	require.Equal(t, int32(math.MaxInt32), sum.NewHead(1<<31-1, 1, 2).Count)
}

func TestReadHead_RefusesWhatNoFileHas(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule    string
		head    sum.Head
		version int
		ok      bool
	}{
		{"no basis", sum.Head{}, 32, true},
		{"an empty basis may keep its block length", sum.Head{BlockLen: 700, StrongLen: 2}, 32, true},
		{"a short last block", sum.Head{Count: 2, BlockLen: 700, StrongLen: 16, Rem: 1}, 32, true},
		{"a last block of full length", sum.Head{Count: 2, BlockLen: 700, StrongLen: 16, Rem: 700}, 32, true},
		{"no strong sum", sum.Head{Count: 2, BlockLen: 700}, 32, true},
		{"the longest block", sum.Head{Count: 2, BlockLen: 131072}, 30, true},
		{"a longer one", sum.Head{Count: 2, BlockLen: 131073}, 30, false},
		{"a longer one in version 29", sum.Head{Count: 2, BlockLen: 1 << 29}, 29, true},
		{"too long for version 29", sum.Head{Count: 2, BlockLen: 1<<29 + 1}, 29, false},
		{"a negative count", sum.Head{Count: -1, BlockLen: 700}, 32, false},
		{"blocks without length", sum.Head{Count: 1}, 32, false},
		{"a negative block length", sum.Head{Count: 1, BlockLen: -1}, 32, false},
		{"a negative block length of no blocks", sum.Head{BlockLen: -1}, 32, false},
		{"more strong sum than there is", sum.Head{Count: 1, BlockLen: 700, StrongLen: 17}, 32, false},
		{"a negative strong sum", sum.Head{Count: 1, BlockLen: 700, StrongLen: -1}, 32, false},
		{"a last block longer than the others", sum.Head{Count: 1, BlockLen: 700, Rem: 701}, 32, false},
		{"a negative last block", sum.Head{Count: 1, BlockLen: 700, Rem: -1}, 32, false},
	}
	for _, tt := range tests {
		r := wire.NewReader(bytes.NewReader(encode(t, tt.head.Write)))
		got := sum.ReadHead(r, 16, tt.version)
		if tt.ok {
			require.NoError(t, r.Err(), tt.rule)
			require.Empty(t, cmp.Diff(tt.head, got), tt.rule)
		} else {
			require.Error(t, r.Err(), tt.rule)
			require.Equal(t, sum.Head{}, got, tt.rule)
		}
	}
	r := wire.NewReader(bytes.NewReader(make([]byte, 15)))
	require.Equal(t, sum.Head{}, sum.ReadHead(r, 16, 32))
	require.Error(t, r.Err())
}

func ExampleNewHead() {
	const size = 10 << 20
	blockLen := sum.BlockLen(size)
	h := sum.NewHead(size, blockLen, sum.StrongLen(size, blockLen, 16))
	fmt.Printf("%+v\n", h)
	// Output: {Count:3245 BlockLen:3232 StrongLen:2 Rem:1152}
}
