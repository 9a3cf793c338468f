package plain_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// What is stored reads as the source does, byte for byte, in all sizes and shapes.
func TestStore_ReadsAsTheSource(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	for i, size := range []int{0, 1, 512, 4096, 4097, mib, 3*mib + 512, 20*mib - 1} {
		for j, disk := range [][]byte{guest(uint64(size), size), make([]byte, size), bytes.Repeat([]byte{1}, size)} {
			image := at(taken.Add(time.Duration(10*i+j) * time.Minute))
			s := &memory{data: disk, all: j > 0} // in one piece, or in many
			got := store(t, target, image, vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: s}}})
			read, err := os.ReadFile(filepath.Join(dir, "web01", image.ID, "vda.img"))
			require.NoError(t, err)
			require.True(t, bytes.Equal(disk, read), "%d bytes", size)
			v, err := target.Verify(t.Context(), got)
			require.NoError(t, err)
			require.Equal(t, int64(size), v.Files[0].Size)
			if j != 0 {
				require.Equal(t, int64(size*(j/2)), v.Files[0].Allocated)
			}
		}
	}
	var want []vmimage.Image
	for _, i := range images(t, target) {
		want = append(want, i)
		require.NotZero(t, i.Verified)
	}
	require.Len(t, want, 24)
	require.True(t, slices.IsSortedFunc(want, func(a, b vmimage.Image) int { return a.Taken.Compare(b.Taken) }))
}

// sha256sum -c passes in the folder of an image.
func TestStore_SHA256SUMSPasses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	image := store(t, open(t, dir), first, content(guest(1, 5*mib), guest(2, mib+7)))
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = filepath.Join(dir, image.Machine, image.ID)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, 4, bytes.Count(out, []byte(": OK\n")), "%s", out)
}

// Holes are neither read nor written.
func TestStore_ReadsNoHoles(t *testing.T) {
	t.Parallel()
	target := open(t, t.TempDir())
	disk := make([]byte, 64*mib)
	copy(disk[17*mib:], guest(1, mib))
	var read int64
	s := &memory{data: disk, read: func(_, n int64) error { read += n; return nil }}
	image := store(t, target, first, vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: s}}})
	require.LessOrEqual(t, read, int64(2*mib), "bytes read")
	require.LessOrEqual(t, image.Files[0].Allocated, int64(mib))
}

// An image whose ID is there is not touched; one that a store has left half is replaced.
func TestStore_ReplacesNoImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	was := store(t, target, first, content(guest(1, mib)))
	_, err := target.Store(t.Context(), first, content(guest(2, mib)))
	require.ErrorIs(t, err, fs.ErrExist)
	require.Empty(t, cmp.Diff([]vmimage.Image{was}, images(t, target)))

	left := filepath.Join(dir, "web01", ".partial-"+next.ID)
	require.NoError(t, os.Mkdir(left, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(left, "vda.img"), []byte("old"), 0o600))
	verified(t, target, next, content(guest(2, mib)))
	require.Empty(t, cmp.Diff(slices.Concat([]string{"web01"}, stored("web01/"+first.ID), stored("web01/"+next.ID)), tree(t, dir)))
}

// A source that fails, or says what cannot be, and names that no file can have, leave
// nothing.
func TestStore_AFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	good := guest(1, 3*mib)
	disk := func(name string, s vmimage.Source) vmimage.Content {
		return vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: &memory{data: good}}, {Name: name, Source: s}}}
	}
	id := func(id string) vmimage.Image { i := first; i.ID = id; return i }
	for _, row := range []struct {
		rule    string
		image   vmimage.Image
		content vmimage.Content
		want    error
	}{
		{"the source cannot be read", first, disk("vdb", &memory{data: good, read: func(off, _ int64) error {
			if off > 2*mib {
				return broken
			}
			return nil
		}}), broken},
		{"the source ends early", first, disk("vdb", &wrong{memory{data: good}, []vmimage.Extent{{Off: 0, Len: 3 * mib}}, 2 * mib, nil}), io.ErrUnexpectedEOF},
		{"its extents fail", first, disk("vdb", &wrong{memory{data: good}, nil, 3 * mib, broken}), broken},
		{"its extents overlap", first, disk("vdb", &wrong{memory{data: good}, []vmimage.Extent{{Off: mib, Len: mib}, {Off: mib, Len: 1}}, 3 * mib, nil}), errors.ErrUnsupported},
		{"its extents lead out", first, disk("vdb", &wrong{memory{data: good}, []vmimage.Extent{{Off: mib, Len: 9 * mib}}, 3 * mib, nil}), errors.ErrUnsupported},
		{"a disk twice", first, disk("vda", &memory{data: good}), fs.ErrInvalid},
		{"a name that leads out", first, disk("../x", &memory{data: good}), fs.ErrInvalid},
		{"a hidden name", first, disk(".x", &memory{data: good}), fs.ErrInvalid},
		{"the name of the description", first, vmimage.Content{Files: []vmimage.Small{{Name: "image.json"}}}, fs.ErrInvalid},
		{"the name of the sums", first, vmimage.Content{Files: []vmimage.Small{{Name: "SHA256SUMS"}}}, fs.ErrInvalid},
		{"an ID that leads out", id("../2026-268T0200Z"), disk("vdb", &memory{data: good}), fs.ErrInvalid},
		{"an ID that is no time", id("2026-999T0200Z"), disk("vdb", &memory{data: good}), fs.ErrInvalid},
		{"no ID", id(""), disk("vdb", &memory{data: good}), fs.ErrInvalid},
	} {
		t.Run(row.rule, func(t *testing.T) {
			dir := t.TempDir()
			_, err := open(t, dir).Store(t.Context(), row.image, row.content)
			require.ErrorIs(t, err, row.want)
			require.Subset(t, []string{"web01"}, tree(t, dir))
		})
	}
}

