//go:build linux

package rsync_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// Whatever option decides about a file, the tree comes out as it does between
// two rsyncs.
func TestInterop_OptionsMeanWhatTheyMeanToRsync(t *testing.T) {
	needRsync(t)
	src, old := t.TempDir(), t.TempDir()
	sample(t, src)
	stale(t, src, old)
	write(t, src, "keep/me.log", []byte("log"))
	write(t, src, "keep/me.dat", []byte("dat"))
	write(t, old, "keep/old.log", []byte("old log"))
	write(t, old, "keep/old.dat", []byte("old dat"))
	write(t, old, "vacant/not", []byte("not vacant"))
	write(t, src, "newer", []byte("source"))
	write(t, old, "newer", []byte("target is newer"))
	write(t, src, "grown", random(5, 200_000))
	write(t, old, "grown", random(5, 200_000)[:150_000])
	write(t, src, "same-size", []byte("aaaa"))
	write(t, old, "same-size", []byte("bbbb"))
	for name, at := range map[string]time.Time{"newer": noon, "grown": noon, "same-size": noon, "keep/me.log": noon, "keep/me.dat": noon} {
		require.NoError(t, os.Chtimes(filepath.Join(src, name), at, at))
	}
	for _, name := range []string{"keep", "."} {
		require.NoError(t, os.Chtimes(filepath.Join(src, name), noon, noon))
	}
	require.NoError(t, os.Chtimes(filepath.Join(old, "same-size"), noon, noon))
	for _, row := range []struct {
		args string
		o    rsync.Options
	}{
		{"-r", rsync.Options{Recursive: true}},
		{"-rt", rsync.Options{Recursive: true, Times: true}},
		{"-rlpt", rsync.Options{Recursive: true, Links: true, Perms: true, Times: true}},
		{"-rltu", rsync.Options{Recursive: true, Links: true, Times: true, Update: true}},
		{"-rlt --existing", rsync.Options{Recursive: true, Links: true, Times: true, Existing: true}},
		{"-rlt --ignore-existing", rsync.Options{Recursive: true, Links: true, Times: true, IgnoreExisting: true}},
		{"-rlt --size-only", rsync.Options{Recursive: true, Links: true, Times: true, SizeOnly: true}},
		{"-rltI", rsync.Options{Recursive: true, Links: true, Times: true, IgnoreTimes: true}},
		{"-rltc", rsync.Options{Recursive: true, Links: true, Times: true, Checksum: true}},
		{"-rltn --delete", rsync.Options{Recursive: true, Links: true, Times: true, DryRun: true, Delete: rsync.DeleteDuring}},
		{"-rlt --delete --filter=-_*.log", rsync.Options{Recursive: true, Links: true, Times: true, Delete: rsync.DeleteDuring, Filter: []string{"- *.log"}}},
		{"-rlt --delete --delete-excluded --filter=-_*.log", rsync.Options{Recursive: true, Links: true, Times: true, Delete: rsync.DeleteDuring, DeleteAll: true, Filter: []string{"- *.log"}}},
		{"-rlt --filter=+_*/ --filter=+_*.dat --filter=-_*", rsync.Options{Recursive: true, Links: true, Times: true, Filter: []string{"+ */", "+ *.dat", "- *"}}},
		{"-rlt --delete --filter=-_/sub/", rsync.Options{Recursive: true, Links: true, Times: true, Delete: rsync.DeleteBefore, Filter: []string{"- /sub/"}}},
		{"-rlt --append", rsync.Options{Recursive: true, Links: true, Times: true, AppendBlind: true}},
		{"-rlt --append-verify", rsync.Options{Recursive: true, Links: true, Times: true, Append: true}},
		{"-dlt", rsync.Options{Dirs: true, Links: true, Times: true}},
		{"-lt", rsync.Options{Links: true, Times: true}},
		{"-rltOJ", rsync.Options{Recursive: true, Links: true, Times: true, OmitDirTimes: true, OmitLinkTimes: true}},
		{"-rlt --force", rsync.Options{Recursive: true, Links: true, Times: true, Force: true}},
		{"-rltH --inplace", rsync.Options{Recursive: true, Links: true, Times: true, HardLinks: true, InPlace: true}},
	} {
		args := strings.Fields(row.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "_", " ")
		}
		reference := t.TempDir()
		copyTree(t, old, reference)
		out, err := exec.Command("rsync", append(append([]string{}, args...), src+"/", reference+"/")...).CombinedOutput()
		if _, exit := err.(*exec.ExitError); err != nil && !exit {
			require.NoError(t, err)
		}
		t.Logf("%s: %s", row.args, out)
		want := timeless(tree(t, reference), row.o.Times)
		for _, pair := range [][2]peer{{ours, debian}, {debian, ours}, {ours, ours}} {
			for _, push := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s to %s push=%v", row.args, pair[0], pair[1], push), func(t *testing.T) {
					t.Parallel()
					dst := t.TempDir()
					copyTree(t, old, dst)
					o := row.o
					_, err := run(t, pair[0], pair[1], push, src, dst, &o, args...)
					t.Log(err)
					got := timeless(tree(t, dst), row.o.Times)
					if row.o.IgnoreExisting {
						// rsync gives the file the time of the directory that it is not.
						e := got["sub0"]
						e.Time = want["sub0"].Time
						got["sub0"] = e
					}
					require.Empty(t, cmp.Diff(want, got))
				})
			}
		}
	}
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// timeless is a tree without the times that nobody has set.
func timeless(m map[string]entry, times bool) map[string]entry {
	out := map[string]entry{}
	for name, e := range m {
		if at, err := time.Parse(time.RFC3339Nano, e.Time); !times || err != nil || time.Since(at) < time.Hour {
			e.Time = ""
		}
		out[name] = e
	}
	return out
}

// What is mounted below a tree is neither sent nor deleted, if so asked.
func TestInterop_StaysOnOneFileSystem(t *testing.T) {
	needRsync(t)
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "file", nil)
	for _, dir := range []string{src + "/mounted", dst + "/mounted-here"} {
		require.NoError(t, os.Mkdir(dir, 0o755))
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
				t.Fatal(err)
			}
			t.Skip("cannot mount:", err)
		}
		t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
		write(t, dir, "x", nil)
	}
	o := &rsync.Options{Recursive: true, OneFileSystem: true, Delete: rsync.DeleteDuring}
	for _, p := range pairs {
		for _, push := range []bool{true, false} {
			write(t, dst, "not/there", nil)
			_, err := run(t, p[0], p[1], push, src, dst, o, "-rx", "--delete")
			t.Log(err)
			for name, there := range map[string]bool{"file": true, "mounted": true, "mounted/x": false, "mounted-here/x": true, "not": false} {
				_, err := os.Stat(filepath.Join(dst, name))
				require.Equal(t, there, err == nil, "%v push=%v: %s", p, push, name)
			}
			require.NoError(t, os.RemoveAll(filepath.Join(dst, "mounted")))
		}
	}
}

// A limit on the bandwidth holds for whoever sends.
func TestInterop_KeepsToTheBandwidth(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	write(t, src, "x", random(1, 600<<10))
	for _, p := range pairs {
		for _, push := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s to %s push=%v", p[0], p[1], push), func(t *testing.T) {
				t.Parallel()
				begun := time.Now()
				_, err := run(t, p[0], p[1], push, src, t.TempDir(), &rsync.Options{Recursive: true, Bandwidth: 1 << 20}, "-r", "--bwlimit=1024")
				require.NoError(t, err)
				require.Greater(t, time.Since(begun), 400*time.Millisecond)
			})
		}
	}
}
