package plain_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
)

// mounted is an empty file system of a type, of so many bytes. It takes root.
func mounted(t *testing.T, kind string, size int64) string {
	t.Helper()
	dir, _ := volume(t, kind, size)
	return dir
}

// volume is that and the file on which it lies, if it lies on one.
func volume(t *testing.T, kind string, size int64) (dir, device string) {
	t.Helper()
	dir, device = t.TempDir(), filepath.Join(t.TempDir(), "device")
	require.NoError(t, os.WriteFile(device, nil, 0o600))
	require.NoError(t, os.Truncate(device, size))
	commands := [][]string{{"mkfs." + kind, "-q", device}, {"mount", "-o", "loop", device, dir}}
	if kind == "tmpfs" {
		commands = [][]string{{"mount", "-t", "tmpfs", "-o", "size=" + strconv.FormatInt(size, 10), "tmpfs", dir}}
	}
	for _, c := range commands {
		out, err := exec.Command(c[0], c[1:]...).CombinedOutput()
		if err != nil && os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("mount %s: %v: %s", kind, err, out)
		} else if err != nil {
			t.Skipf("%s cannot be mounted: %v: %s", kind, err, out)
		}
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir, device
}

// A full disk leaves no image, not even a part, and what was there is as it was. The
// error is syscall.ENOSPC.
func TestStore_AFullDiskLeavesNoImage(t *testing.T) {
	t.Parallel()
	for kind, size := range map[string]int64{"tmpfs": 8 * mib, "ext4": 16 * mib} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := mounted(t, kind, size)
			target := open(t, dir)
			image := verified(t, target, first, content(guest(1, 2*mib)))
			before := tree(t, dir)
			var vfs syscall.Statfs_t
			require.NoError(t, syscall.Statfs(dir, &vfs))
			for _, disks := range [][][]byte{{guest(2, 64*mib)}, {guest(2, mib), guest(3, 64*mib)}} {
				_, err := target.Store(t.Context(), next, content(disks...))
				require.ErrorIs(t, err, syscall.ENOSPC)
				require.Empty(t, cmp.Diff(before, tree(t, dir)))
			}
			require.Empty(t, cmp.Diff([]vmimage.Image{image}, images(t, target)))
			to := t.TempDir()
			require.NoError(t, target.Restore(t.Context(), image, to))
			// What fits, fits still.
			store(t, target, next, content(guest(2, 2*mib)))
		})
	}
}

// Restore on a full disk leaves nothing.
func TestRestore_AFullDiskLeavesNothing(t *testing.T) {
	t.Parallel()
	to := mounted(t, "tmpfs", 2*mib)
	target := open(t, t.TempDir())
	image := verified(t, target, first, content(guest(1, mib), guest(1, 16*mib)))
	require.ErrorIs(t, target.Restore(t.Context(), image, to), syscall.ENOSPC)
	require.Empty(t, tree(t, to))
}
