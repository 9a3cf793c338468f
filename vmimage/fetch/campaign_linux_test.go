package fetch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// campaign is a server with three images of two disks, of which the first is here.
type campaign struct {
	there  string
	images []vmimage.Image
}

func newCampaign(t *testing.T) *campaign {
	c := &campaign{there: t.TempDir()}
	a, b := guest(1, 4*mib), guest(2, mib)
	for i := range 3 {
		c.images = append(c.images, put(t, c.there, at("web01", 7*i), a, b))
		a, b = changed(uint64(10+i), a, 0.2), guest(uint64(20+i), mib)
	}
	return c
}

// begin is a new folder that has the first image.
func (c *campaign) begin(t *testing.T) string {
	t.Helper()
	here := t.TempDir()
	cmd := exec.Command("cp", "-a", "--parents", plain.Name("web01", c.images[0].ID), here)
	cmd.Dir = c.there
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return here
}

// whole checks what must be true at every moment: what is listed is verified and right, and
// the newest good image is no older than it was.
func (c *campaign) whole(t *testing.T, here string, best int) (now int) {
	t.Helper()
	names := ids(t, here)
	require.NotEmpty(t, names)
	for i, image := range c.images {
		if names[len(names)-1] == plain.Name("web01", image.ID) {
			now = i
		}
	}
	require.GreaterOrEqual(t, now, best)
	return now
}

// ended checks that all is fetched and nothing is left.
func (c *campaign) ended(t *testing.T, here string) {
	t.Helper()
	require.Subset(t, ids(t, here), []string{"web01/" + c.images[1].ID, "web01/" + c.images[2].ID})
	require.Empty(t, stages(t, here))
}

// The newest good image is there at every moment, also when the run is killed at any, and
// nothing that is not verified is listed; in the end all is there.
func TestRun_SurvivesAKillAtAnyMoment(t *testing.T) {
	t.Parallel()
	const sides, kills = 4, 10 // of each: most of a run is spent waiting
	sshd := sshtest.Start(t)
	c := newCampaign(t)
	self, err := os.Executable()
	require.NoError(t, err)
	for range sides {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			child := func(here string) *exec.Cmd {
				text, err := json.Marshal(job{sshd.Addr, sshd.User, sshd.Key, sshd.KnownHosts, c.there, here})
				require.NoError(t, err)
				cmd := exec.Command(self)
				cmd.Env = append(os.Environ(), runJob+"="+string(text), "GORACE=atexit_sleep_ms=0")
				return cmd
			}
			here := c.begin(t)
			begun := time.Now()
			out, err := child(here).CombinedOutput()
			require.NoError(t, err, "%s", out)
			usual := time.Since(begun)
			c.ended(t, here)

			killed, rounds := 0, 0
			for ; killed < kills; rounds++ {
				here, best := c.begin(t), 0
				for {
					cmd := child(here)
					var text bytes.Buffer
					cmd.Stdout, cmd.Stderr = &text, &text
					require.NoError(t, cmd.Start())
					timer := time.AfterFunc(time.Duration(random.Int64N(int64(usual))), func() { _ = cmd.Process.Kill() }) // or it has ended
					err := cmd.Wait()
					timer.Stop()
					best = c.whole(t, here, best)
					if err == nil {
						break
					}
					require.Equal(t, syscall.SIGKILL, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(), "%v: %s", err, text.String())
					killed++
				}
				c.ended(t, here)
			}
			t.Logf("%d kills in %d rounds, within %v each", killed, rounds, usual)
		})
	}
}

