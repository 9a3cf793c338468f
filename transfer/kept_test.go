package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

const imageSize = 17<<20 + 1000

// scatter changes n blocks of 4 KiB, and returns how many bytes those are.
func scatter(data []byte, n int, seed uint64) (changed int64) {
	r := rand.New(rand.NewPCG(seed, 0))
	for _, i := range r.Perm(len(data) / 4096)[:n] {
		data[i*4096+r.IntN(4096)] ^= 0xff
		changed += 4096
	}
	return changed
}

// image is a large file on its way to a machine without rsync.
type image struct {
	*testing.T
	here, there string
	proxy       *sshtest.Proxy
	src         *watched
	dst         transfer.Store
	options     transfer.Options
	data        []byte
	pushes      int
}

// watched is a directory of which is counted what is read. Its files have been left
// alone for an hour if they are not young.
type watched struct {
	*dirstore.Store
	read  atomic.Int64 // bytes
	young bool
}

func (w *watched) Identify(ctx context.Context, name string) (transfer.Identity, error) {
	id, err := w.Store.Identify(ctx, name)
	if !w.young {
		id.Changed = id.Changed.Add(-time.Hour)
	}
	return id, err
}

func (w *watched) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	w.read.Add(n)
	return w.Store.HashPrefix(ctx, name, n)
}

func (w *watched) Open(ctx context.Context, name string, off int64) (io.ReadCloser, error) {
	r, err := w.Store.Open(ctx, name, off)
	if err != nil {
		return nil, err
	}
	return &watchedReader{r, r.(io.ReaderAt), w}, nil
}

type watchedReader struct {
	io.ReadCloser
	at io.ReaderAt
	w  *watched
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.w.read.Add(int64(n))
	return n, err
}

func (r *watchedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.at.ReadAt(p, off)
	r.w.read.Add(int64(n))
	return n, err
}

func newImage(t *testing.T, line string) *image {
	t.Helper()
	sshd := sshtest.Start(t, line)
	i := &image{T: t, here: t.TempDir(), there: t.TempDir(), proxy: sshtest.NewProxy(t, sshd.Addr)}
	i.src = &watched{Store: local(t, i.here)}
	i.dst = remote(t, sshd.Via(t, i.proxy), i.there)
	i.options = transfer.Options{Signatures: filepath.Join(t.TempDir(), "signatures"), Pause: time.Millisecond}
	i.data = randomBytes(1, imageSize)
	i.push()
	return i
}

// push mirrors the image as it is now, and returns what that took.
func (i *image) push() (res *transfer.Result, wire int64) {
	i.Helper()
	i.pushes++
	i.write()
	return i.mirror()
}

// write makes the image what it is to be, with the time of the last push.
func (i *image) write() {
	i.Helper()
	write(i.T, i.here, "image", i.data)
	stamp(i.T, i.here, "image", noon.Add(time.Duration(i.pushes)*time.Hour))
}

// mirror is push without touching the image.
func (i *image) mirror() (res *transfer.Result, wire int64) {
	i.Helper()
	i.src.read.Store(0)
	received, sent := i.proxy.Bytes()
	res, err := transfer.Mirror(i.Context(), i.dst, i.src, &i.options)
	require.NoError(i, err)
	r, s := i.proxy.Bytes()
	got, err := os.ReadFile(filepath.Join(i.there, "image"))
	require.NoError(i, err)
	require.True(i, bytes.Equal(i.data, got), "the image is not what was sent")
	require.Empty(i, hidden(tree(i.T, i.there)))
	return res, r + s - received - sent
}

// rot changes n blocks of the far file, but neither its size nor its time.
func (i *image) rot(n int) {
	i.Helper()
	was := tree(i.T, i.there)["image"].Time
	far, err := os.ReadFile(filepath.Join(i.there, "image"))
	require.NoError(i, err)
	scatter(far[4096:len(far)-8192], n, 7)
	write(i.T, i.there, "image", far)
	stamp(i.T, i.there, "image", was)
}

// changed says what has changed when the next push asks.
func (i *image) changed(parts ...transfer.Range) {
	i.options.Changed = func(string, transfer.Info) (iter.Seq[transfer.Range], bool) {
		i.options.Changed = nil
		return slices.Values(parts), true
	}
}

