package transfer_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/obskeep/obskeep/transfer"
	"github.com/stretchr/testify/require"
)

func randomBytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	rand.NewChaCha8(key).Read(p)
	return p
}

func mustSign(t testing.TB, basis []byte, blockSize int) *transfer.Signature {
	t.Helper()
	sig, err := transfer.Sign(bytes.NewReader(basis), blockSize)
	require.NoError(t, err)
	return sig
}

// collect returns the ops of a delta, with copies of their data.
func collect(t testing.TB, sig *transfer.Signature, source []byte) []transfer.Op {
	t.Helper()
	var ops []transfer.Op
	for op, err := range transfer.Delta(sig, bytes.NewReader(source)) {
		require.NoError(t, err)
		op.Data = bytes.Clone(op.Data)
		ops = append(ops, op)
	}
	return ops
}

// sequence is a delta of the given ops.
func sequence(ops []transfer.Op) iter.Seq2[transfer.Op, error] {
	return func(yield func(transfer.Op, error) bool) {
		for op := range slices.Values(ops) {
			if !yield(op, nil) {
				return
			}
		}
	}
}

func patched(t testing.TB, basis []byte, ops []transfer.Op) []byte {
	t.Helper()
	var got bytes.Buffer
	require.NoError(t, transfer.Patch(&got, bytes.NewReader(basis), sequence(ops)))
	return got.Bytes()
}

func literal(ops []transfer.Op) int {
	n := 0
	for _, op := range ops {
		n += len(op.Data)
	}
	return n
}

func TestDelta_OfAnEqualFileIsOneMatch(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 63, 64, 65, 6400, 6401, 1 << 20} {
		basis := randomBytes(1, size)
		ops := collect(t, mustSign(t, basis, 64), basis)
		if diff := cmp.Diff([]transfer.Op{{Len: int64(size)}}, ops); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", size, diff)
		}
	}
}

func TestDelta_OfAnEmptyFileIsNothing(t *testing.T) {
	t.Parallel()
	require.Empty(t, collect(t, mustSign(t, randomBytes(1, 1000), 64), nil))
}

// Without a basis all of the source is literal data.
func TestDelta_WithoutABasisIsTheSource(t *testing.T) {
	t.Parallel()
	source := randomBytes(1, 300_000)
	for name, sig := range map[string]*transfer.Signature{
		"nil": nil, "zero": {}, "signed": mustSign(t, nil, 2048),
	} {
		ops := collect(t, sig, source)
		require.Equal(t, len(source), literal(ops), name)
		require.Equal(t, source, patched(t, nil, ops), name)
	}
}

func TestDelta_AnInsertionAtTheStartCostsAtMostTwoBlocks(t *testing.T) {
	t.Parallel()
	const block = 2048
	basis := randomBytes(1, 100*block)
	sig := mustSign(t, basis, block)
	for _, n := range []int{1, 2, 100, block - 1, block} {
		source := slices.Concat(randomBytes(2, n), basis)
		ops := collect(t, sig, source)
		require.LessOrEqual(t, literal(ops), 2*block, "%d bytes inserted", n)
		require.Equal(t, source, patched(t, basis, ops))
	}
}

func TestDelta_FindsMovedDataAtAnyOffset(t *testing.T) {
	t.Parallel()
	const block = 64
	basis := randomBytes(1, 100*block)
	sig := mustSign(t, basis, block)
	for off := range 3 * block {
		source := slices.Concat(randomBytes(2, off), basis[50*block:], basis[:50*block])
		ops := collect(t, sig, source)
		require.Equal(t, off, literal(ops))
		require.Equal(t, source, patched(t, basis, ops))
	}
}

func TestDelta_FindsTheLastShortBlock(t *testing.T) {
	t.Parallel()
	basis := randomBytes(1, 10*64+17)
	sig := mustSign(t, basis, 64)
	insert := randomBytes(2, 1000)
	for _, tc := range []struct {
		rule   string
		source []byte
		want   int // literal bytes
	}{
		{"alone", basis[640:], 0},
		{"at the end, after other data", slices.Concat(insert, basis[640:]), 1000},
		{"where it continues a match, before much data", slices.Concat(basis, insert), 1000},
		{"where it continues a match, before little data", slices.Concat(basis, insert[:5]), 5},
		{"where it continues a match, and again at the end", slices.Concat(basis, basis[640:]), 0},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			ops := collect(t, sig, tc.source)
			require.Equal(t, tc.source, patched(t, basis, ops))
			require.Equal(t, tc.want, literal(ops))
		})
	}
}

