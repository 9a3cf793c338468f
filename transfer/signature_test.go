package transfer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/obskeep/obskeep/transfer"
	"github.com/stretchr/testify/require"
)

var updateSignatures = flag.Bool("update-signatures", false, "write the golden files of signatures anew")

func TestBlockSize(t *testing.T) {
	t.Parallel()
	const kib, mib, gib, tib = 1 << 10, 1 << 20, 1 << 30, 1 << 40
	for _, tc := range []struct {
		rule string
		size int64
		want int
	}{
		{"an unknown size takes the least", -1, 2 * kib},
		{"an empty file takes the least", 0, 2 * kib},
		{"2 KiB up to 4 MiB", 4 * mib, 2 * kib},
		{"the next power of two above", 4*mib + 1, 4 * kib},
		{"the root of 1 GiB", gib, 32 * kib},
		{"128 KiB from 16 GiB", 16 * gib, 128 * kib},
		{"still 128 KiB at 128 GiB", 128 * gib, 128 * kib},
		{"a million blocks from there", 128*gib + 1, 256 * kib},
		{"1 MiB for 1 TiB", tib, mib},
		{"never more than MaxBlockSize", math.MaxInt64, transfer.MaxBlockSize},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, transfer.BlockSize(tc.size))
		})
	}
}

func TestSign_RefusesABlockSizeOutOfBounds(t *testing.T) {
	t.Parallel()
	for _, n := range []int{math.MinInt, -1, 0, transfer.MinBlockSize - 1, transfer.MaxBlockSize + 1, math.MaxInt} {
		_, err := transfer.Sign(bytes.NewReader(nil), n)
		require.Error(t, err, n)
	}
	for _, n := range []int{transfer.MinBlockSize, 1000, transfer.MaxBlockSize} {
		_, err := transfer.Sign(bytes.NewReader(nil), n)
		require.NoError(t, err, n)
	}
}

// A signature depends on the bytes of the basis, not on how they arrive.
func TestSign_IsTheSameForEveryReader(t *testing.T) {
	t.Parallel()
	basis := randomBytes(1, 1000)
	want := mustSign(t, basis, 64)
	require.Len(t, want.Blocks, 16)
	require.EqualValues(t, 1000, want.Size)
	for _, r := range []io.Reader{
		iotest.OneByteReader(bytes.NewReader(basis)),
		iotest.HalfReader(bytes.NewReader(basis)),
		iotest.DataErrReader(bytes.NewReader(basis)),
	} {
		got, err := transfer.Sign(r, 64)
		require.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("signature (-want +got):\n%s", diff)
		}
	}
}

// A basis whose reader fails has no signature, also when the failure is an
// unexpected end, as of an HTTP body that was cut.
func TestSign_ReportsABasisCutShort(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{io.ErrUnexpectedEOF, errors.New("cable pulled")} {
		r := io.MultiReader(bytes.NewReader(randomBytes(1, 1000)), iotest.ErrReader(cause))
		_, err := transfer.Sign(r, 64)
		require.ErrorIs(t, err, cause)
	}
}

func encode(t testing.TB, sig *transfer.Signature) []byte {
	t.Helper()
	var file bytes.Buffer
	n, err := sig.WriteTo(&file)
	require.NoError(t, err)
	require.EqualValues(t, file.Len(), n)
	return file.Bytes()
}

func TestReadSignature_ReturnsWhatWriteToWrote(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 63, 64, 65, 128, 64 * 1024, 64*1024 + 1, 64 * 5000} {
		want := mustSign(t, randomBytes(uint64(size), size), 64)
		got, err := transfer.ReadSignature(iotest.HalfReader(bytes.NewReader(encode(t, want))))
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(want, got), "%d bytes", size) // cmp takes seconds for 5000 blocks
	}
	got, err := transfer.ReadSignature(bytes.NewReader(encode(t, &transfer.Signature{})))
	require.NoError(t, err)
	require.Equal(t, &transfer.Signature{}, got)
}