func (i *image) signature() string {
	i.Helper()
	return only(i.T, i.options.Signatures, "*")
}

// Of a large file that changed in place, only the blocks go over the line that
// differ, to a far side that has no rsync, and to one that has SFTP alone.
func TestMirror_SendsTheBlocksThatDifferFromTheSignature(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, line string
		proved     bool // where it lies
	}{
		{"no rsync", sshtest.Instead(t, "rsync", "exit 127"), true},
		{"SFTP alone", "ForceCommand internal-sftp", false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			image := newImage(t, row.line)
			for n := range 2 { // the second time with the signature of a patch
				changed := scatter(image.data, 100, uint64(n))
				res, wire := image.push()
				require.Equal(t, changed, res.Literal)
				require.Equal(t, imageSize-changed, res.Matched)
				if row.proved {
					require.Less(t, wire, changed*11/10+8*4096) // of the spot check
				} else {
					require.Less(t, wire, imageSize*21/20+changed) // it is read back
				}
			}
		})
	}
}

// Whatever has become of the signature, of the file at either end or of its
// length, what arrives is what was sent; see push.
func TestMirror_AStaleSignatureMakesNoWrongFile(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule    string
		spoil   func(i *image)
		literal func(changed int64) int64 // that is sent
	}{
		{"nothing", func(*image) {}, func(changed int64) int64 { return changed }},
		{"the far file is another of the same size and time", func(i *image) {
			was := tree(i.T, i.there)["image"].Time
			other := bytes.Clone(i.data)
			other[5] ^= 1
			write(i.T, i.there, "image", other)
			stamp(i.T, i.there, "image", was)
		}, func(int64) int64 { return imageSize }},
		{"the same, and nothing is to be verified", func(i *image) {
			was := tree(i.T, i.there)["image"].Time
			i.options.Verify = transfer.VerifyNone
			write(i.T, i.there, "image", make([]byte, imageSize))
			stamp(i.T, i.there, "image", was)
		}, func(int64) int64 { return imageSize }},
		{"the far file differs where the spot check does not look", func(i *image) { i.rot(1) },
			func(int64) int64 { return imageSize }},
		{"the same, and it is known what has changed", func(i *image) {
			i.rot(1)
			i.changed(transfer.Range{Len: imageSize})
		}, func(int64) int64 { return imageSize }},
		{"it is known what has changed", func(i *image) { i.changed(transfer.Range{Len: imageSize}) },
			func(changed int64) int64 { return changed }},
		{"the signature has another form", func(i *image) {
			b, err := os.ReadFile(i.signature())
			require.NoError(i, err)
			b[7]--
			require.NoError(i, os.WriteFile(i.signature(), b, 0o600))
		}, func(int64) int64 { return imageSize }},
		{"the far file is of another time", func(i *image) { stamp(i.T, i.there, "image", noon.Add(-time.Hour)) },
			func(int64) int64 { return imageSize }},
		{"the far file is gone", func(i *image) { require.NoError(i, os.Remove(filepath.Join(i.there, "image"))) },
			func(int64) int64 { return imageSize }},
		{"the signature is damaged", func(i *image) {
			b, err := os.ReadFile(i.signature())
			require.NoError(i, err)
			b[len(b)/2] ^= 1
			require.NoError(i, os.WriteFile(i.signature(), b, 0o600))
		}, func(int64) int64 { return imageSize }},
		{"the signature is empty", func(i *image) { require.NoError(i, os.Truncate(i.signature(), 0)) },
			func(int64) int64 { return imageSize }},
		{"more than half has changed", func(i *image) { copy(i.data, randomBytes(3, imageSize/2+8192)) },
			func(int64) int64 { return imageSize }},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
			changed := scatter(image.data, 10, 1)
			row.spoil(image)
			res, _ := image.push()
			require.Equal(t, row.literal(changed), res.Literal)
			require.Equal(t, res.Size, res.Literal+res.Matched)
			changed = scatter(image.data, 10, 2)
			res, _ = image.push()
			require.Equal(t, changed, res.Literal, "a good signature was not kept")
		})
	}
}

