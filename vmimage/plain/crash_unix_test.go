//go:build unix

package plain_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// crashing are the environment variables by which a test calls itself, to be killed:
// the folder, what is done there, and before which step the kill comes.
const crashing, doing, before = "PLAIN_CRASH", "PLAIN_DO", "PLAIN_STEP"

// calls are what is interrupted. Each finds first, which is verified, and second, which
// is not.
var calls = map[string]func(t *testing.T, target *plain.Target) error{
	"store": func(t *testing.T, target *plain.Target) error {
		_, err := target.Store(t.Context(), third, content(guest(3, 200<<10), guest(4, 64<<10)))
		return err
	},
	"verify": func(t *testing.T, target *plain.Target) error {
		_, err := target.Verify(t.Context(), second)
		return err
	},
	"remove": func(t *testing.T, target *plain.Target) error { return target.Remove(t.Context(), second) },
	"clean": func(t *testing.T, target *plain.Target) error {
		left := filepath.Join(target.Dir(), "web01", ".partial-"+third.ID)
		if err := os.Mkdir(left, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		_, err := target.Clean(t.Context(), "web01")
		return err
	},
}

var second, third = next, at(taken.Add(2 * time.Hour))

// intact checks what must be true after any crash: the images are whole, those that were
// there are still, and nothing is left when Clean has been.
func intact(t *testing.T, dir string, removed bool) []vmimage.Image {
	t.Helper()
	target, err := plain.Open(dir, nil)
	require.NoError(t, err)
	defer target.Close()
	listed := images(t, target)
	_, err = target.Clean(t.Context(), "web01")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(listed, images(t, target)), "Clean has changed the images")
	want := []string{"web01"}
	var ids []string
	for _, i := range listed {
		v, err := target.Verify(t.Context(), i)
		require.NoError(t, err)
		require.NotZero(t, v.Verified)
		ids = append(ids, i.ID)
		folder := "web01/" + i.ID
		want = append(want, folder, folder+"/SHA256SUMS", folder+"/image.json")
		for _, f := range i.Files {
			want = append(want, folder+"/"+f.Name)
		}
	}
	slices.Sort(want)
	got := tree(t, dir)
	slices.Sort(got)
	require.Empty(t, cmp.Diff(want, got))
	require.Contains(t, ids, first.ID)
	if !removed {
		require.Contains(t, ids, second.ID)
	}
	return listed
}

// A crash before any step of a call leaves whole images, or none, and what else it leaves
// Clean removes. The call then succeeds.
func TestImages_AreWholeAfterACrashAtAnyStep(t *testing.T) {
	if dir := os.Getenv(crashing); dir != "" {
		target := open(t, dir)
		n := 0
		target.OnStep(func(step string) {
			n++
			if fmt.Sprint(n) == os.Getenv(before) {
				fmt.Println("killed before", step)
				require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
				select {}
			}
		})
		require.NoError(t, calls[os.Getenv(doing)](t, target))
		fmt.Println("done")
		return
	}
	t.Parallel()
	for call := range calls {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				dir := t.TempDir()
				target := open(t, dir)
				verified(t, target, first, content(guest(1, 64<<10)))
				store(t, target, second, content(guest(2, 64<<10)))
				cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$")
				cmd.Env = append(os.Environ(), crashing+"="+dir, doing+"="+call, before+"="+fmt.Sprint(n))
				out, err := cmd.CombinedOutput()
				killed, done := strings.Contains(string(out), "killed before"), strings.Contains(string(out), "done")
				require.True(t, killed != done, "%v: %s", err, out)
				t.Log(n, strings.TrimSpace(string(out)))
				listed := intact(t, dir, call == "remove")
				if done {
					require.Greater(t, n, 1)
					return
				}
				if call == "store" && len(listed) == 3 || call == "remove" && len(listed) == 1 {
					continue // it was done
				}
				require.NoError(t, calls[call](t, open(t, dir)))
				intact(t, dir, call == "remove")
			}
		})
	}
}

// The same for a process that is killed at any moment, fifty times.
func TestImages_AreWholeAfterAKillAtAnyMoment(t *testing.T) {
	if dir := os.Getenv(crashing); dir != "" {
		target := open(t, dir)
		fmt.Println("begun")
		for i := 0; ; i++ {
			image := third
			image.ID = fmt.Sprintf("%s-%d-%d", third.ID, os.Getpid(), i)
			stored := store(t, target, image, content(guest(uint64(i), 2*mib)))
			_, err := target.Verify(t.Context(), stored)
			require.NoError(t, err)
			for _, i := range images(t, target) {
				if i.ID != image.ID && i.ID != first.ID {
					require.NoError(t, target.Remove(t.Context(), i))
				}
			}
			_, err = target.Clean(t.Context(), "web01")
			require.NoError(t, err)
		}
	}
	t.Parallel()
	dir := t.TempDir()
	verified(t, open(t, dir), first, content(guest(1, 64<<10)))
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	partial := 0
	for range 50 {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), crashing+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "begun\n", line)
		time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
		if slices.ContainsFunc(tree(t, dir), func(name string) bool { return strings.Contains(name, ".partial-") }) {
			partial++
		}
		intact(t, dir, true)
	}
	t.Logf("%d of 50 left something", partial)
	require.NotZero(t, partial)
}