// The file form is stable: the signature of "obs\n" 50 times in blocks of 64
// bytes is, byte for byte, the file in testdata.
func TestSignature_KeepsItsFileForm(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "short-last-block.sig")
	want := mustSign(t, bytes.Repeat([]byte("obs\n"), 50), 64)
	if *updateSignatures {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, encode(t, want), 0o644))
	}
	file, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, file, encode(t, want))
	got, err := transfer.ReadSignature(bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// The header and the checksum stand where the table in the documentation says.
func TestSignature_HasTheDocumentedLayout(t *testing.T) {
	t.Parallel()
	sig := mustSign(t, randomBytes(1, 100), 64)
	file := encode(t, sig)
	require.Len(t, file, 20+40*2+32)
	require.Equal(t, "obskSIG\x01", string(file[:8]))
	require.EqualValues(t, 100, binary.BigEndian.Uint64(file[8:]))
	require.EqualValues(t, 64, binary.BigEndian.Uint32(file[16:]))
	require.Equal(t, sig.Blocks[1].Weak, binary.BigEndian.Uint64(file[60:]))
	require.Equal(t, sig.Blocks[1].Strong[:], file[68:100])
	sum := sha256.Sum256(file[:100])
	require.Equal(t, sum[:], file[100:])
}

func TestReadSignature_RefusesEveryFlippedBit(t *testing.T) {
	t.Parallel()
	file := encode(t, mustSign(t, randomBytes(1, 200), 64))
	for bit := range 8 * len(file) {
		file[bit/8] ^= 1 << (bit % 8)
		_, err := transfer.ReadSignature(bytes.NewReader(file))
		require.ErrorIs(t, err, transfer.ErrSignature, "bit %d", bit)
		file[bit/8] ^= 1 << (bit % 8)
	}
}

func TestReadSignature_RefusesAFileOfAnotherLength(t *testing.T) {
	t.Parallel()
	file := encode(t, mustSign(t, randomBytes(1, 200), 64))
	for n := range file {
		_, err := transfer.ReadSignature(bytes.NewReader(file[:n]))
		require.ErrorIs(t, err, transfer.ErrSignature, "cut to %d bytes", n)
	}
	_, err := transfer.ReadSignature(bytes.NewReader(append(file, 0)))
	require.ErrorIs(t, err, transfer.ErrSignature)
}

func TestReadSignature_RefusesALaterVersion(t *testing.T) {
	t.Parallel()
	file := encode(t, mustSign(t, randomBytes(1, 200), 64))
	file[7] = 2
	sum := sha256.Sum256(file[:len(file)-32])
	copy(file[len(file)-32:], sum[:])
	_, err := transfer.ReadSignature(bytes.NewReader(file))
	require.ErrorIs(t, err, transfer.ErrSignature)
}

// An error of the reader is passed on; it says nothing about the signature.
func TestReadSignature_PassesOnAnErrorOfTheReader(t *testing.T) {
	t.Parallel()
	file := encode(t, mustSign(t, randomBytes(1, 200), 64))
	for n := range len(file) + 1 {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(io.ErrUnexpectedEOF))
		_, err := transfer.ReadSignature(r)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "after %d bytes", n)
		require.NotErrorIs(t, err, transfer.ErrSignature)
	}
}

// A header that claims a basis of exbibytes costs no more memory than the few
// bytes that follow it.
func TestReadSignature_AllocatesWhatItReadsNotWhatTheHeaderClaims(t *testing.T) {
	head := append([]byte("obskSIG\x01"), make([]byte, 12)...)
	binary.BigEndian.PutUint64(head[8:], math.MaxInt64)
	binary.BigEndian.PutUint32(head[16:], transfer.MinBlockSize)
	file := append(head, make([]byte, 100<<10)...)
	allocated := bytesAllocated(func() {
		_, err := transfer.ReadSignature(bytes.NewReader(file))
		require.ErrorIs(t, err, transfer.ErrSignature)
	})
	require.Less(t, allocated, uint64(1<<20))
}

// bytesAllocated returns how many bytes the heap gave out while f ran. A test
// that calls it is not parallel.
func bytesAllocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestSignature_WriteToReportsTheFirstError(t *testing.T) {
	t.Parallel()
	sig := mustSign(t, randomBytes(1, 64*5000), 64)
	full := errors.New("disk full")
	for _, room := range []int{0, 1, 100 << 10} {
		w := &smallWriter{room: room, err: full}
		n, err := sig.WriteTo(w)
		require.ErrorIs(t, err, full)
		require.EqualValues(t, room, n)
	}
}

// smallWriter takes room bytes and fails from then on.
type smallWriter struct {
	room int
	err  error
}

func (w *smallWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	if n < len(p) {
		return n, w.err
	}
	return n, nil
}

var contradictions = []struct {
	rule string
	sig  transfer.Signature
}{
	{"a block is missing", transfer.Signature{Size: 65, BlockSize: 64, Blocks: make([]transfer.BlockSum, 1)}},
	{"a block too many", transfer.Signature{Size: 64, BlockSize: 64, Blocks: make([]transfer.BlockSum, 2)}},
	{"a negative size", transfer.Signature{Size: -64, BlockSize: 64}},
	{"no block size", transfer.Signature{Size: 64, Blocks: make([]transfer.BlockSum, 1)}},
	{"a negative block size", transfer.Signature{Size: 64, BlockSize: -64, Blocks: make([]transfer.BlockSum, 1)}},
	{"a block size too large", transfer.Signature{Size: 1, BlockSize: transfer.MaxBlockSize + 1, Blocks: make([]transfer.BlockSum, 1)}},
	{"a size near the largest", transfer.Signature{Size: math.MaxInt64, BlockSize: 64, Blocks: make([]transfer.BlockSum, 1)}},
}

func TestSignature_RefusesToWriteAContradiction(t *testing.T) {
	t.Parallel()
	for _, tc := range contradictions {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			var file bytes.Buffer
			_, err := tc.sig.WriteTo(&file)
			require.ErrorIs(t, err, transfer.ErrSignature)
			require.Zero(t, file.Len())
		})
	}
}

// Whatever ReadSignature accepts is written back as the same bytes.
func FuzzReadSignature(f *testing.F) {
	for _, size := range []int{0, 1, 64, 200} {
		f.Add(encode(f, mustSign(f, randomBytes(1, size), 64)))
	}
	f.Add(encode(f, &transfer.Signature{}))
	f.Add([]byte("obskSIG\x01"))
	f.Fuzz(func(t *testing.T, file []byte) {
		// The last bytes are made the right checksum, so that the fuzzer gets past it.
		if n := len(file) - sha256.Size; n >= 0 {
			sum := sha256.Sum256(file[:n])
			copy(file[n:], sum[:])
		}
		sig, err := transfer.ReadSignature(bytes.NewReader(file))
		if err != nil {
			if !errors.Is(err, transfer.ErrSignature) {
				t.Fatalf("not an ErrSignature: %v", err)
			}
			return
		}
		if got := encode(t, sig); !bytes.Equal(got, file) {
			t.Fatalf("read %x\nwrote %x", file, got)
		}
	})
}
