package match_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/obskeep/obskeep/transfer/rsync/internal/match"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func session(t require.TestingT, name string) sum.Session {
	a, ok := sum.ByName(name)
	require.True(t, ok)
	return sum.Session{Algorithm: a, Seed: -77}
}

func compute(t require.TestingT, s sum.Session, basis []byte, blockLen, strongLen int32) *sum.Sums {
	sums, err := sum.Compute(context.Background(), bytes.NewReader(basis), sum.NewHead(int64(len(basis)), blockLen, strongLen), s, 1)
	require.NoError(t, err)
	return sums
}

func random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// receiver builds the file as a receiver does, and notes what came.
type receiver struct {
	head    sum.Head
	basis   []byte
	inPlace bool // file is the basis, and is written over

	file    []byte
	at      int // in file
	literal int
	blocks  []int32
	tokens  []byte // all that came, to compare two runs
	longest int
}

func newReceiver(head sum.Head, basis []byte, inPlace bool) *receiver {
	r := &receiver{head: head, basis: basis, inPlace: inPlace}
	if inPlace {
		r.file = bytes.Clone(basis)
		r.basis = nil
	}
	return r
}

func (r *receiver) write(p []byte) {
	if n := r.at + len(p); n > len(r.file) {
		r.file = append(r.file, make([]byte, n-len(r.file))...)
	}
	r.at += copy(r.file[r.at:], p)
}

func (r *receiver) Literal(p []byte) {
	r.tokens = fmt.Appendf(r.tokens, "%d bytes;", len(p))
	r.literal += len(p)
	r.longest = max(r.longest, len(p))
	if len(p) == 0 {
		panic("empty literal")
	}
	r.write(p)
}

func (r *receiver) Block(i int32) {
	r.tokens = fmt.Appendf(r.tokens, "block %d;", i)
	r.blocks = append(r.blocks, i)
	from := r.basis
	if r.inPlace {
		from = r.file
	}
	off := int64(i) * int64(r.head.BlockLen)
	r.write(bytes.Clone(from[off : off+int64(r.head.Len(i))]))
}

func (r *receiver) result() []byte { return r.file[:r.at] }

// search runs Search for one and for several workers, which must agree.
func search(t require.TestingT, s sum.Session, sums *sum.Sums, basis, source []byte, inPlace bool) *receiver {
	want := s.NewFile()
	want.Write(source)
	var first *receiver
	for _, workers := range []int{1, 3} {
		head := sum.Head{}
		if sums != nil {
			head = sums.Head
		}
		r := newReceiver(head, basis, inPlace)
		fileSum, read, err := match.Search(context.Background(), bytes.NewReader(source), int64(len(source)), sums, s, inPlace, workers, r)
		require.NoError(t, err)
		require.Equal(t, want.Sum(nil), fileSum)
		require.Equal(t, int64(len(source)), read)
		if first == nil {
			first = r
		}
		require.True(t, bytes.Equal(first.tokens, r.tokens), "one worker and three differ")
	}
	return first
}

// rebuilds checks that what Search tells is the source.
func rebuilds(t require.TestingT, s sum.Session, basis, source []byte, blockLen int32, inPlace bool) *receiver {
	sums := compute(t, s, basis, blockLen, int32(s.Algorithm.Size()))
	r := search(t, s, sums, basis, source, inPlace)
	require.True(t, bytes.Equal(source, r.result()), "%d bytes from %d, in blocks of %d, in place: %v", len(source), len(basis), blockLen, inPlace)
	require.LessOrEqual(t, r.longest, 256<<10)
	return r
}

// edit draws a source that is made of pieces of basis and of other data.
func edit(t *rapid.T, basis []byte) []byte {
	var source []byte
	for range rapid.IntRange(0, 8).Draw(t, "pieces") {
		n := rapid.IntRange(0, 1500).Draw(t, "length")
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			source = append(source, random(rapid.Byte().Draw(t, "seed"), n)...)
		case 1:
			source = append(source, bytes.Repeat([]byte{rapid.SampledFrom([]byte{0, 'a', 0xff}).Draw(t, "fill")}, n)...)
		case 2: // what stands in the basis at this place
			if at := len(source); at < len(basis) {
				source = append(source, basis[at:min(at+10*n, len(basis))]...)
			}
		default:
			at := rapid.IntRange(0, len(basis)).Draw(t, "from")
			source = append(source, basis[at:min(at+10*n, len(basis))]...)
		}
	}
	// Long enough for several segments, in a few of the cases.
	if rapid.IntRange(0, 9).Draw(t, "long") == 0 && len(source) > 0 {
		source = bytes.Repeat(source, 1+(200<<10)/len(source))
	}
	return source
}