// wrong is a disk that says what is not so.
type wrong struct {
	memory
	extents []vmimage.Extent
	size    int64 // up to which it can be read
	err     error
}

func (w *wrong) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(bytes.NewReader(w.data), 0, w.size).ReadAt(p, off)
}

func (w *wrong) Extents() iter.Seq2[vmimage.Extent, error] {
	return func(yield func(vmimage.Extent, error) bool) {
		for _, e := range w.extents {
			if !yield(e, nil) {
				return
			}
		}
		if w.err != nil {
			yield(vmimage.Extent{}, w.err)
		}
	}
}

// A context that ends stops a store, a verification and a restoration between blocks,
// also in a hole, and leaves nothing of them.
func TestStore_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		rule string
		disk []byte
	}{{"in data", bytes.Repeat([]byte{1}, 16*mib)}, {"in a hole", make([]byte, 96*mib)}} {
		t.Run(row.rule, func(t *testing.T) {
			var end context.CancelFunc
			target, err := plain.Open(dir, &plain.Options{Progress: func(p plain.Progress) {
				if end != nil && p.Done > p.Size/4 {
					end()
				}
				require.True(t, end == nil || p.Done <= p.Size/2, "it went on")
			}})
			require.NoError(t, err)
			defer target.Close()
			begin := func() context.Context {
				var ctx context.Context
				ctx, end = context.WithCancel(t.Context())
				return ctx
			}
			before := tree(t, dir)
			_, err = target.Store(begin(), first, content(row.disk))
			require.ErrorIs(t, err, context.Canceled)
			require.Subset(t, append(before, "web01"), tree(t, dir))
			end = nil
			image := verified(t, target, first, content(row.disk))
			got, err := target.Verify(begin(), image)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, image.Verified, got.Verified, "what is not read to its end is not wrong")
			to := t.TempDir()
			require.ErrorIs(t, target.Restore(begin(), image, to), context.Canceled)
			require.Empty(t, tree(t, to))
			end = nil
			require.NoError(t, target.Remove(t.Context(), image))
		})
	}
}

// Progress goes up to the size of all files and ends there.
func TestStore_TellsOfItsProgress(t *testing.T) {
	t.Parallel()
	var last plain.Progress
	calls := 0
	target, err := plain.Open(t.TempDir(), &plain.Options{Progress: func(p plain.Progress) {
		require.True(t, p.Done >= last.Done || last.Done == last.Size, "%v behind %v", p, last)
		last = p
		calls++
	}})
	require.NoError(t, err)
	defer target.Close()
	image := store(t, target, first, content(guest(1, 5*mib), make([]byte, 40*mib)))
	want := plain.Progress{Machine: "web01", ID: image.ID, File: "nvram", Done: 45*mib + 10, Size: 45*mib + 10}
	require.Equal(t, want, last)
	require.Greater(t, calls, 5)
	_, err = target.Verify(t.Context(), image)
	require.NoError(t, err)
	require.Equal(t, want, last)
	require.NoError(t, target.Restore(t.Context(), image, t.TempDir()))
	require.Equal(t, want, last)
}

// Machines are imaged side by side.
func TestStore_ServesSeveralMachinesAtOnce(t *testing.T) {
	t.Parallel()
	target := open(t, t.TempDir())
	var machines sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		machines.Go(func() {
			image := first
			image.Machine = name
			got, err := target.Store(t.Context(), image, content(guest(1, 3*mib)))
			if err == nil {
				_, err = target.Verify(t.Context(), got)
			}
			if err == nil {
				_, err = target.Images(t.Context())
			}
			if err == nil && name == "c" {
				err = target.Remove(t.Context(), got)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	machines.Wait()
	require.Len(t, images(t, target), 2)
}

// fickle is a source whose content changes between being shared and being read.
type fickle struct {
	memory
	shared []byte
}

func (f *fickle) Clone(to *os.File) error {
	_, err := to.WriteAt(f.shared, 0)
	return err
}

// Where a source is shared, what is hashed is what is then stored.
func TestStore_HashesWhatIsStored(t *testing.T) {
	t.Parallel()
	target := open(t, t.TempDir())
	source := &fickle{memory{data: guest(1, mib)}, guest(2, mib)}
	image := verified(t, target, first, vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: source}}})
	sum := sha256.Sum256(source.shared)
	require.Equal(t, hex.EncodeToString(sum[:]), image.Files[0].SHA256)
}
