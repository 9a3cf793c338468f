// Package storetest is the contract of [transfer.Store] as a test suite, and
// [Mem], a store in memory that passes it and fails on demand.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/transfer"
)

var when = time.Date(2026, 9, 25, 4, 30, 0, 0, time.UTC)

// Run tests stores; open returns a new, empty one.
func Run(t *testing.T, open func(t *testing.T) transfer.Store) {
	run := func(name string, f func(t *testing.T, s transfer.Store)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("a committed object is there whole", committed)
	run("an upload is invisible until it is committed", invisible)
	run("an object stays as it is until its successor is committed", successor)
	run("a name that is not there is fs.ErrNotExist", missing)
	run("a file can be read from any byte on", offset)
	run("an interrupted upload is resumed by another", resumed)
	run("kept bytes that are not of the source are not resumed", refused)
	run("what is kept stays while nobody can tell whether it is of the source", undecided)
	run("what the successor resumed is gone when it is committed", resumedOnce)
	run("a second upload of a name waits for the first to end", busy)
	run("names are bytes", names)
	run("invalid names are refused", invalidNames)
	run("an object removed is gone", removed)
	run("methods may be called concurrently", concurrent)
	run("a context that has ended ends the call", cancelled)
	run("hashes are of the first bytes", hashed)
	run("a copy begins with the previous version", copied)
	run("what is stored can be seen before it is shown", proved)
	run("directories, links, modes and times are kept", tree)
	run("a tree listed at once is what its directories list", treeList)
	run("renaming moves a directory and replaces nothing", renamed)
	run("a link is replaced by a file and a file by a link", linkAndFile)
}

func put(t *testing.T, s transfer.Store, name string, data []byte) transfer.Info {
	t.Helper()
	info := transfer.Info{Name: name, Size: int64(len(data)), ModTime: when, Mode: 0o640}
	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	_, err = up.Write(data)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(data), up.Sum())
	require.NoError(t, up.Commit(t.Context(), true))
	require.NoError(t, up.Close())
	return info
}

func get(t *testing.T, s transfer.Store, name string, off int64) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), name, off)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return data
}

func list(t *testing.T, s transfer.Store, dir string) []string {
	t.Helper()
	var got []string
	for info, err := range s.List(t.Context(), dir) {
		require.NoError(t, err)
		got = append(got, info.Name)
	}
	slices.Sort(got)
	return got
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b) // never fails
	return b
}

func committed(t *testing.T, s transfer.Store) {
	for _, size := range []int{0, 1, 2000, 1<<20 + 1, 5 << 20} {
		data := random(size)
		want := put(t, s, fmt.Sprintf("a/b/%d", size), data)
		got, err := s.Stat(t.Context(), want.Name)
		require.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("info (-want +got):\n%s", diff)
		}
		require.True(t, bytes.Equal(data, get(t, s, want.Name, 0)), "bytes of %s", want.Name)
	}
	require.Equal(t, []string{"a"}, list(t, s, "."))
	require.Equal(t, []string{"a/b"}, list(t, s, "a"))
	require.Len(t, list(t, s, "a/b"), 5)
}

func invisible(t *testing.T, s transfer.Store) {
	up, err := s.Create(t.Context(), transfer.Info{Name: "x", Size: 10, ModTime: when, Mode: 0o644})
	require.NoError(t, err)
	_, err = up.Write([]byte("half "))
	require.NoError(t, err)
	_, err = s.Stat(t.Context(), "x")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, list(t, s, "."))
	require.NoError(t, up.Close())
	_, err = s.Stat(t.Context(), "x")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, list(t, s, "."))
}

func successor(t *testing.T, s transfer.Store) {
	put(t, s, "x", []byte("old"))
	up, err := s.Create(t.Context(), transfer.Info{Name: "x", Size: 3, ModTime: when, Mode: 0o644})
	require.NoError(t, err)
	_, err = up.Write([]byte("new"))
	require.NoError(t, err)
	require.Equal(t, "old", string(get(t, s, "x", 0)))
	require.NoError(t, up.Commit(t.Context(), false))
	require.NoError(t, up.Close())
	require.Equal(t, "new", string(get(t, s, "x", 0)))
	require.Equal(t, []string{"x"}, list(t, s, "."))
}

