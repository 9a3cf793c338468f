package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// fault is what becomes of the operation that fails, and of those after it.
type fault struct {
	applied bool // it is done, but reported as failed
	dead    bool // nothing is done after it: the process has died
	power   bool // dead, and what was not synced is lost
}

func (f fault) String() string { return fmt.Sprintf("%+v", struct{ applied, dead, power bool }(f)) }

var errFault = errors.New("injected fault")

// faultyDisk is a disk of which the nth operation fails.
type faultyDisk struct {
	t   *testing.T
	dir string // where it lies
	fault

	mu     sync.Mutex
	left   int // operations until the fault
	failed bool
	dirty  map[string]bool // files with bytes that are not synced
}

// faultyFS is a directory on a faulty disk.
type faultyFS struct {
	fsstore.FS
	*faultyDisk
	at string
}

func newFaultyFS(t *testing.T, dir string, f fault, n int) faultyFS {
	d := &faultyDisk{t: t, dir: dir, fault: f, left: n, dirty: map[string]bool{}}
	return faultyFS{localFS(t, dir), d, "."}
}

func (f faultyFS) Sub(ctx context.Context, dir string) (fsstore.FS, error) {
	sub, err := f.FS.Sub(ctx, dir)
	return faultyFS{sub, f.faultyDisk, path.Join(f.at, dir)}, err
}

// do runs an operation that changes something.
func (f *faultyDisk) do(op func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed && (f.dead || f.power) {
		return errFault
	}
	if f.left--; f.left != 0 {
		return op()
	}
	f.failed = true
	if f.applied {
		_ = op() // it may have had nothing to do
	}
	return errFault
}

func (f faultyFS) Create(ctx context.Context, name string, perm fs.FileMode, truncate bool) (file fsstore.File, err error) {
	err = f.do(func() error {
		file, err = f.FS.Create(ctx, name, perm, truncate)
		return err
	})
	if err != nil {
		if file != nil {
			return nil, errors.Join(err, file.Close())
		}
		return nil, err
	}
	return &faultyFile{file, f.faultyDisk, path.Join(f.at, name)}, nil
}

func (f faultyFS) Replace(ctx context.Context, oldname, newname string) error {
	return f.do(func() error {
		err := f.FS.Replace(ctx, oldname, newname)
		if err == nil {
			before := path.Join(f.at, oldname)
			f.dirty[path.Join(f.at, newname)] = f.dirty[before]
			delete(f.dirty, before)
		}
		return err
	})
}

func (f faultyFS) Remove(ctx context.Context, name string) error {
	return f.do(func() error {
		delete(f.dirty, path.Join(f.at, name))
		return f.FS.Remove(ctx, name)
	})
}

func (f faultyFS) Mkdir(ctx context.Context, name string, perm fs.FileMode) error {
	return f.do(func() error { return f.FS.Mkdir(ctx, name, perm) })
}

func (f faultyFS) Symlink(ctx context.Context, target, name string) error {
	return f.do(func() error { return f.FS.Symlink(ctx, target, name) })
}

func (f faultyFS) SetInfo(ctx context.Context, info transfer.Info) error {
	return f.do(func() error { return f.FS.SetInfo(ctx, info) })
}

func (f faultyFS) SyncDir(ctx context.Context, name string) error {
	return f.do(func() error { return f.FS.SyncDir(ctx, name) })
}

type faultyFile struct {
	fsstore.File
	fs   *faultyDisk
	name string
}

