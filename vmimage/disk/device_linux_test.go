package disk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A block device is as long as it says, and read in full.
func TestOpen_ReadsBlockDevices(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	dir := t.TempDir()
	raw, qcow2 := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
	want := content(3<<20 + 512)
	require.NoError(t, os.WriteFile(raw, want, 0o600))
	run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	device := func(path string) string {
		out, err := exec.Command("losetup", "--find", "--show", path).CombinedOutput()
		if err != nil && os.Getenv("OBSKEEP_REQUIRE_ALL") != "1" {
			t.Skipf("%v: %s", err, out)
		}
		require.NoError(t, err, "%s", out)
		name := strings.TrimSpace(string(out))
		t.Cleanup(func() { run(t, "losetup", "--detach", name) })
		return name
	}
	same(t, want, rebuilt(t, open(t, device(raw), "raw")))
	same(t, want, rebuilt(t, open(t, device(qcow2), "qcow2"))[:len(want)])

	// Also beneath a file.
	top := filepath.Join(dir, "top")
	run(t, "qemu-img", "create", "-f", "qcow2", "-b", device(raw), "-F", "raw", top)
	check(t, top, "qcow2")
}
