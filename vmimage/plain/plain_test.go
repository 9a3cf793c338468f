package plain_test

import (
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/plain"
)

const mib = 1 << 20

var blank [64 << 10]byte

var _ vmimage.Target = (*plain.Target)(nil)

// memory is a disk in memory, all of one extent for each piece that is not zeros.
type memory struct {
	data []byte
	read func(off, n int64) error // told of each read; nil for none
	all  bool                     // one extent, also for zeros
}

func (m *memory) Size() int64  { return int64(len(m.data)) }
func (m *memory) Close() error { return nil }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if m.read != nil {
		if err := m.read(off, int64(len(p))); err != nil {
			return 0, err
		}
	}
	return bytes.NewReader(m.data).ReadAt(p, off)
}

func (m *memory) Extents() iter.Seq2[vmimage.Extent, error] {
	return func(yield func(vmimage.Extent, error) bool) {
		const cluster = 64 << 10
		if m.all {
			yield(vmimage.Extent{Len: m.Size()}, nil)
			return
		}
		for off := 0; off < len(m.data); {
			end := min(off+cluster, len(m.data))
			if p := m.data[off:end]; !bytes.Equal(p, blank[:len(p)]) && !yield(vmimage.Extent{Off: int64(off), Len: int64(len(p))}, nil) {
				return
			}
			off = end
		}
	}
}

// guest is what a guest may leave on a disk, in pieces that fit no page.
func guest(seed uint64, size int) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	noise := rand.NewChaCha8([32]byte{byte(seed)})
	p := make([]byte, size)
	for at := 0; at < size; {
		n := min(size-at, 512*(1+random.IntN(900)))
		if random.IntN(2) == 0 {
			noise.Read(p[at : at+n])
		}
		at += n
	}
	return p
}

func content(disks ...[]byte) vmimage.Content {
	c := vmimage.Content{Files: []vmimage.Small{{Name: "domain.xml", Data: []byte("<domain/>\n")}, {Name: "nvram", Data: nil}}}
	for i, d := range disks {
		c.Disks = append(c.Disks, vmimage.Disk{Name: "vd" + string(rune('a'+i)), Source: &memory{data: d}})
	}
	return c
}

var (
	taken = time.Date(2026, 9, 25, 2, 0, 0, 0, time.UTC)
	first = at(taken)
	next  = at(taken.Add(time.Hour))
)

func store(t testing.TB, target *plain.Target, image vmimage.Image, c vmimage.Content) vmimage.Image {
	t.Helper()
	stored, err := target.Store(t.Context(), image, c)
	require.NoError(t, err)
	return stored
}

// verified stores and verifies.
func verified(t testing.TB, target *plain.Target, image vmimage.Image, c vmimage.Content) vmimage.Image {
	t.Helper()
	v, err := target.Verify(t.Context(), store(t, target, image, c))
	require.NoError(t, err)
	return v
}

func images(t testing.TB, target *plain.Target) []vmimage.Image {
	t.Helper()
	all, err := target.Images(t.Context())
	require.NoError(t, err)
	return all
}

// tree is the names of all that is in a folder, but for the files by which programs keep
// apart.
func tree(t testing.TB, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, e := filepath.Rel(dir, path); e == nil && name != "." && filepath.Base(name) != ".lock" {
			names = append(names, filepath.ToSlash(name))
		}
		return err
	}))
	return names
}

// stored are the names of the files of an image with one disk.
func stored(folder string) []string {
	names := []string{folder}
	for _, name := range []string{"SHA256SUMS", "domain.xml", "image.json", "nvram", "vda.img"} {
		names = append(names, folder+"/"+name)
	}
	return names
}

// All that Store is told comes back from Images, with the files.
func TestImages_AreAsStored(t *testing.T) {
	t.Parallel()
	target := open(t, t.TempDir())
	image := first
	image.Shutdown, image.Down = 3*time.Second, 5*time.Second
	image.Verified = taken // not yet, whatever the caller says
	got := store(t, target, image, content(guest(1, 2*mib), guest(2, mib)))
	require.Zero(t, got.Verified)
	require.Empty(t, cmp.Diff([]vmimage.Image{got}, images(t, target)))
	var names, disks []string
	for _, f := range got.Files {
		names, disks = append(names, f.Name), append(disks, f.Disk)
	}
	require.Equal(t, []string{"vda.img", "vdb.img", "domain.xml", "nvram"}, names)
	require.Equal(t, []string{"vda", "vdb", "", ""}, disks)

	other := at(taken)
	other.Machine = "alpha"
	store(t, target, other, content(guest(3, mib)))
	all := images(t, target)
	require.Equal(t, []string{"alpha", "web01"}, []string{all[0].Machine, all[1].Machine})
	require.Equal(t, target.Dir(), filepath.Clean(target.Dir()))
}