// A file that is shorter or longer than before is made of the blocks it has in
// common with it.
func TestMirror_PatchesAFileOfAnotherLength(t *testing.T) {
	t.Parallel()
	image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
	image.data = image.data[:16<<20]
	res, _ := image.push()
	require.Zero(t, res.Literal)
	image.data = append(image.data, randomBytes(2, 3<<20)...)
	image.data[1000] ^= 1
	res, _ = image.push()
	require.Equal(t, int64(3<<20+4096), res.Literal)
}

// A connection that is cut while a file is patched costs little twice.
func TestMirror_GoesOnInsideAPatch(t *testing.T) {
	t.Parallel()
	image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
	changed := scatter(image.data, 1500, 1)
	image.proxy.CutAt(changed/2, changed*3/4)
	res, wire := image.push()
	require.Zero(t, image.proxy.CutsLeft())
	require.Equal(t, res.Size, res.Literal+res.Matched+res.Resumed)
	require.Less(t, wire, changed*7/4)
}

// The image is not read where it is unchanged, and no signature is kept of what
// is small.
func TestMirror_KeepsSignaturesOfLargeFilesOnly(t *testing.T) {
	t.Parallel()
	src, dst, signatures := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "s")
	write(t, src, "small", randomBytes(1, 16<<20-1))
	o := &transfer.Options{Signatures: signatures}
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), o)
	require.NoError(t, err)
	require.NoDirExists(t, signatures)
	write(t, src, "large", randomBytes(1, 16<<20))
	_, err = transfer.Mirror(t.Context(), local(t, dst), local(t, src), o)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(only(t, signatures, "*"), ".sums"))
}

// What is not at hand is not opened once more for its signature.
func TestMirror_KeepsNoSignatureOfWhatIsFarAway(t *testing.T) {
	t.Parallel()
	for _, fetch := range []bool{false, true} {
		mem := new(storetest.Mem)
		mem.Put(transfer.Info{Name: "large", ModTime: noon}, randomBytes(1, 16<<20))
		opened := 0
		mem.Fault = func(op, _ string) error {
			if op == "open" {
				opened++
			}
			return nil
		}
		dst := new(storetest.Mem)
		var src transfer.Store = mem
		if fetch {
			dst.Put(transfer.Info{Name: "large", ModTime: later}, randomBytes(2, 16<<20))
			src = &fetcher{Mem: mem, send: func(_ int, w transfer.Want, data []byte) error { return deliver(w, data, nil) }}
		}
		signatures := filepath.Join(t.TempDir(), "s")
		_, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Signatures: signatures})
		require.NoError(t, err)
		require.True(t, bytes.Equal(mem.Data("large"), dst.Data("large")))
		require.NoDirExists(t, signatures)
		if fetch {
			require.Zero(t, opened)
		} else {
			require.Equal(t, 1, opened)
		}
	}
}

// Of a signature in which any bit is wrong, or that is shorter or longer,
// nothing is believed.
func TestKept_RefusesEveryFlippedBit(t *testing.T) {
	t.Parallel()
	good := transfer.KeptSums(3)
	again, ok := transfer.ReadKeptSums(good)
	require.True(t, ok)
	require.Equal(t, good, again)
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		_, ok := transfer.ReadKeptSums(bad)
		require.False(t, ok, "bit %d does not matter", i)
	}
	for n := range good {
		_, ok := transfer.ReadKeptSums(good[:n])
		require.False(t, ok, "the first %d bytes do", n)
	}
	_, ok = transfer.ReadKeptSums(append(good, 0))
	require.False(t, ok)
	other := bytes.Clone(good)
	other[7]--
	for _, n := range []int{92, len(other) - sha256.Size} {
		sum := sha256.Sum256(other[:n])
		copy(other[n:], sum[:])
	}
	_, ok = transfer.ReadKeptSums(other)
	require.False(t, ok, "it is of another form")
}

func FuzzKept_RoundTrips(f *testing.F) {
	f.Add(transfer.KeptSums(0))
	f.Add(transfer.KeptSums(2))
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, ok := transfer.ReadKeptSums(b); ok && !bytes.Equal(b, again) {
			t.Errorf("%x is read as %x", b, again)
		}
	})
}
