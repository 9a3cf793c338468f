package sshstore_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// mount mounts a small file system in memory.
func mount(t *testing.T, options string) string {
	t.Helper()
	sshtest.Need(t, "mount", "umount")
	dir := t.TempDir()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "obskeep-test", dir).CombinedOutput()
	if err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatalf("mount: %v: %s", err, out)
		}
		t.Skipf("mounting needs root: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// A full disk is told as such, though SFTP has no word for it; what was there
// stays.
func TestStore_TellsAFullDisk(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=3m")
	// The store is on another volume: the disk that counts is the file's.
	s := open(t, sshtest.Start(t).Config(), filepath.Dir(dir))
	name := filepath.Base(dir) + "/x"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), []byte("kept"), 0o600))
	up, err := s.Create(t.Context(), transfer.Info{Name: name, Size: 8 << 20, Mode: 0o600})
	require.NoError(t, err)
	_, err = up.Write(make([]byte, 8<<20))
	if err == nil {
		err = up.Commit(t.Context(), true)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	t.Log(err)
	require.NoError(t, up.Close())
	text, err := os.ReadFile(filepath.Join(dir, "x"))
	require.NoError(t, err)
	require.Equal(t, "kept", string(text))
}

// A disk without inodes is full, too.
func TestStore_TellsADiskWithoutInodes(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=3m,nr_inodes=2")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	s := open(t, sshtest.Start(t).Config(), dir)
	_, err := s.Create(t.Context(), transfer.Info{Name: "y", Mode: 0o600})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, s.Mkdir(t.Context(), transfer.Info{Name: "d", Mode: os.ModeDir | 0o755}), syscall.ENOSPC)
}

// A disk that is mounted read-only is told as such by all that would write.
func TestStore_TellsAReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir := mount(t, "size=3m")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	sshtest.Shell(t, "", "mount -o remount,ro "+dir)
	s := open(t, sshtest.Start(t).Config(), dir)
	ctx := t.Context()
	_, err := s.Create(ctx, transfer.Info{Name: "y", Mode: 0o600})
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorIs(t, s.Mkdir(ctx, transfer.Info{Name: "d", Mode: os.ModeDir | 0o755}), syscall.EROFS)
	require.ErrorIs(t, s.Remove(ctx, "x"), syscall.EROFS)
	require.ErrorIs(t, s.Rename(ctx, "x", "y"), syscall.EROFS)
	require.ErrorIs(t, s.SetInfo(ctx, transfer.Info{Name: "x", Mode: 0o644, ModTime: time.Now()}), syscall.EROFS)
	require.ErrorIs(t, s.Symlink(ctx, transfer.Info{Name: "l", Target: "x", Mode: os.ModeSymlink}), syscall.EROFS)
}

// Usage is what df says, of the volume that a name is on or would be on.
func TestUsage_IsWhatDfSays(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "df")
	dir := mount(t, "size=3m,nr_inodes=100")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), make([]byte, 100_000), 0o600))
	s := open(t, sshtest.Start(t).Config(), dir)
	out := sshtest.Shell(t, "", "df --block-size=1 --output=size,avail,itotal,iavail "+dir+" | tail -1")
	for _, name := range []string{".", "x", "not/there/yet"} {
		u, err := s.Usage(t.Context(), name)
		require.NoError(t, err)
		var size, avail, itotal, iavail uint64
		_, err = fmt.Sscan(out, &size, &avail, &itotal, &iavail)
		require.NoError(t, err)
		require.Equal(t, []uint64{size, avail, itotal, iavail}, []uint64{u.Total, u.Avail, u.TotalInodes, u.Inodes}, name)
		require.Equal(t, u.Avail, u.Free)
	}

	other := open(t, sshtest.Start(t).Config(), mount(t, "size=1m"))
	a, err := s.Usage(t.Context(), ".")
	require.NoError(t, err)
	b, err := s.Usage(t.Context(), "x")
	require.NoError(t, err)
	c, err := other.Usage(t.Context(), ".")
	require.NoError(t, err)
	require.Equal(t, a.Volume, b.Volume)
	require.NotEqual(t, a.Volume, c.Volume)
}
