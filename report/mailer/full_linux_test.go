package mailer_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// On a full disk a message is sent all the same, the error is ENOSPC, and no
// part of it stays in the spool.
func TestSpool_SendsFromAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("a small file system to fill cannot be mounted: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(disk, 0)) })
	dir := filepath.Join(disk, "spool")
	require.NoError(t, os.Mkdir(dir, 0o700))
	f, err := os.Create(filepath.Join(disk, "filler"))
	require.NoError(t, err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)

	e := testNotSpooled(t, dir)
	require.ErrorIs(t, e, syscall.ENOSPC)
	require.Empty(t, files(t, dir))
}
