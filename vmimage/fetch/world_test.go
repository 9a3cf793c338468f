package fetch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
	"github.com/obskeep/obskeep/vmimage/plain"
)

const (
	mib = 1 << 20
	day = 24 * time.Hour
)

var (
	taken = time.Date(2026, 9, 25, 2, 0, 0, 0, time.UTC)
	now   = taken.Add(30 * day)
)

// world is a server with images, and the machine that keeps them.
type world struct {
	there, here string // folders
	source      transfer.Store
	target      *plain.Target
	policy      vmimage.Policy
	expect      time.Duration
}

// newWorld is one with empty folders, in one file system.
func newWorld(t testing.TB) *world {
	t.Helper()
	return worldAt(t, t.TempDir(), t.TempDir())
}

func worldAt(t testing.TB, there, here string) *world {
	t.Helper()
	w := &world{there: there, here: here}
	store, err := dirstore.Open(there)
	require.NoError(t, err)
	w.source = store
	w.target, err = plain.Open(here, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, store.Close())
		require.NoError(t, w.target.Close())
	})
	return w
}

// over has the source reached through SSH.
func (w *world) over(t testing.TB, c sshstore.Config) {
	t.Helper()
	store, err := sshstore.Open(t.Context(), c, w.there)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	w.source = store
}

func (w *world) fetcher(t testing.TB) *fetch.Fetcher {
	t.Helper()
	f, err := fetch.New(fetch.Config{
		Source: w.source, Keeper: vmimage.Keeper{Target: w.target, Policy: w.policy}, Expect: w.expect,
		Transfer: &transfer.Options{Pause: time.Millisecond}, Now: func() time.Time { return now },
	})
	require.NoError(t, err)
	return f
}

// run plans and runs.
func (w *world) run(t testing.TB) (results []fetch.Result, err error) {
	t.Helper()
	f := w.fetcher(t)
	p, err := f.Plan(t.Context())
	if err != nil {
		return nil, err
	}
	err = f.Run(t.Context(), p, func(r fetch.Result) { results = append(results, r) })
	return results, err
}

// fetched runs, and all that is fetched must be.
func (w *world) fetched(t testing.TB) (images []vmimage.Image, stats transfer.Stats) {
	t.Helper()
	results, err := w.run(t)
	require.NoError(t, err)
	for _, r := range results {
		require.NoError(t, r.Err, r.Machine+"/"+r.ID)
		if r.ID != "" {
			images = append(images, r.Image)
			stats.Size, stats.Literal, stats.Matched = stats.Size+r.Stats.Size, stats.Literal+r.Stats.Literal, stats.Matched+r.Stats.Matched
			stats.Resumed += r.Stats.Resumed
		}
	}
	return images, stats
}

// at is an image of a machine, so many days after the first.
func at(machine string, days int) vmimage.Image {
	t := taken.Add(time.Duration(days) * day)
	return vmimage.Image{
		Machine: machine, ID: vmimage.NewID(t), Taken: t, Consistency: vmimage.Clean,
		Down: 5 * time.Second, Shutdown: 2 * time.Second,
	}
}

// put stores a verified image in a folder.
func put(t testing.TB, dir string, image vmimage.Image, disks ...[]byte) vmimage.Image {
	t.Helper()
	target, err := plain.Open(dir, nil)
	require.NoError(t, err)
	defer target.Close()
	c := vmimage.Content{Files: []vmimage.Small{{Name: "domain.xml", Data: []byte("<domain/>\n")}}}
	for i, d := range disks {
		c.Disks = append(c.Disks, vmimage.Disk{Name: "vd" + string(rune('a'+i)), Source: memory(d)})
	}
	image, err = target.Store(t.Context(), image, c)
	require.NoError(t, err)
	image, err = target.Verify(t.Context(), image)
	require.NoError(t, err)
	// Images that are made within a second of each other are not, but for tests.
	for _, f := range image.Files {
		require.NoError(t, os.Chtimes(filepath.Join(dir, image.Machine, image.ID, f.Name), time.Time{}, image.Taken))
	}
	return image
}

// both stores an image on both sides.
func (w *world) both(t testing.TB, image vmimage.Image, disks ...[]byte) vmimage.Image {
	t.Helper()
	put(t, w.there, image, disks...)
	return put(t, w.here, image, disks...)
}

// ids are the names of the images here, which all are verified, and are read again.
func ids(t testing.TB, dir string) (names []string) {
	t.Helper()
	target, err := plain.Open(dir, nil)
	require.NoError(t, err)
	defer target.Close()
	images, err := target.Images(t.Context())
	require.NoError(t, err)
	for _, i := range images {
		require.False(t, i.Verified.IsZero(), "%s/%s is listed, not verified", i.Machine, i.ID)
		_, err := target.Verify(t.Context(), i)
		require.NoError(t, err)
		names = append(names, plain.Name(i.Machine, i.ID))
	}
	return names
}

// tree is the names of all that is in a folder, with their sizes and times.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		files[name] = info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			files[name] += " " + info.ModTime().String() + " " + string(data)
		}
		return err
	}))
	return files
}

// stages are the folders of images on their way.
func stages(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", ".partial-*"))
	require.NoError(t, err)
	return found
}

// memory is a disk.
type memory []byte

func (m memory) Size() int64  { return int64(len(m)) }
func (m memory) Close() error { return nil }
func (m memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, off)
}

func (m memory) Extents() iter.Seq2[vmimage.Extent, error] {
	return func(yield func(vmimage.Extent, error) bool) { yield(vmimage.Extent{Len: m.Size()}, nil) }
}

// noise are random bytes.
func noise(seed uint64, size int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	p := make([]byte, size)
	rand.NewChaCha8(key).Read(p)
	return p
}

// guest is what a guest may leave on a disk: pieces of some KiB to MiB, half of them never
// written.
func guest(seed uint64, size int) []byte {
	random, data := rand.New(rand.NewPCG(seed, 0)), noise(seed, size)
	for off, empty := 0, false; off < size; empty = !empty {
		n := min(size-off, 4096*(1+random.IntN(1<<random.IntN(9))))
		if empty {
			clear(data[off : off+n])
		}
		off += n
	}
	return data
}

// changed is a disk with a share of its 4 KiB blocks written since, in runs of four.
func changed(seed uint64, disk []byte, share float64) []byte {
	disk = slices.Clone(disk)
	random := rand.New(rand.NewPCG(seed, 1))
	const run = 16 << 10
	for range int(share * float64(len(disk)) / run) {
		copy(disk[4096*random.IntN((len(disk)-run)/4096):], noise(random.Uint64(), run))
	}
	return disk
}
