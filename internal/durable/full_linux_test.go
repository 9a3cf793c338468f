package durable_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/internal/durable"
)

// On a full disk the old content stays, the temporary file goes, and the
// error is syscall.ENOSPC.
func TestWriteFile_KeepsTheOldContentOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("a small file system to fill cannot be mounted: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()

	require.NoError(t, durable.WriteFile(root, "day", []byte("old"), 0o600))
	err = durable.WriteFile(root, "day", make([]byte, 1<<20), 0o600)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Empty(t, cmp.Diff([]string{"day"}, names(t, root)))
	got, err := root.ReadFile("day")
	require.NoError(t, err)
	require.Equal(t, "old", string(got))
}