// The newest good image is there at every moment, also when the network is cut anywhere; what
// was fetched of it is not fetched again, and in the end all is there.
func TestRun_SurvivesCutsAnywhere(t *testing.T) {
	t.Parallel()
	for _, rsync := range []bool{true, false} {
		t.Run(fmt.Sprintf("rsync=%v", rsync), func(t *testing.T) {
			t.Parallel()
			var lines []string
			if !rsync {
				lines = append(lines, sshtest.Instead(t, "rsync", "exit 127"))
			}
			sshd := sshtest.Start(t, lines...)
			proxy := sshtest.NewProxy(t, sshd.Addr)
			c := newCampaign(t)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			cuts := 0
			for cuts < 20 {
				w := worldAt(t, c.there, c.begin(t))
				w.policy = campaignPolicy
				w.over(t, sshd.Via(t, proxy))
				for best, tries := 0, 1; ; tries++ {
					var at []int64
					for next := int64(0); len(at) < 6; at = append(at, next) {
						next += 1 + random.Int64N(2*mib)
					}
					proxy.CutAt(at...)
					results, err := w.run(t)
					cuts += len(at) - proxy.CutsLeft()
					proxy.CutAt()
					for _, r := range results {
						if err == nil && r.Err != nil {
							err = r.Err
						}
					}
					best = c.whole(t, w.here, best)
					if err == nil {
						break
					}
					require.ErrorIs(t, err, transfer.ErrLost)
					require.Less(t, tries, 30, "it gets nowhere: %v", err)
				}
				c.ended(t, w.here)
			}
			t.Logf("%d cuts", cuts)
		})
	}
}

// What a run that was cut has fetched of a file is not fetched again.
func TestRun_ResumesWhereItWasCut(t *testing.T) {
	t.Parallel()
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	w := newWorld(t)
	w.over(t, sshd.Via(t, proxy))
	put(t, w.there, at("web01", 0), noise(1, 24*mib))
	f, err := fetch.New(fetch.Config{Source: w.source, Keeper: vmimage.Keeper{Target: w.target}, Transfer: &transfer.Options{Retries: -1}})
	require.NoError(t, err)
	p, err := f.Plan(t.Context())
	require.NoError(t, err)
	proxy.CutAt(16 * mib)
	require.NoError(t, f.Run(t.Context(), p, func(r fetch.Result) { require.ErrorIs(t, r.Err, transfer.ErrLost) }))
	p, err = f.Plan(t.Context())
	require.NoError(t, err)
	require.Greater(t, p.Fetch[0].Staged, int64(4*mib))
	_, stats := w.fetched(t)
	t.Logf("%d resumed, %d matched, %d literal", stats.Resumed, stats.Matched, stats.Literal)
	require.Less(t, stats.Literal, int64(20*mib))
}

// mount mounts a file system in memory of its own.
func mount(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+strconv.Itoa(size), "tmpfs", dir).CombinedOutput()
	if err != nil && os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
		t.Fatalf("mount: %v: %s", err, out)
	} else if err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// A disk that is full, and is found to be only when it is written to, loses nothing and is