// A page written in the middle of an image of equal blocks leaves one match
// before it and one after it, both at their old places.
func TestDelta_PrefersTheBlockThatContinuesTheLastMatch(t *testing.T) {
	t.Parallel()
	const block = 4096
	basis := make([]byte, 1000*block)
	copy(basis, "boot")
	source := slices.Clone(basis)
	copy(source[500*block:], randomBytes(1, block))
	ops := collect(t, mustSign(t, basis, block), source)
	want := []transfer.Op{
		{Off: 0, Len: 500 * block},
		{Data: source[500*block:][:block]},
		{Off: 501 * block, Len: 499 * block},
	}
	if diff := cmp.Diff(want, ops); diff != "" {
		t.Errorf("ops (-want +got):\n%s", diff)
	}
}

// Every literal is at most MaxLiteral bytes, and no two matches adjoin.
func TestDelta_YieldsFewAndBoundedOps(t *testing.T) {
	t.Parallel()
	for _, block := range []int{64, 4096, 300_000} {
		basis := randomBytes(1, 900_000)
		source := slices.Concat(randomBytes(2, 200_000), basis, randomBytes(3, 200_000), basis[:700_000])
		ops := collect(t, mustSign(t, basis, block), source)
		require.Equal(t, source, patched(t, basis, ops))
		for i, op := range ops {
			require.LessOrEqual(t, len(op.Data), transfer.MaxLiteral)
			if i > 0 && op.Len > 0 && ops[i-1].Len > 0 {
				require.NotEqual(t, ops[i-1].Off+ops[i-1].Len, op.Off)
			}
		}
		require.Less(t, len(ops), 20)
	}
}

// A source of 16 MiB passes through a buffer of two blocks and 320 KiB.
func TestDelta_HoldsOneWindowOfTheSource(t *testing.T) {
	const block = 128 << 10
	sig := mustSign(t, randomBytes(1, 10*block), block)
	source := io.LimitReader(rand.NewChaCha8([32]byte{1}), 16<<20)
	allocated := bytesAllocated(func() {
		for _, err := range transfer.Delta(sig, source) {
			require.NoError(t, err)
		}
	})
	require.Less(t, allocated, uint64(2*block+320<<10+64<<10))
}

// The index of a signature takes at most 32 bytes a block.
func TestDelta_HoldsASmallIndexOfTheBasis(t *testing.T) {
	sig := mustSign(t, randomBytes(1, 64*50_000), 64)
	allocated := bytesAllocated(func() {
		for _, err := range transfer.Delta(sig, bytes.NewReader(nil)) {
			require.NoError(t, err)
		}
	})
	require.Less(t, allocated, uint64(32*50_000+400<<10))
}

func TestDelta_StaysLinearOnAMillionEqualBlocks(t *testing.T) {
	t.Parallel()
	zero := mustSign(t, make([]byte, 64), 64).Blocks
	sig := &transfer.Signature{Size: 64 << 20, BlockSize: 64, Blocks: slices.Repeat(zero, 1<<20)}
	source := make([]byte, 1+4<<20)
	source[0] = 'x'
	ops := collect(t, sig, source)
	want := []transfer.Op{{Data: []byte("x")}, {Len: 4 << 20}}
	if diff := cmp.Diff(want, ops); diff != "" {
		t.Errorf("ops (-want +got):\n%s", diff)
	}
}

// A basis made so that every offset of the source meets a weak checksum makes
// the search hash twice as much, not a block for each byte: that would be
// 4 TiB here.
func TestDelta_StaysLinearAgainstForgedWeakChecksums(t *testing.T) {
	t.Parallel()
	const block = 1 << 20
	forged := mustSign(t, randomBytes(1, 8*block), block)
	forged.Blocks[3].Weak = 0 // of a block of zeros
	source := make([]byte, 4*block)
	start := time.Now()
	require.Equal(t, len(source), literal(collect(t, forged, source)))
	require.Less(t, time.Since(start), time.Minute)
}