// Blocks and literals put together are the source, whatever source and basis
// are; also where the receiver writes into the basis.
func TestSearch_TellsTheSource(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		basis := edit(t, nil)
		source := edit(t, basis)
		blockLen := rapid.SampledFrom([]int32{1, 2, 7, 16, 64, 100, 128, 700, 1000, 4096}).Draw(t, "block length")
		name := rapid.SampledFrom([]string{"xxh128", "xxh3", "md5", "md4"}).Draw(t, "algorithm")
		rebuilds(t, session(t, name), basis, source, blockLen, rapid.Bool().Draw(t, "in place"))
	})
}

// A segment is 128 KiB where blocks are of 16 bytes, and 4 MiB from 512 bytes on.
func TestSearch_TellsTheSourceAtTheEdges(t *testing.T) {
	t.Parallel()
	const segment = 128 << 10
	data := random(1, 300<<10)
	large := random(1, 6<<20)
	zeros := make([]byte, 300<<10)
	tests := []struct {
		rule          string
		basis, source []byte
		blockLen      int32
		literal       int // at most
	}{
		{"nothing from nothing", nil, nil, 700, 0},
		{"nothing from something", data[:5000], nil, 700, 0},
		{"something from nothing", nil, data[:5000], 700, 5000},
		{"the same", data, data, 16, 0},
		{"the same, with a short last block", data[:5000], data[:5000], 700, 0},
		{"the same, of several segments and a short last block", data[:300<<10-1], data[:300<<10-1], 16, 0},
		{"shorter than a block, the same", data[:500], data[:500], 700, 0},
		{"only the short block is at the end", data[:5000], append(random(2, 300), data[4900:5000]...), 700, 300},
		{"the short block is not in the middle", data[:5000], append(bytes.Clone(data[4900:5000]), random(2, 300)...), 700, 400},
		{"as long as a segment", data[:segment], data[:segment], 16, 0},
		{"a segment and a block", data[:segment+16], data[:segment+16], 16, 0},
		{"a segment, a block and a byte", data[:segment+17], data[:segment+17], 16, 0},
		{"two segments and a byte", data[:2*segment+1], data[:2*segment+1], 16, 0},
		{"a byte in front", data, append([]byte{1}, data...), 16, 1},
		{"a byte in front, a long block", data, append([]byte{1}, data...), 4096, 1},
		{"a byte less in front", data, data[1:], 16, 15},
		{"all zeros", zeros, zeros[:280<<10+7], 16, 16},
		{"zeros a byte longer than whole blocks", zeros[:700*100], zeros[:700*100+1], 700, 1},
		{"half of it new", append(bytes.Clone(data[:segment]), zeros...), data, 16, len(data) - segment + 16},
		{"blocks too long to be searched for", large, large, 5 << 20, len(large)},
	}
	for _, tt := range tests {
		for _, inPlace := range []bool{false, true} {
			r := rebuilds(t, session(t, "xxh128"), tt.basis, tt.source, tt.blockLen, inPlace)
			if !inPlace {
				require.LessOrEqual(t, r.literal, tt.literal, tt.rule)
			}
		}
	}
}

// Each segment starts its search anew, and loses at most one block by it.
func TestSearch_LosesAtMostABlockASegment(t *testing.T) {
	t.Parallel()
	const blockLen, segment = 64, 512 << 10
	// A period prime to the block length: every window is a block of the
	// basis, so that each segment takes another alignment than the one before.
	period := random(3, 61)
	basis := bytes.Repeat(period, blockLen)
	source := append([]byte("x"), bytes.Repeat(period, 35_000)...)
	r := rebuilds(t, session(t, "xxh3"), basis, source, blockLen, false)
	require.LessOrEqual(t, r.literal, (len(source)/segment+1)*blockLen)
}

// The short last block of a basis stands for the end of a source only; other
// programs look for it nowhere else.
func TestSearch_TellsTheShortBlockOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	const segment = 128 << 10
	basis, source := random(15, 1605), random(16, 300<<10)
	copy(source[segment+16-5:], basis[1600:]) // where what is read with a segment ends
	copy(source[segment-5:], basis[1600:])
	r := rebuilds(t, session(t, "xxh128"), basis, source, 16, false)
	require.Empty(t, r.blocks)
	copy(source[len(source)-5:], basis[1600:])
	r = rebuilds(t, session(t, "xxh128"), basis, source, 16, false)
	require.Equal(t, []int32{100}, r.blocks)
}

