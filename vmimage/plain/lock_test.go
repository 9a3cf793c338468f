package plain_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/plain"
)

// locking is the environment variable by which a test calls itself, to store an image in
// a folder and never come to an end.
const locking = "PLAIN_LOCK"

// Two programs never change the images of a machine at the same moment: the second is
// refused, and told who the first is. A program that was killed keeps nobody out.
func TestLock_KeepsTwoProgramsApart(t *testing.T) {
	if dir := os.Getenv(locking); dir != "" {
		target := open(t, dir)
		target.OnStep(func(step string) {
			if strings.HasPrefix(step, "write") {
				fmt.Println("at work")
				select {}
			}
		})
		store(t, target, later, content(guest(3, mib)))
		return
	}
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	image := verified(t, target, first, content(guest(1, mib)))
	other := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), locking+"="+dir)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "at work\n", line)

	before := tree(t, dir)
	for call, do := range map[string]func() error{
		"Store":       func() error { _, err := target.Store(t.Context(), next, content(guest(2, mib))); return err },
		"Verify":      func() error { _, err := target.Verify(t.Context(), image); return err },
		"Remove":      func() error { return target.Remove(t.Context(), image) },
		"Clean":       func() error { _, err := target.Clean(t.Context(), image.Machine); return err },
		"CleanStages": func() error { _, err := target.CleanStages(t.Context(), nil); return err },
		"Stage":       func() error { _, err := target.Stage(next); return err },
		"Adopt":       func() error { _, err := target.Adopt(t.Context(), later); return err },
		"Lock":        func() error { _, err := target.Lock(image.Machine); return err },
	} {
		var busy *plain.BusyError
		require.ErrorAs(t, do(), &busy, call)
		require.Equal(t, filepath.Join(dir, "web01"), busy.Dir)
		require.Contains(t, busy.Owner, fmt.Sprintf("pid %d on ", other.Process.Pid))
	}
	require.Empty(t, cmp.Diff(before, tree(t, dir)))
	// Others are free, and so is whoever reads.
	elsewhere := image
	elsewhere.Machine = "db"
	store(t, target, elsewhere, content(guest(2, mib)))
	require.NoError(t, target.Restore(t.Context(), image, t.TempDir()))
	require.Len(t, images(t, target), 2)

	require.NoError(t, other.Process.Kill())
	require.Error(t, other.Wait())
	removed, err := target.Clean(t.Context(), image.Machine)
	require.NoError(t, err)
	require.Equal(t, []string{".partial-" + later.ID}, removed)
	verified(t, target, later, content(guest(3, mib)))
}

// A lock holds until its last user gives it free, and no longer.
func TestLock_HoldsForAllOfItsUsers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	outer, err := a.Lock("web01")
	require.NoError(t, err)
	image := verified(t, a, first, content(guest(1, mib)))
	var busy *plain.BusyError
	_, err = b.Verify(t.Context(), image)
	require.ErrorAs(t, err, &busy)
	require.NoError(t, outer())
	_, err = b.Verify(t.Context(), image)
	require.NoError(t, err)
}