// Nor does it help to make weak checksums that all want one slot of the index.
func TestDelta_StaysLinearAgainstACrowdedIndex(t *testing.T) {
	t.Parallel()
	const base = 0x9e3779b97f4a7c15
	inverse := uint64(1) // modulo 2⁶⁴, by Newton's iteration
	for range 6 {
		inverse *= 2 - base*inverse
	}
	require.EqualValues(t, 1, inverse*base)
	sig := &transfer.Signature{BlockSize: 64, Size: 64 << 17, Blocks: make([]transfer.BlockSum, 1<<17)}
	for i := range sig.Blocks {
		y := uint64(i) * inverse // y·base >> 32 is 0 for all of them
		sig.Blocks[i].Weak = y ^ y>>32
	}
	start := time.Now()
	require.Equal(t, 1<<20, literal(collect(t, sig, randomBytes(2, 1<<20))))
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestDelta_ReportsASourceCutShort(t *testing.T) {
	t.Parallel()
	sig := mustSign(t, randomBytes(1, 10_000), 64)
	for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("cable pulled")} {
		r := io.MultiReader(bytes.NewReader(randomBytes(2, 1_000_000)), iotest.ErrReader(cause))
		var last error
		for op, err := range transfer.Delta(sig, r) {
			require.NoError(t, last, "a pair after the error")
			if last = err; err != nil {
				require.Zero(t, op)
			}
		}
		require.ErrorIs(t, last, cause)
	}
}

func TestDelta_StopsWhenTheCallerDoes(t *testing.T) {
	t.Parallel()
	basis := randomBytes(1, 1_000_000)
	sig := mustSign(t, basis, 2048)
	source := slices.Concat(randomBytes(2, 200_000), basis[500_000:], randomBytes(3, 10), basis)
	total := len(collect(t, sig, source))
	require.Greater(t, total, 5)
	for stop := range total {
		n := 0
		for _, err := range transfer.Delta(sig, bytes.NewReader(source)) {
			require.NoError(t, err)
			if n++; n > stop {
				break
			}
		}
		require.Equal(t, stop+1, n)
	}
}

func TestDelta_RefusesASignatureThatContradictsItself(t *testing.T) {
	t.Parallel()
	for _, tc := range contradictions {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			var last error
			for _, err := range transfer.Delta(&tc.sig, bytes.NewReader(nil)) {
				last = err
			}
			require.ErrorIs(t, last, transfer.ErrSignature)
		})
	}
}

func TestPatch_RefusesADeltaThatDoesNotFit(t *testing.T) {
	t.Parallel()
	basis := randomBytes(1, 1000)
	for _, tc := range []struct {
		rule string
		op   transfer.Op
	}{
		{"before the basis", transfer.Op{Off: -1, Len: 10}},
		{"a negative length", transfer.Op{Off: 10, Len: -1}},
		{"over the end", transfer.Op{Off: 990, Len: 11}},
		{"after the end", transfer.Op{Off: 1001, Len: 1}},
		{"at the end", transfer.Op{Off: 1000, Len: 1}},
		{"an end beyond all integers", transfer.Op{Off: math.MaxInt64, Len: math.MaxInt64}},
		{"a length beyond all memory", transfer.Op{Off: 0, Len: math.MaxInt64}},
		{"both literal and matched", transfer.Op{Data: []byte("x"), Off: 0, Len: 1}},
		{"literal with a negative length", transfer.Op{Data: []byte("x"), Len: -1}},
		{"nothing", transfer.Op{}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			err := transfer.Patch(io.Discard, bytes.NewReader(basis), sequence([]transfer.Op{tc.op}))
			require.ErrorIs(t, err, transfer.ErrDelta)
		})
	}
	require.Equal(t, basis[990:], patched(t, basis, []transfer.Op{{Off: 990, Len: 10}}))
}

func TestPatch_PassesOnErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("cable pulled")
	basis := randomBytes(1, 1_000_000)
	copyAll := transfer.Op{Len: 1_000_000}

	failing := func(yield func(transfer.Op, error) bool) { yield(transfer.Op{}, cause) }
	require.ErrorIs(t, transfer.Patch(io.Discard, bytes.NewReader(basis), failing), cause)

	for _, op := range []transfer.Op{copyAll, {Data: basis}} {
		err := transfer.Patch(&smallWriter{room: 300_000, err: cause}, bytes.NewReader(basis), sequence([]transfer.Op{op}))
		require.ErrorIs(t, err, cause)
		err = transfer.Patch(&smallWriter{room: 300_000}, bytes.NewReader(basis), sequence([]transfer.Op{op}))
		require.ErrorIs(t, err, io.ErrShortWrite)
	}

	err := transfer.Patch(io.Discard, badDisk{cause}, sequence([]transfer.Op{copyAll}))
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, transfer.ErrDelta)
}