// A run of equal blocks is told as the blocks that follow one another, which a
// compressed stream tells in three bytes.
func TestSearch_PrefersTheBlockAfterTheLast(t *testing.T) {
	t.Parallel()
	basis := append(random(4, 100*700), make([]byte, 1000*700)...)
	basis = append(basis, random(5, 100*700)...)
	r := rebuilds(t, session(t, "xxh128"), basis, append([]byte("new"), basis...), 700, false)
	require.Len(t, r.blocks, 1200)
	for i, block := range r.blocks {
		require.Equal(t, int32(i), block)
	}
}

// A changed block costs its own length in literals, and its neighbours nothing.
func TestSearch_TellsScatteredChangesAlone(t *testing.T) {
	t.Parallel()
	basis := random(6, 256<<10)
	source := bytes.Clone(basis)
	changed := 0
	for at := 0; at < len(source); at += 100 * 16 {
		copy(source[at+4:], "changed")
		changed++
	}
	r := rebuilds(t, session(t, "xxh128"), basis, source, 16, false)
	require.Equal(t, changed*16, r.literal)
}

// In place, blocks behind the place of writing are used only if the receiver
// did not overwrite them.
func TestSearch_InPlaceUsesNoOverwrittenBlock(t *testing.T) {
	t.Parallel()
	s := session(t, "xxh128")
	data := random(7, 320<<10)
	moved := append(random(8, 16), data[:len(data)-16]...)
	r := rebuilds(t, s, data, moved, 16, true)
	require.Equal(t, len(moved), r.literal, "all blocks moved up are overwritten before they are needed")

	r = rebuilds(t, s, moved, data, 16, true)
	require.Equal(t, 16, r.literal, "blocks moved down are still there")

	again := append(bytes.Clone(data), data[:160<<10]...)
	r = rebuilds(t, s, data, again, 16, true)
	require.Zero(t, r.literal, "blocks that stayed at their place can be used again")

	swapped := append(bytes.Clone(data[160<<10:]), data[:160<<10]...)
	r = rebuilds(t, s, data, swapped, 16, true)
	require.Equal(t, 160<<10, r.literal)

	equal := append(bytes.Repeat(data[:160], 20), data[160:3200]...)
	r = rebuilds(t, s, equal, append(random(8, 160), equal[:len(equal)-160]...), 160, true)
	require.Equal(t, 160+18*160, r.literal, "of equal blocks the last one is used, while it is there")
}

// Sums may be too short to tell two blocks apart. Then blocks of the right
// length are told, and the file sum, which is that of the source, finds it out.
func TestSearch_FileSumIsOfTheSourceAfterAFalseMatch(t *testing.T) {
	t.Parallel()
	for _, strongLen := range []int32{0, 1, 2} {
		s := session(t, "md5")
		basis := random(9, 500*700)
		for at := 10; at < len(basis); at += 700 {
			copy(basis[at:], "bbb")
		}
		source := bytes.Clone(basis)
		for at := 10; at < len(source); at += 700 {
			copy(source[at:], "c`c") // the weak sum does not see this
		}
		sums := compute(t, s, basis, 700, strongLen)
		r := search(t, s, sums, basis, source, false)
		require.Len(t, r.result(), len(source))
		if strongLen == 0 {
			require.True(t, bytes.Equal(basis, r.result()))
		}
	}
}

// However the sums of a peer look, the blocks told are in the basis and cover
// the source, and the work is bounded.
func TestSearch_BoundsItsWorkForHostileSums(t *testing.T) {
	t.Parallel()
	s := session(t, "md5")
	const count, blockLen = 50_000, 131072
	sums := &sum.Sums{Head: sum.Head{Count: count, BlockLen: blockLen, StrongLen: 16}, Weak: make([]uint32, count), Strong: random(10, count*16)}
	source := make([]byte, 1<<20) // each window has the weak sum 0, as the blocks claim
	for i := range sums.Weak[:20] {
		sums.Weak[i] = 1 // but not those that would be here, so that the search rolls
	}
	r := search(t, s, sums, nil, source, false)
	require.Equal(t, len(source), r.literal)
}

// A segment whose sums meet by chance too often is still compared at its place.
func TestSearch_FindsUnmovedDataAmongFalseCandidates(t *testing.T) {
	t.Parallel()
	s := session(t, "xxh128")
	basis := make([]byte, 768<<10)
	copy(basis[96*4096:], random(11, 32*4096))
	sums := compute(t, s, basis, 4096, 16)
	for i := range sums.Weak {
		switch {
		case i < 96:
			sums.Weak[i] = 0xffff
		case i >= 128:
			sums.Strong[16*i] ^= 0xff
		}
	}
	r := search(t, s, sums, basis, basis, false)
	require.True(t, bytes.Equal(basis, r.result()))
	require.Len(t, r.blocks, 32)
}

