package vmtest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// overlaid is a host with a machine whose disk has an overlay, with some data in it.
func overlaid(t *testing.T, b vmtest.Behaviour) (host *vmtest.Host, uuid string) {
	t.Helper()
	host, uuid = newHost(t, vmtest.Config{State: virt.Running, Behaviour: b})
	require.NoError(t, host.Snapshot(t.Context(), uuid, []virt.Overlay{{Disk: "vda", Path: filepath.Join(t.TempDir(), "over")}}))
	for i := range 4 {
		require.NoError(t, host.GuestWrite(uuid, "vda", int64(i)*1000, []byte("data")))
	}
	return host, uuid
}

// polls is how often a job is asked after until it is ready: 0 for never.
func polls(t *testing.T, host *vmtest.Host, uuid string) int {
	t.Helper()
	for n := 1; n < 100; n++ {
		job, err := host.BlockJob(t.Context(), uuid, "vda")
		require.NoError(t, err)
		if job.Ready {
			require.Equal(t, job.Total, job.Done)
			return n
		}
	}
	require.ErrorIs(t, host.Pivot(t.Context(), uuid, "vda"), virt.ErrBusy)
	return 0
}

func TestBehaviour_OfCommits(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule      string
		behaviour vmtest.Behaviour
		polls     int // while the guest runs
		held      int // and then while it is held
	}{
		{"ready when first asked after", vmtest.Behaviour{}, 1, 1},
		{"ready after a while", vmtest.Behaviour{Polls: 7}, 7, 1},
		{"outrun by the guest until it is held", vmtest.Behaviour{Starved: true}, 0, 1},
		{"never ready", vmtest.Behaviour{Stuck: true}, 0, 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			host, uuid := overlaid(t, row.behaviour)
			require.NoError(t, host.Commit(t.Context(), uuid, "vda", 0))
			require.Equal(t, row.polls, polls(t, host, uuid))
			require.NoError(t, host.Suspend(t.Context(), uuid))
			require.Equal(t, row.held, polls(t, host, uuid))
		})
	}
}

// A commit that fails is gone, and the overlay is in use as before.
func TestBehaviour_CommitsFail(t *testing.T) {
	t.Parallel()
	host, uuid := overlaid(t, vmtest.Behaviour{Fails: 2})
	for range 2 {
		require.NoError(t, host.Commit(t.Context(), uuid, "vda", 0))
		_, err := host.BlockJob(t.Context(), uuid, "vda")
		require.ErrorIs(t, err, virt.ErrNotFound)
		files, err := host.Files(t.Context(), uuid, "vda")
		require.NoError(t, err)
		require.Len(t, files, 2)
	}
	require.NoError(t, host.Commit(t.Context(), uuid, "vda", 0))
	require.Equal(t, 1, polls(t, host, uuid))
	require.NoError(t, host.Pivot(t.Context(), uuid, "vda"))
}

// A guest that fills the room of its overlay is stalled. After a commit and a pivot it goes
// on, and the write that stalled it is done.
func TestBehaviour_AFullOverlayStallsTheGuest(t *testing.T) {
	t.Parallel()
	host, uuid := overlaid(t, vmtest.Behaviour{Room: 10 * 512})
	big := bytes.Repeat([]byte("x"), 20*512)
	require.ErrorIs(t, host.GuestWrite(uuid, "vda", 8192, big), virt.ErrBusy)
	require.Equal(t, virt.Stalled, state(t, host, uuid))
	require.NoError(t, host.Resume(t.Context(), uuid))
	require.Equal(t, virt.Stalled, state(t, host, uuid))

	require.NoError(t, host.Commit(t.Context(), uuid, "vda", 0))
	require.Equal(t, 1, polls(t, host, uuid))
	require.NoError(t, host.Pivot(t.Context(), uuid, "vda"))
	require.Equal(t, virt.Stalled, state(t, host, uuid))
	require.NoError(t, host.Resume(t.Context(), uuid))
	require.Equal(t, virt.Running, state(t, host, uuid))
	content, err := host.Read(uuid, "vda")
	require.NoError(t, err)
	require.Equal(t, big, content[8192:][:len(big)])
}