type badDisk struct{ err error }

func (d badDisk) ReadAt([]byte, int64) (int, error) { return 0, d.err }

// After any insertions, deletions, moves and duplications, Patch restores the
// source, and the literal data are what was inserted and at most two blocks
// for each place where two pieces meet.
func TestDelta_RestoresTheSourceAfterRandomEdits(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		block := transfer.MinBlockSize + rng.IntN(200)
		basis := randomBytes(rng.Uint64(), rng.IntN(200*block))
		source := slices.Clone(basis)
		edits, inserted := rng.IntN(8), 0
		for range edits {
			from := rng.IntN(len(source) + 1)
			to := from + rng.IntN(min(len(source)-from, 20*block)+1)
			at := rng.IntN(len(source) + 1)
			piece := slices.Clone(source[from:to])
			switch rng.IntN(4) {
			case 0: // insert
				fresh := randomBytes(rng.Uint64(), rng.IntN(2*block))
				inserted += len(fresh)
				source = slices.Insert(source, at, fresh...)
			case 1: // delete
				source = slices.Delete(source, from, to)
			case 2: // move
				source = slices.Delete(source, from, to)
				source = slices.Insert(source, min(at, len(source)), piece...)
			case 3: // duplicate: up to all that was inserted is there twice
				inserted *= 2
				source = slices.Insert(source, at, piece...)
			}
		}
		ops := collect(t, mustSign(t, basis, block), source)
		require.True(t, bytes.Equal(source, patched(t, basis, ops)), "seed %d", seed)
		seams := 3*edits + 1
		require.LessOrEqual(t, literal(ops), inserted+2*block*(1<<edits)*seams, "seed %d", seed)
	}
}

// Real rsync with the same block size sends as many literal bytes or more.
func TestDelta_SendsNoMoreThanRsync(t *testing.T) {
	t.Parallel()
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		need(t, "rsync is not installed")
	}
	rng := rand.New(rand.NewPCG(1, 0))
	const block = 2048
	for i := range 5 {
		basis := randomBytes(rng.Uint64(), 1_000_000+rng.IntN(block))
		source := slices.Clone(basis)
		for range 20 {
			at := rng.IntN(len(source))
			source = slices.Insert(source, at, randomBytes(rng.Uint64(), rng.IntN(100))...)
			at = rng.IntN(len(source) - 5000)
			source = slices.Delete(source, at, at+rng.IntN(5000))
		}
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "source"), source, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "basis"), basis, 0o644))
		cmd := exec.CommandContext(t.Context(), rsync, "--no-whole-file", "--ignore-times", "--stats",
			"--block-size=2048", filepath.Join(dir, "source"), filepath.Join(dir, "basis"))
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		m := regexp.MustCompile(`Literal data: ([0-9,]+) bytes`).FindSubmatch(out)
		require.NotNil(t, m, "%s", out)
		theirs, err := strconv.Atoi(strings.ReplaceAll(string(m[1]), ",", ""))
		require.NoError(t, err)

		ours := literal(collect(t, mustSign(t, basis, block), source))
		t.Logf("file %d: %d literal bytes, rsync %d", i, ours, theirs)
		require.LessOrEqual(t, ours, theirs)
	}
}

// need ends a test for want of something that a normal machine has.
func need(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func FuzzDelta_PatchRestoresTheSource(f *testing.F) {
	f.Add([]byte(""), []byte(""), uint16(0))
	f.Add(randomBytes(1, 300), randomBytes(1, 250), uint16(0))
	f.Add(make([]byte, 500), make([]byte, 501), uint16(10))
	f.Add(randomBytes(1, 300), slices.Concat(randomBytes(2, 50), randomBytes(1, 300)), uint16(3))
	f.Fuzz(func(t *testing.T, basis, source []byte, block uint16) {
		sig := mustSign(t, basis, transfer.MinBlockSize+int(block)%512)
		ops := collect(t, sig, source)
		if got := patched(t, basis, ops); !bytes.Equal(got, source) {
			t.Fatalf("patched %x\nwant %x", got, source)
		}
		// The fuzzer seldom moves whole blocks: the basis with the source in it
		// has some at every offset.
		both := slices.Concat(basis[len(basis)/2:], source, basis)
		if got := patched(t, basis, collect(t, sig, both)); !bytes.Equal(got, both) {
			t.Fatalf("patched %x\nwant %x", got, both)
		}
	})
}