func (f *faultyFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.do(func() error {
		f.fs.dirty[f.name] = true
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f *faultyFile) Truncate(ctx context.Context, size int64) error {
	return f.fs.do(func() error { return f.File.Truncate(ctx, size) })
}

func (f *faultyFile) SetInfo(ctx context.Context, info transfer.Info) error {
	return f.fs.do(func() error { return f.File.SetInfo(ctx, info) })
}

func (f *faultyFile) Sync(ctx context.Context) error {
	return f.fs.do(func() error {
		delete(f.fs.dirty, f.name)
		return nil // the disk itself need not be bothered
	})
}

// powerCut loses what was not synced, in the worst way: the names, sizes and
// times are there, the bytes are not.
func (f *faultyDisk) powerCut() {
	for name, lost := range f.dirty {
		if !lost {
			continue
		}
		file := filepath.Join(f.dir, name)
		fi, err := os.Stat(file)
		if err != nil {
			continue
		}
		require.NoError(f.t, os.WriteFile(file, make([]byte, fi.Size()), 0o600))
		require.NoError(f.t, os.Chtimes(file, fi.ModTime(), fi.ModTime()))
	}
}

// groupFS also commits many uploads at once.
type groupFS struct{ *fsstore.Store }

func (groupFS) GroupSize() int { return 256 }

func (g groupFS) CommitAll(ctx context.Context, uploads []transfer.Upload, readBack bool) []error {
	return g.CommitGroup(ctx, uploads, readBack, func([]string) error {
		f := g.FS.(faultyFS)
		return f.do(func() error { clear(f.dirty); return nil })
	})
}

// Whatever operation of the disk fails, and whatever is lost with it, no name
// ever shows anything but its old or its new content, and the next mirror
// leaves the tree as it has to be, with nothing hidden in it.
func TestMirror_SurvivesAFaultAtEveryStep(t *testing.T) {
	t.Parallel()
	shm := "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		shm = t.TempDir()
	}
	base, err := os.MkdirTemp(shm, "obskeep-crash-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(base)) })

	src, old := filepath.Join(base, "src"), filepath.Join(base, "old")
	write(t, old, "d/replaced", []byte("previous"))
	write(t, old, "d/big", []byte("previous"))
	require.NoError(t, os.Symlink("previous", filepath.Join(old, "d/link")))
	write(t, src, "d/replaced", []byte("next"))
	write(t, src, "d/new", []byte("new"))
	write(t, src, "d/big", randomBytes(1, 2<<20+1))
	require.NoError(t, os.Symlink("next", filepath.Join(src, "d/link")))
	for _, name := range []string{"d", "."} {
		stamp(t, src, name, later)
	}
	stamp(t, src, "d/replaced", later)
	stamp(t, src, "d/big", later)
	before, after := tree(t, old), tree(t, src)

	for _, group := range []bool{false, true} {
		// To die after a step that is applied is to die of the next that is lost.
		for _, f := range []fault{{}, {applied: true}, {dead: true}, {power: true}} {
			if group && (f.dead || f == fault{}) {
				continue // as with single commits
			}
			t.Run(fmt.Sprintf("%v group=%v", f, group), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(base, fmt.Sprintf("%v%v", f, group))
				for n, reached := 1, true; reached; n++ {
					require.NoError(t, os.RemoveAll(dir))
					require.NoError(t, os.CopyFS(dir, os.DirFS(old)))
					for name := range before {
						if name != "d/link" {
							stamp(t, dir, name, noon)
						}
					}
					disk := newFaultyFS(t, dir, f, n)
					into := transfer.Store(&fsstore.Store{FS: disk})
					if group {
						into = groupFS{&fsstore.Store{FS: disk}}
					}
					one := &transfer.Options{Workers: 1}
					_, err := transfer.Mirror(t.Context(), into, local(t, src), one)
					if reached = disk.failed; reached && disk.power {
						disk.powerCut()
					}
					for name, e := range tree(t, dir) {
						if !transfer.IsReserved(name) && e.Data != before[name].Data && e.Data != after[name].Data {
							t.Fatalf("step %d: %s is %q", n, name, e.Data)
						}
					}
					if err == nil {
						require.Empty(t, cmp.Diff(after, tree(t, dir)), "step %d: reported as done", n)
					}
					_, err = transfer.Mirror(t.Context(), local(t, dir), local(t, src), one)
					require.NoError(t, err, "step %d", n)
					require.Empty(t, cmp.Diff(after, tree(t, dir)), "step %d, after the next mirror", n)
					if !reached {
						require.Greater(t, n, 20, "steps")
					}
				}
			})
		}
	}
}

// Nothing is written through a symbolic link, also when a crash has left one
// half made.
func TestMirror_IsNotWrittenThroughALink(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), t.TempDir()
	write(t, dst, "victim", []byte("precious"))
	require.NoError(t, os.Symlink("victim", filepath.Join(src, "x")))
	disk := newFaultyFS(t, dst, fault{dead: true}, 3)
	_, err := transfer.Mirror(t.Context(), &fsstore.Store{FS: disk}, local(t, src), nil)
	require.Error(t, err)
	require.True(t, disk.failed)
	require.NoError(t, os.Remove(filepath.Join(src, "x")))
	write(t, src, "x", []byte("a file now"))
	_, err = transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(dst, "victim"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(got))
	fi, err := os.Lstat(filepath.Join(dst, "x"))
	require.NoError(t, err)
	require.True(t, fi.Mode().IsRegular())
}

// localFS is what a directory's store is made on.
func localFS(t *testing.T, dir string) fsstore.FS {
	t.Helper()
	return local(t, dir).Tree.(*fsstore.Store).FS
}
