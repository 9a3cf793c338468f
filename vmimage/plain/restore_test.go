package plain_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// What is restored is what was stored, and the target is as it was.
func TestRestore_GivesBackWhatWasStored(t *testing.T) {
	t.Parallel()
	dir, to := t.TempDir(), t.TempDir()
	target := open(t, dir)
	disks := [][]byte{guest(1, 20*mib-1), make([]byte, 8*mib), guest(2, 512)}
	image := verified(t, target, first, content(disks...))
	require.NoError(t, target.Restore(t.Context(), image, to))
	require.Equal(t, []string{"domain.xml", "nvram", "vda.img", "vdb.img", "vdc.img"}, tree(t, to))
	for i, disk := range disks {
		got, err := os.ReadFile(filepath.Join(to, fmt.Sprintf("vd%c.img", 'a'+i)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(disk, got))
	}
	require.Empty(t, cmp.Diff(images(t, target)[0], image))
}

// Restore replaces no file, not even one that comes while it works, and then leaves none.
func TestRestore_ReplacesNothing(t *testing.T) {
	t.Parallel()
	target := open(t, t.TempDir())
	image := verified(t, target, first, content(guest(1, mib)))
	for _, when := range []string{"", "create domain.xml", "name vda.img", "name nvram"} {
		to := t.TempDir()
		path := filepath.Join(to, "nvram")
		target.OnStep(func(step string) {
			if step == when {
				require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
			}
		})
		if when == "" {
			require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
		}
		require.ErrorIs(t, target.Restore(t.Context(), image, to), fs.ErrExist)
		require.Equal(t, []string{"nvram"}, tree(t, to))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "mine", string(got))
	}
	require.ErrorIs(t, target.Restore(t.Context(), image, filepath.Join(t.TempDir(), "absent")), fs.ErrNotExist)
}

// Without any program of ours an image goes back by qemu-img or by dd.
func TestStore_IsRestoredByQEMUAndDD(t *testing.T) {
	t.Parallel()
	dir, to := t.TempDir(), t.TempDir()
	disk := guest(1, 9*mib)
	image := store(t, open(t, dir), first, content(disk))
	from := filepath.Join(dir, "web01", image.ID, "vda.img")
	for _, command := range [][]string{
		{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", from, filepath.Join(to, "q")},
		{"qemu-img", "convert", "-f", "qcow2", "-O", "raw", filepath.Join(to, "q"), filepath.Join(to, "by-qemu")},
		{"dd", "if=" + from, "of=" + filepath.Join(to, "by-dd"), "bs=1M", "conv=sparse"},
	} {
		if _, err := exec.LookPath(command[0]); err != nil && os.Getenv("OBSKEEP_REQUIRE_ALL") != "1" {
			t.Skip(err)
		}
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for _, name := range []string{"by-qemu", "by-dd"} {
		got, err := os.ReadFile(filepath.Join(to, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(disk, got), name)
	}
}