// While a disk has an overlay its base holds what it did at the snapshot, until a
// commit begins.
func TestSnapshot_FreezesTheBase(t *testing.T) {
	t.Parallel()
	host, uuid := overlaid(t, vmtest.Behaviour{Record: true})
	files, err := host.Files(t.Context(), uuid, "vda")
	require.NoError(t, err)
	base, err := os.ReadFile(files[1])
	require.NoError(t, err)
	require.Equal(t, host.Snapshots(uuid)[0].Disks["vda"], base)
	for _, inactive := range []bool{false, true} {
		xml, err := host.XML(t.Context(), uuid, inactive)
		require.NoError(t, err)
		d, err := virt.Parse(xml)
		require.NoError(t, err)
		require.Equal(t, files[0], d.Disks[0].Path)
		require.Equal(t, "qcow2", d.Disks[0].Format)
	}
	require.NoError(t, host.Commit(t.Context(), uuid, "vda", 0))
	half, err := os.ReadFile(files[1])
	require.NoError(t, err)
	require.NotEqual(t, base, half)
	whole, err := host.Read(uuid, "vda")
	require.NoError(t, err)
	require.NotEqual(t, whole, half)
}

// What the guest wrote is read again through every snapshot, commit, abort, pivot and
// loss of power.
func TestHost_LosesNothingTheGuestWrote(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	host, uuid := newHost(t, vmtest.Config{State: virt.Running, Disks: [][]byte{make([]byte, 16<<10), make([]byte, 5000)}})
	want := map[string][]byte{"vda": make([]byte, 16<<10), "vdb": make([]byte, 5000)}
	done := map[string]int{}
	for step := range 1000 {
		disk := []string{"vda", "vdb"}[r.IntN(2)]
		files, _ := host.Files(t.Context(), uuid, disk) // none if it is off
		var what string
		var err error
		switch n := r.IntN(100); {
		case n < 50:
			what = "write"
			off := r.IntN(len(want[disk]))
			data := fmt.Appendf(nil, "%d %s", step, bytes.Repeat([]byte("."), r.IntN(1500)))
			data = data[:min(len(data), len(want[disk])-off)]
			if err = host.GuestWrite(uuid, disk, int64(off), data); err == nil {
				copy(want[disk][off:], data)
			}
		case n < 60 && len(files) < 4:
			what = "snapshot"
			err = host.Snapshot(t.Context(), uuid, []virt.Overlay{{Disk: disk, Path: filepath.Join(dir, fmt.Sprint(step))}})
		case n < 70:
			what = "commit"
			err = host.Commit(t.Context(), uuid, disk, 0)
		case n < 80:
			what = "poll"
			_, err = host.BlockJob(t.Context(), uuid, disk)
		case n < 90:
			what = "pivot"
			if err = host.Pivot(t.Context(), uuid, disk); err == nil {
				require.NoError(t, os.Remove(files[0]))
			}
		case n < 93:
			what = "abort"
			err = host.AbortBlockJob(t.Context(), uuid, disk)
		case n < 94:
			what = "power loss"
			host.PowerLoss()
		case n < 95:
			what = "shutdown"
			err = host.Shutdown(t.Context(), uuid, virt.ACPI)
		default:
			what = "start"
			err = host.Start(t.Context(), uuid, false)
		}
		if err == nil {
			done[what]++
		}
		for name, content := range want {
			got, err := host.Read(uuid, name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, got), "after step %d, %s, disk %s", step, what, name)
		}
	}
	for _, what := range []string{"write", "snapshot", "commit", "poll", "pivot", "abort", "power loss", "shutdown", "start"} {
		require.Positive(t, done[what], what)
	}
}