func TestSearch_ReportsASourceThatEndsEarly(t *testing.T) {
	t.Parallel()
	s := session(t, "xxh128")
	data := random(12, 400<<10)
	sums := compute(t, s, data, 16, 16)
	for _, there := range []int{0, 1, 5000, 128 << 10, 128<<10 + 16, 128<<10 + 17, 380 << 10} {
		want := s.NewFile()
		want.Write(data[:there])
		for _, claimed := range []int{there + 1, len(data)} {
			r := newReceiver(sums.Head, data, false)
			fileSum, read, err := match.Search(t.Context(), bytes.NewReader(data[:there]), int64(claimed), sums, s, false, 2, r)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, int64(there), read)
			require.Equal(t, want.Sum(nil), fileSum)
			require.True(t, bytes.Equal(data[:there], r.result()))
		}
	}
	bad := errors.New("bad sector")
	r := newReceiver(sums.Head, data, false)
	_, read, err := match.Search(t.Context(), io.MultiReader(bytes.NewReader(data[:190<<10]), iotest.ErrReader(bad)), int64(len(data)), sums, s, false, 2, r)
	require.ErrorIs(t, err, bad)
	require.Equal(t, int64(190<<10), read)
	require.True(t, bytes.Equal(data[:190<<10], r.result()))
}

func TestSearch_ReadsNoMoreThanItsSize(t *testing.T) {
	t.Parallel()
	s := session(t, "xxh128")
	data := random(13, 2<<20)
	for _, size := range []int{0, 1, 5000, 512 << 10, 512<<10 + 1, 1<<20 + 1} {
		src := bytes.NewReader(data)
		r := newReceiver(sum.Head{}, nil, false)
		_, read, err := match.Search(t.Context(), src, int64(size), compute(t, s, nil, 4096, 16), s, false, 2, r)
		require.NoError(t, err)
		require.Equal(t, int64(size), read)
		require.Equal(t, len(data)-size, src.Len())
	}
	_, read, err := match.Search(t.Context(), bytes.NewReader(data), -1, nil, s, false, 0, newReceiver(sum.Head{}, nil, false))
	require.NoError(t, err)
	require.Zero(t, read)
}

// cancelling cancels when the first data comes.
type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Literal([]byte) { c.cancel() }
func (c cancelling) Block(int32)    { c.cancel() }

// endless counts what is read of it.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) { e.read += int64(len(p)); return len(p), nil }

func TestSearch_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := session(t, "xxh128")
	ctx, cancel := context.WithCancel(t.Context())
	src := &endless{}
	fileSum, _, err := match.Search(ctx, src, 1<<50, nil, s, false, 2, cancelling{cancel})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, fileSum)
	require.Less(t, src.read, int64(64<<20))

	src = &endless{}
	_, _, err = match.Search(ctx, src, 1<<50, nil, s, false, 2, cancelling{cancel})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, src.read)
}

func TestSearch_RefusesSumsThatDoNotFitTheirHead(t *testing.T) {
	t.Parallel()
	s := session(t, "xxh3")
	good := compute(t, s, random(14, 5000), 700, 8)
	for rule, spoil := range map[string]func(*sum.Sums){
		"a weak sum less":      func(s *sum.Sums) { s.Weak = s.Weak[1:] },
		"a strong byte less":   func(s *sum.Sums) { s.Strong = s.Strong[1:] },
		"a longer strong sum":  func(s *sum.Sums) { s.Head.StrongLen = 9; s.Strong = make([]byte, 9*len(s.Weak)) },
		"no block length":      func(s *sum.Sums) { s.Head.BlockLen = 0 },
		"a negative count":     func(s *sum.Sums) { s.Head.Count = -1 },
		"a longer last block":  func(s *sum.Sums) { s.Head.Rem = 701 },
		"a negative remainder": func(s *sum.Sums) { s.Head.Rem = -1 },
	} {
		bad := *good
		spoil(&bad)
		_, _, err := match.Search(t.Context(), bytes.NewReader(nil), 0, &bad, s, false, 1, newReceiver(sum.Head{}, nil, false))
		require.Error(t, err, rule)
	}
}

func FuzzSearch_TellsTheSource(f *testing.F) {
	f.Add([]byte("the basis, the basis"), []byte("of the basis"), uint16(3), true, uint16(0))
	f.Add(make([]byte, 1000), make([]byte, 999), uint16(7), false, uint16(100))
	f.Fuzz(func(t *testing.T, basis, source []byte, blockLen uint16, inPlace bool, times uint16) {
		if len(source) > 0 {
			source = bytes.Repeat(source, 1+int(times)%(1+(200<<10)/len(source)))
		}
		rebuilds(t, session(t, "xxh128"), basis, source, int32(blockLen)+1, inPlace)
	})
}