func missing(t *testing.T, s transfer.Store) {
	_, err := s.Stat(t.Context(), "no/such")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Open(t.Context(), "no/such", 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, s.Remove(t.Context(), "no/such"), fs.ErrNotExist)
	for _, err := range s.List(t.Context(), "no") {
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

func offset(t *testing.T, s transfer.Store) {
	data := random(3 << 20)
	put(t, s, "x", data)
	for _, off := range []int64{0, 1, 1 << 20, 3<<20 - 1, 3 << 20} {
		require.True(t, bytes.Equal(data[off:], get(t, s, "x", off)), "from %d", off)
	}
}

// half uploads the first bytes of data and ends without a commit.
func half(t *testing.T, s transfer.Store, info transfer.Info, data []byte) {
	t.Helper()
	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	_, err = up.Resume(t.Context(), func(transfer.Kept) (bool, error) { return false, nil })
	require.NoError(t, err)
	_, err = up.Write(data)
	require.NoError(t, err)
	require.NoError(t, up.Close())
}

func resumed(t *testing.T, s transfer.Store) {
	data := random(20 << 20)
	info := transfer.Info{Name: "d/x", Size: int64(len(data)), ModTime: when, Mode: 0o644}
	half(t, s, info, data[:12<<20])

	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	var kept transfer.Kept
	off, err := up.Resume(t.Context(), func(k transfer.Kept) (bool, error) { kept = k; return true, nil })
	require.NoError(t, err)
	require.Equal(t, int64(12<<20), off)
	require.Equal(t, off, kept.Size)
	require.Equal(t, sha256.Sum256(data[:off]), kept.Sum)
	require.Equal(t, info.Size, kept.Source.Size)
	require.True(t, info.ModTime.Equal(kept.Source.ModTime))
	_, err = up.Write(data[off:])
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(data), up.Sum())
	require.NoError(t, up.Commit(t.Context(), true))
	require.NoError(t, up.Close())
	require.True(t, bytes.Equal(data, get(t, s, "d/x", 0)))
}

func refused(t *testing.T, s transfer.Store) {
	info := transfer.Info{Name: "x", Size: 4 << 20, ModTime: when, Mode: 0o644}
	half(t, s, info, random(3<<20))
	data := bytes.Repeat([]byte("other "), 1<<20)[:info.Size]
	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	off, err := up.Resume(t.Context(), func(transfer.Kept) (bool, error) { return false, nil })
	require.NoError(t, err)
	require.Zero(t, off)
	_, err = up.Write(data)
	require.NoError(t, err)
	require.NoError(t, up.Commit(t.Context(), true))
	require.NoError(t, up.Close())
	require.True(t, bytes.Equal(data, get(t, s, "x", 0)))
}

func undecided(t *testing.T, s transfer.Store) {
	data := random(4 << 20)
	info := transfer.Info{Name: "x", Size: int64(len(data)), ModTime: when, Mode: 0o644}
	half(t, s, info, data[:2<<20])
	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	_, err = up.Resume(t.Context(), func(transfer.Kept) (bool, error) { return false, transfer.ErrLost })
	require.ErrorIs(t, err, transfer.ErrLost)
	require.NoError(t, up.Close())

	up, err = s.Create(t.Context(), info)
	require.NoError(t, err)
	off, err := up.Resume(t.Context(), func(transfer.Kept) (bool, error) { return true, nil })
	require.NoError(t, err)
	require.Equal(t, int64(2<<20), off)
	require.NoError(t, up.Close())
}

func resumedOnce(t *testing.T, s transfer.Store) {
	data := random(4 << 20)
	info := transfer.Info{Name: "x", Size: int64(len(data)), ModTime: when, Mode: 0o644}
	half(t, s, info, data[:2<<20])
	put(t, s, "x", data)
	up, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	off, err := up.Resume(t.Context(), func(transfer.Kept) (bool, error) { return true, nil })
	require.NoError(t, err)
	require.Zero(t, off)
	require.NoError(t, up.Close())
	require.Equal(t, []string{"x"}, list(t, s, "."))
}

func busy(t *testing.T, s transfer.Store) {
	info := transfer.Info{Name: "x", Size: 1, ModTime: when, Mode: 0o644}
	first, err := s.Create(t.Context(), info)
	require.NoError(t, err)
	_, err = s.Create(t.Context(), info)
	require.ErrorIs(t, err, transfer.ErrBusy)
	require.NoError(t, first.Close())
	put(t, s, "x", []byte("1"))
}

// oddNames are names that files have had.
func oddNames() []string {
	odd := []string{
		"line\nbreak", "\xff\xfe not UTF-8", "ž", " leading and trailing ", "-dash", "#hash", "back\\slash",
		"quote'\"`$(x)", "*?[a]", ".hidden", "..", "...", "%41", "~", strings.Repeat("n", 255),
	}
	return slices.DeleteFunc(odd, func(n string) bool { return n == ".." })
}

func names(t *testing.T, s transfer.Store) {
	var want []string
	for _, name := range oddNames() {
		put(t, s, "dir/"+name, []byte(name))
		want = append(want, "dir/"+name)
	}
	slices.Sort(want)
	require.Equal(t, want, list(t, s, "dir"))
	for _, name := range want {
		require.Equal(t, path.Base(name), string(get(t, s, name, 0)))
		require.NoError(t, s.Remove(t.Context(), name))
	}
	require.Empty(t, list(t, s, "dir"))
}

func invalidNames(t *testing.T, s transfer.Store) {
	for _, name := range []string{"", "..", "../x", "/x", "a/../../x", "a//b", "a/", "./a", "a/.", "nul\x00"} {
		_, err := s.Stat(t.Context(), name)
		require.ErrorIs(t, err, transfer.ErrName, "Stat %q", name)
		_, err = s.Open(t.Context(), name, 0)
		require.ErrorIs(t, err, transfer.ErrName, "Open %q", name)
		_, err = s.Create(t.Context(), transfer.Info{Name: name})
		require.ErrorIs(t, err, transfer.ErrName, "Create %q", name)
		require.ErrorIs(t, s.Remove(t.Context(), name), transfer.ErrName, "Remove %q", name)
	}
	_, err := s.Create(t.Context(), transfer.Info{Name: "."})
	require.ErrorIs(t, err, transfer.ErrName)
}

func removed(t *testing.T, s transfer.Store) {
	put(t, s, "a/x", []byte("x"))
	require.Error(t, s.Remove(t.Context(), "a"), "a directory with something in it")
	require.NoError(t, s.Remove(t.Context(), "a/x"))
	_, err := s.Stat(t.Context(), "a/x")
	require.ErrorIs(t, err, fs.ErrNotExist)
	if _, isTree := s.(transfer.Tree); isTree {
		half(t, s, transfer.Info{Name: "a/y", Size: 2 << 20, Mode: 0o644}, random(1<<20))
		require.NoError(t, s.Remove(t.Context(), "a"), "a directory with nothing to be seen in it")
		require.Empty(t, list(t, s, "."))
	}
}

func concurrent(t *testing.T, s transfer.Store) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			name := fmt.Sprintf("d%d/f%d", i%4, i)
			data := random(1000 * i)
			up, err := s.Create(t.Context(), transfer.Info{Name: name, Size: int64(len(data)), ModTime: when, Mode: 0o644})
			if err == nil {
				_, err = up.Write(data)
			}
			if err == nil {
				err = errors.Join(up.Commit(t.Context(), true), up.Close())
			}
			if err == nil {
				var r io.ReadCloser
				if r, err = s.Open(t.Context(), name, 0); err == nil {
					var got []byte
					got, err = io.ReadAll(r)
					if !bytes.Equal(data, got) {
						t.Errorf("%s: read %d bytes, wrote %d", name, len(got), len(data))
					}
					err = errors.Join(err, r.Close())
				}
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

func cancelled(t *testing.T, s transfer.Store) {
	put(t, s, "x", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	up, err := s.Create(ctx, transfer.Info{Name: "y", Size: 1, ModTime: when, Mode: 0o644})
	require.NoError(t, err)
	cancel()
	_, err = up.Write([]byte("y"))
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, up.Close())
	require.Equal(t, []string{"x"}, list(t, s, "."))
}

func hashed(t *testing.T, s transfer.Store) {
	h, ok := s.(transfer.Hasher)
	if !ok {
		return
	}
	data := random(2 << 20)
	put(t, s, "odd 'name'\n", data)
	for _, n := range []int64{0, 1, 1 << 20, 2 << 20} {
		p, err := h.HashPrefix(t.Context(), "odd 'name'\n", n)
		if errors.Is(err, errors.ErrUnsupported) {
			return
		}
		require.NoError(t, err)
		require.Equal(t, sha256.Sum256(data[:n]), p.Sum, "first %d", n)
		if p.State != nil {
			p.State.Write(data[n:])
			require.Equal(t, sha256.Sum256(data), [sha256.Size]byte(p.State.Sum(nil)))
		}
	}
	_, err := h.HashPrefix(t.Context(), "odd 'name'\n", 2<<20+1)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func copied(t *testing.T, s transfer.Store) {
	data := random(3 << 20)
	old := bytes.Clone(data[:2<<20])
	old[1000]++ // differs
	put(t, s, "x", old)
	up, err := s.Create(t.Context(), transfer.Info{Name: "x", Size: 3 << 20, ModTime: when, Mode: 0o644})
	require.NoError(t, err)
	defer up.Close()
	c, ok := up.(transfer.Copier)
	if !ok {
		return
	}
	if err := c.Copy(t.Context(), false); errors.Is(err, errors.ErrUnsupported) {
		return
	} else {
		require.NoError(t, err)
	}
	state := sha256.New()
	state.Write(data[:2<<20])
	_, err = c.WriteAt(data[1000:1001], 1000)
	require.NoError(t, err)
	require.NoError(t, c.Reach(2<<20, state))
	_, err = up.Write(data[2<<20:])
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(data), up.Sum())
	require.NoError(t, up.Commit(t.Context(), true))
	require.True(t, bytes.Equal(data, get(t, s, "x", 0)))
}

func proved(t *testing.T, s transfer.Store) {
	data := random(3 << 20)
	old := bytes.Clone(data[:2<<20])
	old[1000]++ // differs
	put(t, s, "x", old)
	up, err := s.Create(t.Context(), transfer.Info{Name: "x", Size: 3 << 20, ModTime: when, Mode: 0o644})
	require.NoError(t, err)
	defer up.Close()
	p, ok := up.(transfer.Prover)
	if !ok {
		return
	}
	if err := p.Copy(t.Context(), false); errors.Is(err, errors.ErrUnsupported) {
		return
	} else {
		require.NoError(t, err)
	}
	hashed := func(want []byte) {
		got, err := p.HashPrefix(t.Context(), int64(len(want)))
		if !errors.Is(err, errors.ErrUnsupported) {
			require.NoError(t, err)
			require.Equal(t, sha256.Sum256(want), got.Sum)
		}
	}
	hashed(old)
	_, err = p.WriteAt(data[1000:1001], 1000)
	require.NoError(t, err)
	_, err = p.WriteAt(data[2<<20:], 2<<20)
	require.NoError(t, err)
	hashed(data)
	back, err := p.ReadBack(t.Context())
	require.NoError(t, err)
	got := make([]byte, 3<<20)
	var g errgroup.Group
	for i := range 3 {
		g.Go(func() error {
			_, err := back.ReadAt(got[i<<20:(i+1)<<20], int64(i<<20))
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.True(t, bytes.Equal(data, got))
	n, err := back.ReadAt(got[:10], 3<<20-5)
	require.Equal(t, 5, n)
	require.ErrorIs(t, err, io.EOF)
	require.True(t, bytes.Equal(old, get(t, s, "x", 0)), "shown before it is committed")
	require.NoError(t, p.Reach(3<<20, nil))
	require.NoError(t, up.Commit(t.Context(), false))
	require.True(t, bytes.Equal(data, get(t, s, "x", 0)))
}

func tree(t *testing.T, s transfer.Store) {
	tr, ok := s.(transfer.Tree)
	if !ok {
		return
	}
	ctx := t.Context()
	dir := transfer.Info{Name: "a/b", Mode: fs.ModeDir | 0o750, ModTime: when}
	require.NoError(t, tr.Mkdir(ctx, dir))
	require.NoError(t, tr.Mkdir(ctx, dir), "again")
	require.NoError(t, tr.SetInfo(ctx, dir))
	got, err := tr.Stat(ctx, "a/b")
	require.NoError(t, err)
	require.Equal(t, dir.Mode, got.Mode)
	require.True(t, got.ModTime.Equal(when), "time of a directory: %v", got.ModTime)

	for _, target := range []string{"b", "/etc/passwd", "../../..", "no such", "odd\n\xff"} {
		link := transfer.Info{Name: "a/link", Mode: fs.ModeSymlink | 0o777, ModTime: when, Target: target}
		require.NoError(t, tr.Symlink(ctx, link))
		got, err := tr.Stat(ctx, "a/link")
		require.NoError(t, err)
		require.Equal(t, target, got.Target)
		require.Equal(t, fs.ModeSymlink, got.Mode.Type())
	}
	require.Equal(t, []string{"a/b", "a/link"}, list(t, s, "a"))

	file := put(t, s, "a/b/f", []byte("f"))
	file.Mode, file.ModTime = 0o400|fs.ModeSetuid, when.Add(time.Hour)
	require.NoError(t, tr.SetInfo(ctx, file))
	got, err = tr.Stat(ctx, file.Name)
	require.NoError(t, err)
	if diff := cmp.Diff(file, got); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	require.ErrorIs(t, tr.SetInfo(ctx, transfer.Info{Name: "none"}), fs.ErrNotExist)
}

func renamed(t *testing.T, s transfer.Store) {
	tr, ok := s.(transfer.Tree)
	if !ok {
		return
	}
	ctx := t.Context()
	put(t, s, "stage/a/x", []byte("x"))
	put(t, s, "kept/y", []byte("y"))
	require.NoError(t, tr.Mkdir(ctx, transfer.Info{Name: "empty", Mode: fs.ModeDir | 0o755}))
	for _, in := range []string{"kept", "kept/y", "empty"} {
		require.ErrorIs(t, tr.Rename(ctx, "stage", in), fs.ErrExist, in)
	}
	require.NoError(t, tr.Rename(ctx, "stage", "kept/stage"))
	require.Equal(t, "x", string(get(t, s, "kept/stage/a/x", 0)))
	require.Equal(t, []string{"empty", "kept"}, list(t, s, "."))
	require.ErrorIs(t, tr.Rename(ctx, "none", "other"), fs.ErrNotExist)
}

func linkAndFile(t *testing.T, s transfer.Store) {
	tr, ok := s.(transfer.Tree)
	if !ok {
		return
	}
	put(t, s, "target", []byte("target"))
	put(t, s, "x", []byte("file"))
	require.NoError(t, tr.Symlink(t.Context(), transfer.Info{Name: "x", Target: "target", Mode: fs.ModeSymlink}))
	put(t, s, "x", []byte("file again"))
	require.Equal(t, "file again", string(get(t, s, "x", 0)))
	require.Equal(t, "target", string(get(t, s, "target", 0)), "what the link pointed to")
}

func treeList(t *testing.T, s transfer.Store) {
	lister, ok := s.(transfer.TreeLister)
	if !ok {
		return
	}
	for _, name := range []string{"top/a", "top/d/b", "top/d/e/odd\nname", "top/d-/c", "top/.hidden", "beside/x"} {
		put(t, s, name, []byte(name))
	}
	up, err := s.Create(t.Context(), transfer.Info{Name: "top/d/unfinished", Size: 2 << 20, ModTime: when, Mode: 0o600})
	require.NoError(t, err)
	_, err = up.Write([]byte("unfinished"))
	require.NoError(t, err)
	if tree, ok := s.(transfer.Tree); ok {
		require.NoError(t, tree.Symlink(t.Context(), transfer.Info{Name: "top/link", Target: "../beside", Mode: fs.ModeSymlink | 0o777}))
	}
	infos, err := lister.ListTree(t.Context(), "top")
	if errors.Is(err, errors.ErrUnsupported) {
		require.NoError(t, up.Close())
		return
	}
	require.NoError(t, err)
	got, seen := map[string]transfer.Info{}, map[string]bool{}
	for _, info := range infos {
		require.True(t, info.Name == "." || seen[path.Dir(info.Name)], "%s comes before its directory", info.Name)
		seen[info.Name] = info.Mode.IsDir()
		info.ModTime = info.ModTime.Truncate(time.Second)
		got[info.Name] = info
	}
	want := map[string]transfer.Info{}
	top, err := s.Stat(t.Context(), "top")
	require.NoError(t, err)
	top.Name = "."
	want["."] = top
	var list func(dir string)
	list = func(dir string) {
		for info, err := range s.List(t.Context(), dir) {
			require.NoError(t, err)
			if info.Mode.IsDir() {
				list(info.Name)
			}
			info.Name = strings.TrimPrefix(info.Name, "top/")
			want[info.Name] = info
		}
	}
	list("top")
	for name, info := range want {
		info.ModTime = info.ModTime.Truncate(time.Second)
		want[name] = info
	}
	require.Empty(t, cmp.Diff(want, got))
	require.NoError(t, up.Close())
}
