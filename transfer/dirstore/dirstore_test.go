package dirstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/storetest"
)

func open(t *testing.T, dir string) *dirstore.Store {
	t.Helper()
	s, err := dirstore.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) transfer.Store { return open(t, t.TempDir()) })
}

var (
	_ transfer.Tree   = (*dirstore.Store)(nil)
	_ transfer.Hasher = (*dirstore.Store)(nil)
	_ transfer.Clock  = (*dirstore.Store)(nil)
)

// No name leads out of the directory, whatever symbolic links lie in it.
func TestStore_NoNameLeadsOutOfTheDirectory(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "out")))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "file")))
	s := open(t, dir)
	ctx := t.Context()

	_, err := s.Open(ctx, "out/secret", 0)
	require.Error(t, err)
	_, err = s.Create(ctx, transfer.Info{Name: "out/new", Size: 1, Mode: 0o644})
	require.Error(t, err)
	require.Error(t, s.Remove(ctx, "out/secret"))
	require.Error(t, s.Mkdir(ctx, transfer.Info{Name: "out/dir", Mode: os.ModeDir | 0o755}))
	require.Error(t, s.Symlink(ctx, transfer.Info{Name: "out/link", Target: "x"}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "inside"), nil, 0o600))
	require.Error(t, s.Rename(ctx, "inside", "out/inside"))
	require.Error(t, s.SetInfo(ctx, transfer.Info{Name: "out/secret", Mode: 0o777, ModTime: time.Now()}))
	for _, err := range s.List(ctx, "out") {
		require.Error(t, err)
	}

	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, left, 1)
	fi, err := os.Stat(secret)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode())
}

// Symbolic links are never read through, also those that stay inside.
func TestStore_NeverReadsThroughALink(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "target"), []byte("target"), 0o600))
	require.NoError(t, os.Symlink("target", filepath.Join(dir, "link")))
	s := open(t, dir)
	_, err := s.Open(t.Context(), "link", 0)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = s.HashPrefix(t.Context(), "link", 1)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// An upload that another process has begun is left alone.
func TestCreate_LeavesAnotherProcessAlone(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir) // kernel locks tell two openings apart as they do two processes
	info := transfer.Info{Name: "x", Size: 2, Mode: 0o644}
	up, err := a.Create(t.Context(), info)
	require.NoError(t, err)
	_, err = b.Create(t.Context(), info)
	require.ErrorIs(t, err, transfer.ErrBusy)
	_, err = up.Write([]byte("ab"))
	require.NoError(t, err)
	require.NoError(t, up.Commit(t.Context(), true))
	require.NoError(t, up.Close())
	got, err := os.ReadFile(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.Equal(t, "ab", string(got))
}

// A committed object has the nanoseconds of its time.
func TestCommit_KeepsNanoseconds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	when := time.Date(2026, 9, 25, 4, 30, 0, 123456789, time.UTC)
	up, err := s.Create(t.Context(), transfer.Info{Name: "x", ModTime: when, Mode: 0o644})
	require.NoError(t, err)
	require.NoError(t, up.Commit(t.Context(), false))
	require.NoError(t, up.Close())
	fi, err := os.Stat(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.True(t, fi.ModTime().Equal(when), "%v", fi.ModTime())
}