// ENOSPC; when there is room, the next run goes on.
func TestRun_AFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	w := worldAt(t, t.TempDir(), mount(t, 16*mib))
	older := w.both(t, at("web01", 0), noise(1, 4*mib))
	put(t, w.there, at("web01", 7), noise(2, 8*mib))
	put(t, w.there, at("db", 8), noise(3, mib))
	folder := filepath.Join(w.here, "web01", older.ID)
	before := tree(t, folder)
	f := w.fetcher(t)
	p, err := f.Plan(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Short)

	ballast := filepath.Join(w.here, "ballast")
	f, err = fetch.New(fetch.Config{Source: w.source, Keeper: vmimage.Keeper{Target: w.target, Space: diskspace.Planner{
		Stat: func(string) (diskspace.Usage, error) { return diskspace.Usage{Avail: 1 << 40, Total: 1 << 41}, nil },
	}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(ballast, make([]byte, 8*mib), 0o600))
	var results []fetch.Result
	require.NoError(t, f.Run(t.Context(), p, func(r fetch.Result) { results = append(results, r) }))
	require.Len(t, results, 2)
	require.ErrorIs(t, results[0].Err, syscall.ENOSPC)
	require.Equal(t, report.Failed, results[0].Job().Outcome)
	require.NoError(t, results[1].Err, "what fits is fetched")
	require.Empty(t, cmp.Diff(before, tree(t, folder)))
	require.Len(t, ids(t, w.here), 2)

	require.NoError(t, os.Remove(ballast))
	w.fetched(t)
	require.Len(t, ids(t, w.here), 3)
}

// What can make room goes before anything is fetched, and if that is not enough nothing is
// removed and nothing fetched.
func TestRun_MakesRoomFirstOrDoesNothing(t *testing.T) {
	t.Parallel()
	w := worldAt(t, t.TempDir(), mount(t, 16*mib))
	w.policy = vmimage.Policy{Last: 2}
	for i := range 3 { // one more than the policy keeps
		w.both(t, at("web01", i), noise(uint64(i), 4*mib))
	}
	put(t, w.there, at("web01", 7), noise(9, 6*mib))
	p, err := w.fetcher(t).Plan(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Short)
	require.Len(t, p.MakeRoom, 1)
	require.Equal(t, at("", 0).ID, p.MakeRoom[0].ID)
	results, err := w.run(t)
	require.NoError(t, err)
	require.Len(t, results, 1)
	require.NoError(t, results[0].Err)
	require.Len(t, results[0].Removed, 2)
	require.Equal(t, []string{"web01/" + at("", 2).ID, "web01/" + at("", 7).ID}, ids(t, w.here))

	put(t, w.there, at("web01", 8), noise(10, 12*mib))
	before := tree(t, w.here)
	results, err = w.run(t)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Empty(t, results)
	require.Empty(t, cmp.Diff(before, tree(t, w.here)))
}

// The images of a machine need the room of those that go after each of them only once.
func TestPlan_CountsTheRoomThatIsTakenAtAnyMoment(t *testing.T) {
	t.Parallel()
	w := worldAt(t, t.TempDir(), mount(t, 32*mib))
	w.policy = vmimage.Policy{Last: 2}
	for i := range 2 {
		w.both(t, at("web01", i), noise(uint64(i), 4*mib))
		put(t, w.there, at("web01", 7+i), noise(uint64(10+i), 4*mib))
	}
	p, err := w.fetcher(t).Plan(t.Context())
	require.NoError(t, err)
	require.Len(t, p.Fetch, 2)
	require.InDelta(t, 4*mib, float64(p.Need.Bytes), mib)
	w.fetched(t)
}

// Holes stay holes, whichever way the bytes come.
func TestRun_HolesStayHoles(t *testing.T) {
	t.Parallel()
	sparse := make([]byte, 24*mib)
	copy(sparse[5*mib:], noise(1, mib))
	copy(sparse[20*mib+12345:], noise(2, 300<<10))
	dense := guest(3, 8*mib)
	for _, way := range []string{"rsync", "SFTP alone", "a folder"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			switch way {
			case "rsync":
				w.over(t, sshtest.Start(t).Config())
			case "SFTP alone":
				w.over(t, sshtest.Start(t, sshtest.Instead(t, "rsync", "exit 127")).Config())
			}
			for i, disk := range [][]byte{sparse, dense} {
				name := fmt.Sprintf("vm%d", i)
				w.both(t, at(name, 0), disk)
				image := put(t, w.there, at(name, 7), changed(7, disk, 0.01))
				whole := put(t, w.there, at("first-of-"+name, 0), disk)
				w.fetched(t)
				for _, image := range []vmimage.Image{image, whole} {
					there, here := blocks(t, w.there, image), blocks(t, w.here, image)
					t.Logf("%s: %d bytes, %d on the disk there, %d here", image.Machine, len(disk), there, here)
					require.InDelta(t, float64(there), float64(here), 0.1*float64(there)+64<<10)
				}
			}
		})
	}
}

// blocks is what the first disk of an image takes in a folder, in bytes.
func blocks(t *testing.T, dir string, image vmimage.Image) int64 {
	t.Helper()
	var st syscall.Stat_t
	require.NoError(t, syscall.Stat(filepath.Join(dir, image.Machine, image.ID, "vda.img"), &st))
	return st.Blocks * 512
}