// The folder for images is never made, and its absence is told in plain words.
func TestOpen_NeverMakesTheFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mnt")
	_, err := plain.Open(dir, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoDirExists(t, dir)
}

// Folders and files of others are neither listed nor removed.
func TestClean_LeavesWhatIsOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	image := store(t, target, first, content(guest(1, mib)))
	outside := t.TempDir()
	for _, name := range []string{
		"lost+found/x", "README", ".hidden/2026-268T0200Z/image.json", "web01/notes/image.json", "web01/.partial-mine/x",
		"web01/.partial", "other/data", "web%6/2026-268T0200Z/image.json",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "web02")))
	require.NoError(t, os.Symlink("web01", filepath.Join(dir, "web03")))
	require.NoError(t, os.Symlink(first.ID, filepath.Join(dir, "web01", next.ID)))
	before := tree(t, dir)
	left := filepath.Join(dir, "web01", ".partial-"+next.ID)
	require.NoError(t, os.Mkdir(left, 0o700))
	temp := filepath.Join(dir, "web01", first.ID, ".durable-X")
	require.NoError(t, os.WriteFile(temp, nil, 0o600))

	require.Empty(t, cmp.Diff([]vmimage.Image{image}, images(t, target)))
	removed, err := target.Clean(t.Context(), "web01")
	require.NoError(t, err)
	require.Equal(t, []string{".partial-" + next.ID, first.ID + "/.durable-X"}, removed)
	require.Empty(t, cmp.Diff(before, tree(t, dir)))
	removed, err = target.Clean(t.Context(), "nobody")
	require.NoError(t, err)
	require.Empty(t, removed)
	require.NoError(t, target.Remove(t.Context(), image))
	require.ErrorIs(t, target.Remove(t.Context(), image), fs.ErrNotExist)
	require.Empty(t, images(t, target))
	require.FileExists(t, filepath.Join(dir, "web01", "notes", "image.json"))
}

// Nothing outside of the folder is read or written, whatever links are in it.
func TestStore_NothingLeadsOut(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	elsewhere := open(t, outside)
	image := verified(t, elsewhere, first, content(guest(1, mib)))
	before := tree(t, outside)
	target := open(t, dir)
	check := func(machine string) {
		t.Helper()
		i := image
		i.Machine = machine
		for what, call := range map[string]func() error{
			"store": func() error {
				j := i
				j.ID = next.ID
				_, err := target.Store(t.Context(), j, content(guest(1, mib)))
				return err
			},
			"verify": func() error { _, err := target.Verify(t.Context(), i); return err },
			"remove": func() error { return target.Remove(t.Context(), i) },
			"clean":  func() error { _, err := target.Clean(t.Context(), machine); return err },
			"restore": func() error {
				return target.Restore(t.Context(), i, t.TempDir())
			},
		} {
			require.Error(t, call(), what)
		}
		require.Empty(t, images(t, target))
		require.Empty(t, cmp.Diff(before, tree(t, outside)))
	}
	require.NoError(t, os.Symlink(filepath.Join(outside, "web01"), filepath.Join(dir, "web01")))
	check("web01")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(dir, "in"), filepath.Join(dir, "link")))
	check("link")

	// A file of an image that is a link is none.
	inside := verified(t, target, vmimage.Image{Machine: "db", ID: next.ID, Taken: next.Taken}, content(guest(1, mib)))
	path := filepath.Join(dir, "db", inside.ID, "vda.img")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink(filepath.Join(outside, "web01", image.ID, "vda.img"), path))
	_, err := target.Verify(t.Context(), inside)
	rot, ok := errors.AsType[*vmimage.RotError](err)
	require.True(t, ok)
	require.Equal(t, "vda.img", rot.File)
}
