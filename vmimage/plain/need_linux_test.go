package plain_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// onDisk is how many bytes a file takes.
func onDisk(t *testing.T, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(path, &st))
	return st.Blocks * 512
}

// An image takes no more than vmimage.Need says of its source, whatever that is, and its
// manifest says what it takes.
func TestStore_TakesNoMoreThanItsNeed(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("qemu-img"); err != nil && os.Getenv("OBSKEEP_REQUIRE_ALL") != "1" {
		t.Skip(err)
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	run := func(command string, args ...string) string {
		t.Helper()
		out, err := exec.Command(command, args...).CombinedOutput()
		require.NoError(t, err, "%s %v: %s", command, args, out)
		return strings.TrimSpace(string(out))
	}
	text := make([]byte, 32*mib)
	for i := range text[:24*mib] {
		text[i] = "observatory "[i%12]
	}
	require.NoError(t, os.WriteFile(path("whole"), text, 0o600))
	run("cp", "--sparse=always", path("whole"), path("sparse"))
	run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", path("whole"), path("compressed"))
	run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", path("whole"), path("fine"))
	run("qemu-img", "create", "-f", "qcow2", "-b", path("compressed"), "-F", "qcow2", path("above"))
	run("fallocate", "-l", "32M", path("in advance"))
	require.NoError(t, os.Symlink(path("above"), path("link")))
	device := run("losetup", "--find", "--show", path("whole"))
	t.Cleanup(func() { run("losetup", "--detach", device) })

	for _, row := range []struct {
		rule, path, format string
		data               int64 // that are not zeros
		more               bool  // the image takes more than the file
		unread             bool  // nothing of it is read
	}{
		{"a raw file without holes", path("whole"), "raw", 24 * mib, false, false},
		{"a raw file with holes", path("sparse"), "raw", 24 * mib, false, false},
		{"a raw file preallocated, never written", path("in advance"), "raw", 0, false, true},
		{"a block device", device, "raw", 24 * mib, true, false},
		{"compressed", path("compressed"), "qcow2", 24 * mib, true, false},
		{"clusters smaller than pages", path("fine"), "qcow2", 24 * mib, false, false},
		{"above another file", path("above"), "qcow2", 24 * mib, true, false},
		{"a link to such", path("link"), "qcow2", 24 * mib, true, false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			source, err := disk.Open(row.path, row.format)
			require.NoError(t, err)
			defer source.Close()
			require.EqualValues(t, 32*mib, source.Size())
			need, err := vmimage.Need(source)
			require.NoError(t, err)
			target := open(t, t.TempDir())
			image := verified(t, target, first, vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: source}}})
			took := onDisk(t, filepath.Join(target.Dir(), "web01", image.ID, "vda.img"))
			require.Equal(t, row.data, image.Files[0].Allocated)
			require.Equal(t, row.data, took)
			require.LessOrEqual(t, took, need)
			require.Equal(t, row.unread, need == 0)
			require.Equal(t, row.more, took > onDisk(t, row.path))
		})
	}
}
