package plain_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// cutPower has a file system write nothing any more, not even its journal, as if the
// power had gone: FS_IOC_SHUTDOWN without flushing the log.
func cutPower(t *testing.T, dir string) {
	t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(d.Fd()), shutdown, noLogFlush))
}

// What a call has done when it returns nil is there after a power cut, and a power cut
// before any step of it leaves whole images, or none.
func TestImages_AreWholeAfterAPowerCutAtAnyStep(t *testing.T) {
	t.Parallel()
	for kind, size := range map[string]int64{"ext4": 32 * mib, "xfs": 512 * mib} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			top, device := volume(t, kind, size)
			dir := filepath.Join(top, "images")
			again := func() { // the power comes back
				t.Helper()
				// A process that another test is just starting may hold it for a moment.
				require.Eventually(t, func() bool { return syscall.Unmount(top, 0) == nil }, 10*time.Second, 10*time.Millisecond)
				out, err := exec.Command("mount", "-o", "loop", device, top).CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			for _, call := range []string{"store", "verify", "remove", "clean"} {
				for n := 1; ; n++ {
					require.NoError(t, os.RemoveAll(dir))
					require.NoError(t, os.Mkdir(dir, 0o700))
					target := open(t, dir)
					verified(t, target, first, content(guest(1, 64<<10)))
					store(t, target, second, content(guest(2, 64<<10)))
					steps := 0
					target.OnStep(func(string) {
						if steps++; steps == n {
							cutPower(t, top)
						}
					})
					err := calls[call](t, target)
					require.NoError(t, target.Close())
					done := steps < n
					if done {
						require.NoError(t, err)
						cutPower(t, top)
					}
					again()
					listed, wasVerified := make(map[string]bool), make(map[string]bool)
					for _, i := range intact(t, dir, call == "remove") {
						listed[i.ID], wasVerified[i.ID] = true, !i.Verified.IsZero()
					}
					if err == nil {
						require.Equal(t, call == "store", listed[third.ID], "%s, power cut behind step %d", call, n)
						require.Equal(t, call == "verify", wasVerified[second.ID])
						require.Equal(t, call != "remove", listed[second.ID])
					}
					if done {
						t.Logf("%s has %d steps", call, n-1)
						break
					}
				}
			}
		})
	}
}
