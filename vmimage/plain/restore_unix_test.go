//go:build unix

package plain_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// restoringFrom, restoringTo and restoringStep are the environment variables by which a test calls itself, to restore from a
// folder into another and be killed before a step.
const restoringFrom, restoringTo, restoringStep = "PLAIN_FROM", "PLAIN_TO", "PLAIN_AT"

// A Restore that was killed at any moment leaves no file under its name that is not whole,
// and called again it restores all, and leaves nothing else.
func TestRestore_GoesOnAfterAKillAtAnyMoment(t *testing.T) {
	if from := os.Getenv(restoringFrom); from != "" {
		target := open(t, from)
		n := 0
		target.OnStep(func(string) {
			if n++; fmt.Sprint(n) == os.Getenv(restoringStep) {
				require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
				select {}
			}
		})
		require.NoError(t, target.Restore(t.Context(), first, os.Getenv(restoringTo)))
		fmt.Println("restored in", n)
		return
	}
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	target := open(t, from)
	verified(t, target, first, content(guest(1, 9*mib), guest(2, 3*mib)))
	child := func(step int) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), restoringFrom+"="+from, restoringTo+"="+to, restoringStep+"="+fmt.Sprint(step))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := child(0)
	require.NoError(t, err, "%s", out)
	var steps int
	_, err = fmt.Sscanf(out[strings.Index(out, "restored in"):], "restored in %d", &steps)
	require.NoError(t, err)
	whole := tree(t, to)
	require.Equal(t, []string{"domain.xml", "nvram", "vda.img", "vdb.img"}, whole)
	isWhole := func(name string) bool {
		got, err := os.ReadFile(filepath.Join(to, name))
		require.NoError(t, err)
		stored, err := os.ReadFile(filepath.Join(from, "web01", first.ID, name))
		require.NoError(t, err)
		return bytes.Equal(stored, got)
	}

	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	named := steps - len(whole) + 1 // before this step the first has its name
	at := []int{1, named, named + 1, steps}
	for len(at) < 24 {
		at = append(at, 1+random.IntN(steps))
	}
	partial := 0
	for _, step := range at {
		require.NoError(t, os.RemoveAll(to))
		require.NoError(t, os.Mkdir(to, 0o700))
		out, err := child(step)
		require.Error(t, err, "%s", out)
		for _, name := range tree(t, to) {
			if strings.HasPrefix(name, ".partial-") {
				partial++
				continue
			}
			require.True(t, isWhole(name), "%s after a kill at step %d", name, step)
		}
		require.NoError(t, target.Restore(t.Context(), first, to), "after a kill at step %d", step)
		require.Equal(t, whole, tree(t, to))
		for _, name := range whole {
			require.True(t, isWhole(name), name)
		}
	}
	t.Logf("killed at %d of %d steps, which left %d files", len(at), steps, partial)
	require.NotZero(t, partial)
}

// Two Restores into one folder do not take each other's files for what a crash has left.
func TestRestore_LeavesAnotherAlone(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	image := verified(t, a, first, content(guest(1, mib)))
	second := false
	a.OnStep(func(step string) {
		if step == "create domain.xml" {
			second = true
			before := tree(t, to)
			require.NoError(t, b.Restore(t.Context(), image, to))
			require.Subset(t, tree(t, to), before)
		}
	})
	require.Error(t, a.Restore(t.Context(), image, to))
	require.True(t, second)
	require.Equal(t, []string{"domain.xml", "nvram", "vda.img"}, tree(t, to))
}
