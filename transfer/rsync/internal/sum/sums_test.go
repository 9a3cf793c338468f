package sum_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
	"github.com/stretchr/testify/require"
)

func random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// counted counts the bytes read.
type counted struct {
	io.ReaderAt
	read atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.read.Add(int64(n))
	return n, err
}

// Compute gives the sums of each block, for any number of workers, and reads
// each byte of the basis once.
func TestCompute_ReadsTheBasisOnceForAnyNumberOfWorkers(t *testing.T) {
	t.Parallel()
	basis := random(1, 2<<20+123)
	s := sum.Session{Algorithm: algorithm(t, "xxh128"), Seed: -5}
	for _, blockLen := range []int32{700, 4096, 1 << 20, 16 << 20} {
		h := sum.NewHead(int64(len(basis)), blockLen, 7)
		want := &sum.Sums{Head: h}
		hasher := s.NewBlock()
		for rest := basis; len(rest) > 0; {
			block := rest[:min(len(rest), int(blockLen))]
			rest = rest[len(block):]
			want.Weak = append(want.Weak, sum.Weak(block))
			want.Strong = append(want.Strong, hasher.Sum(nil, block)[:7]...)
		}
		for _, workers := range []int{-1, 2, 9} {
			r := &counted{ReaderAt: bytes.NewReader(basis)}
			got, err := sum.Compute(t.Context(), r, h, s, workers)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got), "blocks of %d, %d workers", blockLen, workers)
			require.Equal(t, int64(len(basis)), r.read.Load())
		}
	}
}

// A basis that has become shorter does not end the session: what is missing
// counts as zeros, and the file sum will tell.
func TestCompute_TakesWhatTheBasisLacksAsZeros(t *testing.T) {
	t.Parallel()
	s := sum.Session{Algorithm: algorithm(t, "md5")}
	h := sum.NewHead(3<<20+5, 4096, 2)
	short := random(2, 1<<20+5000)
	want, err := sum.Compute(t.Context(), bytes.NewReader(append(bytes.Clone(short), make([]byte, 2<<20)...)), h, s, 1)
	require.NoError(t, err)
	got, err := sum.Compute(t.Context(), bytes.NewReader(short), h, s, 2)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))
}

type failing struct{ error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.error }

func TestCompute_ReportsTheErrorOfTheBasis(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad sector")
	s := sum.Session{Algorithm: algorithm(t, "xxh3")}
	_, err := sum.Compute(t.Context(), failing{bad}, sum.NewHead(5<<20, 700, 2), s, 2)
	require.ErrorIs(t, err, bad)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = sum.Compute(ctx, bytes.NewReader(nil), sum.NewHead(5<<20, 700, 2), s, 2)
	require.ErrorIs(t, err, context.Canceled)

	_, err = sum.Compute(t.Context(), bytes.NewReader(nil), sum.NewHead(5<<20, 700, 9), s, 2)
	require.Error(t, err, "9 bytes of an 8-byte sum")
}

func TestSums_AreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	basis := random(3, 300_001)
	for _, name := range sum.Names() {
		s := sum.Session{Algorithm: algorithm(t, name), Seed: 99}
		for _, strongLen := range []int32{0, 2, int32(s.Algorithm.Size())} {
			want, err := sum.Compute(t.Context(), bytes.NewReader(basis), sum.NewHead(int64(len(basis)), 70, strongLen), s, 2)
			require.NoError(t, err)
			sent := encode(t, func(w *wire.Writer) { want.Head.Write(w); want.Write(w) })
			r := wire.NewReader(bytes.NewReader(sent))
			got := sum.ReadSums(r, sum.ReadHead(r, s.Algorithm.Size(), 32))
			require.NoError(t, r.Err())
			require.Equal(t, want.Weak, got.Weak)
			require.True(t, bytes.Equal(want.Strong, got.Strong))
		}
	}
}

// A head that claims 2³¹−1 blocks costs nothing unless they arrive.
func TestReadSums_AllocatesAsTheSumsArrive(t *testing.T) {
	head := sum.Head{Count: 1<<31 - 1, BlockLen: 131072, StrongLen: 16}
	r := wire.NewReader(io.MultiReader(bytes.NewReader(encode(t, head.Write)), bytes.NewReader(make([]byte, 1000))))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.Nil(t, sum.ReadSums(r, sum.ReadHead(r, 16, 32)))
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, r.Err(), io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

// Whatever a peer sends is sums that fit their head, or an error.
func FuzzReadSums_FitTheirHead(f *testing.F) {
	le := binary.LittleEndian
	head := func(fields ...uint32) (b []byte) {
		for _, x := range fields {
			b = le.AppendUint32(b, x)
		}
		return b
	}
	f.Add(head(0, 0, 0, 0), 32)
	f.Add(append(head(2, 700, 2, 1), make([]byte, 12)...), 32)
	f.Add(head(1<<31-1, 131072, 0, 0), 30)
	f.Add(head(1, 1<<29, 16, 1<<29), 29)
	f.Fuzz(func(t *testing.T, sent []byte, version int) {
		r := wire.NewReader(bytes.NewReader(sent))
		h := sum.ReadHead(r, 16, version)
		s := sum.ReadSums(r, h)
		if r.Err() != nil {
			require.Nil(t, s)
			return
		}
		require.Len(t, s.Weak, int(h.Count))
		require.Len(t, s.Strong, int(h.Count)*int(h.StrongLen))
		require.GreaterOrEqual(t, h.Size(), int64(0))
		again := encode(t, func(w *wire.Writer) { h.Write(w); s.Write(w) })
		require.True(t, bytes.HasPrefix(sent, again))
	})
}

func ExampleCompute() {
	a, _ := sum.ByName("xxh128")
	s := sum.Session{Algorithm: a, Seed: 1}
	basis := bytes.NewReader(make([]byte, 10_000))
	sums, err := sum.Compute(context.Background(), basis, sum.NewHead(10_000, 4096, 2), s, 2)
	fmt.Println(len(sums.Weak), sums.Head.Len(2), err)
	// Output: 3 1808 <nil>
}
