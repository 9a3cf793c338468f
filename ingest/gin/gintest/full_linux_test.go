package gintest_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

// On a full disk a file is not stored, the reply says to come later, and what was stored
// stays; once there is room the file is taken.
func TestServer_AFullDiskIsForLater(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("a small file system to fill cannot be mounted: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	s := start(t, gintest.Config{Dir: dir})
	c := client(t, s, "all", "a")
	upload(t, c, synthetic(t, "TST", noon, 1))
	ballast := filepath.Join(dir, "ballast")
	require.ErrorIs(t, os.WriteFile(ballast, make([]byte, 1<<20), 0o644), syscall.ENOSPC)

	f := synthetic(t, "TST", noon, 2)
	_, err := c.Upload(t.Context(), f.Name, f.Data)
	_, ok := errors.AsType[*gin.LaterError](err)
	require.True(t, ok, "%v", err)
	list, err := c.Search(t.Context(), gin.Query{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, os.Remove(ballast))
	require.EqualValues(t, 2, upload(t, c, f))
}
