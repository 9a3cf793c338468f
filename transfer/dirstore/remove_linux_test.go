package dirstore_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer"
)

// asNobody takes root's rights from this goroutine, to which modes would mean
// nothing, until the test ends.
func asNobody(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	require.NoError(t, os.Chown(dir, nobody, nobody))
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // of t.TempDir
	runtime.LockOSThread()
	require.NoError(t, unix.Setfsgid(nobody))
	require.NoError(t, unix.Setfsuid(nobody))
	t.Cleanup(func() {
		require.NoError(t, unix.Setfsuid(0))
		require.NoError(t, unix.Setfsgid(0))
		runtime.UnlockOSThread()
	})
}

// Folders that their owner may not write into, or list, can be removed; what
// links in them point to stays.
func TestRemoveAll_RemovesClosedFolders(t *testing.T) {
	dir := t.TempDir()
	asNobody(t, dir)
	var closed []string
	for i, mode := range []fs.FileMode{0, 0o111, 0o444, 0o555, 0o311} {
		sub := filepath.Join(dir, "gone", string(rune('a'+i)))
		require.NoError(t, os.MkdirAll(filepath.Join(sub, "in"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(sub, "in", "file"), nil, 0o444))
		require.NoError(t, os.Symlink("../../../stays", filepath.Join(sub, "in", "link")))
		for _, name := range []string{filepath.Join(sub, "in"), sub} {
			require.NoError(t, os.Chmod(name, mode))
		}
		closed = append(closed, sub)
	}
	stays := filepath.Join(dir, "stays", "in")
	require.NoError(t, os.MkdirAll(stays, 0o755))
	require.NoError(t, os.Chmod(stays, 0o500))
	_, err := os.ReadDir(closed[0])
	require.ErrorIs(t, err, fs.ErrPermission)
	s := open(t, dir)
	require.NoError(t, s.RemoveAll(t.Context(), "gone"))
	require.NoDirExists(t, filepath.Join(dir, "gone"))

	// What is above the name that is to go is not opened, nor what it links to.
	above := filepath.Join(dir, "above")
	require.NoError(t, os.Mkdir(above, 0o755))
	require.NoError(t, os.Symlink("../stays", filepath.Join(above, "link")))
	require.NoError(t, os.Chmod(above, 0o555))
	require.ErrorIs(t, s.RemoveAll(t.Context(), "above/link"), fs.ErrPermission)
	fi, err := os.Stat(stays)
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o500, fi.Mode())
}

// What has a reserved name goes, also what List does not show, at any depth;
// the rest stays, with its modes and times, and no link is followed.
func TestRemoveReserved_LeavesTheRestAsItIs(t *testing.T) {
	dir := t.TempDir()
	asNobody(t, dir)
	old := time.Date(2026, 9, 25, 4, 30, 0, 5, time.UTC)
	elsewhere := filepath.Join(dir, "elsewhere", transfer.ReservedPrefix+"part-3")
	for _, name := range []string{
		elsewhere,
		filepath.Join(dir, "top", "a"), filepath.Join(dir, "top", "sub", "b"),
		filepath.Join(dir, "top", "sub", transfer.ReservedPrefix+"part-1"),
		filepath.Join(dir, "top", "sub", transfer.ReservedPrefix+"kept-1"),
		filepath.Join(dir, "top", transfer.ReservedPrefix+"stage-x", "c"),
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, nil, 0o644))
	}
	require.NoError(t, os.Symlink("../../elsewhere", filepath.Join(dir, "top", "sub", "link")))
	require.NoError(t, os.Symlink("b", filepath.Join(dir, "top", "sub", transfer.ReservedPrefix+"link-2")))
	for _, name := range []string{filepath.Join(dir, "top", "sub"), filepath.Join(dir, "top")} {
		require.NoError(t, os.Chtimes(name, old, old))
		require.NoError(t, os.Chmod(name, 0o555))
		t.Cleanup(func() { os.Chmod(name, 0o755) })
	}
	s := open(t, dir)
	require.NoError(t, s.RemoveReserved(t.Context(), "top"))
	for name, mode := range map[string]fs.FileMode{".": 0o555, "a": 0o644, "sub": 0o555, "sub/b": 0o644} {
		fi, err := os.Stat(filepath.Join(dir, "top", name))
		require.NoError(t, err)
		require.Equal(t, mode, fi.Mode().Perm(), name)
		require.True(t, !fi.IsDir() || old.Equal(fi.ModTime()), "%s: %v", name, fi.ModTime())
	}
	var left []string
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "top"), func(name string, _ fs.DirEntry, err error) error {
		left = append(left, filepath.Base(name))
		return err
	}))
	require.Equal(t, []string{"top", "a", "sub", "b", "link"}, left)
	require.FileExists(t, elsewhere)
	require.ErrorIs(t, s.RemoveReserved(t.Context(), "../top"), transfer.ErrName)
	require.ErrorIs(t, s.RemoveReserved(t.Context(), "none"), fs.ErrNotExist)
}
