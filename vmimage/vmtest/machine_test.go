package vmtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

func TestBehaviour_OfTheGuest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule      string
		behaviour vmtest.Behaviour
		agent     bool          // answers at once
		means     virt.Means    // by which it is asked to shut down, a minute later
		off       time.Duration // until it is off; negative for never
	}{
		{"at once", vmtest.Behaviour{}, true, virt.ACPI, 0},
		{"at once by its agent", vmtest.Behaviour{}, true, virt.Agent, 0},
		{"late", vmtest.Behaviour{Off: time.Hour}, true, virt.ACPI, time.Hour},
		{"deaf to ACPI", vmtest.Behaviour{IgnoresACPI: true}, true, virt.ACPI, -1},
		{"deaf to ACPI, asked by its agent", vmtest.Behaviour{IgnoresACPI: true, Off: time.Second}, true, virt.Agent, time.Second},
		{"agent dead", vmtest.Behaviour{AgentDead: true}, false, virt.Agent, -1},
		{"agent dead, asked by ACPI", vmtest.Behaviour{AgentDead: true}, false, virt.ACPI, 0},
		{"boots slowly", vmtest.Behaviour{Boot: 3 * time.Second}, false, virt.ACPI, 0},
		{"boots too slowly to heed ACPI", vmtest.Behaviour{Boot: time.Hour}, false, virt.ACPI, -1},
		{"never boots", vmtest.Behaviour{NeverBoots: true}, false, virt.ACPI, -1},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				host, uuid := newHost(t, vmtest.Config{Behaviour: row.behaviour})
				require.NoError(t, host.Start(t.Context(), uuid, false))
				if row.agent {
					require.NoError(t, host.Ping(t.Context(), uuid))
				} else {
					require.ErrorIs(t, host.Ping(t.Context(), uuid), virt.ErrAgent)
				}
				time.Sleep(time.Minute)
				err := host.Shutdown(t.Context(), uuid, row.means)
				if row.off < 0 {
					require.True(t, row.means == virt.ACPI && err == nil || errorIsOneOf(err, virt.ErrAgent), "%v", err)
					time.Sleep(24 * time.Hour)
					require.Equal(t, virt.Running, state(t, host, uuid))
					return
				}
				require.NoError(t, err)
				if row.off > 0 {
					time.Sleep(row.off - time.Millisecond)
					require.Equal(t, virt.Running, state(t, host, uuid))
					time.Sleep(2 * time.Millisecond)
				}
				require.Equal(t, virt.Off, state(t, host, uuid))
			})
		})
	}
}

// A shutdown of an earlier run does not end a later one, and none goes on while
// the guest is held.
func TestShutdown_IsOfOneRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		host, uuid := newHost(t, vmtest.Config{State: virt.Running, Behaviour: vmtest.Behaviour{Off: time.Minute}})
		require.NoError(t, host.Shutdown(t.Context(), uuid, virt.ACPI))
		require.NoError(t, host.Destroy(t.Context(), uuid))
		require.NoError(t, host.Start(t.Context(), uuid, false))
		time.Sleep(time.Hour)
		require.Equal(t, virt.Running, state(t, host, uuid))

		require.NoError(t, host.Shutdown(t.Context(), uuid, virt.ACPI))
		require.NoError(t, host.Suspend(t.Context(), uuid))
		time.Sleep(time.Hour)
		require.Equal(t, virt.Paused, state(t, host, uuid))
		require.NoError(t, host.Resume(t.Context(), uuid))
		require.Equal(t, virt.Off, state(t, host, uuid))
	})
}

// Each boot leaves a record on the disk, and one that is held before its first
// instruction has not booted.
func TestBehaviour_RecordsEachBoot(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{State: virt.Running, Behaviour: vmtest.Behaviour{Record: true}})
	require.NoError(t, host.Destroy(t.Context(), uuid))
	require.NoError(t, host.Start(t.Context(), uuid, true))
	content, err := host.Read(uuid, "vda")
	require.NoError(t, err)
	require.False(t, bytes.Contains(content, []byte("boot 2")))
	require.NoError(t, host.Resume(t.Context(), uuid))
	content, err = host.Read(uuid, "vda")
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(content[512:], []byte("boot 2\n")))
	require.Equal(t, 2, host.Boots(uuid))
}

// What a frozen guest writes is written when it is thawed, and is on no snapshot before.
func TestFreeze_HoldsWrites(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{State: virt.Running})
	n, err := host.Freeze(t.Context(), uuid)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.ErrorIs(t, host.GuestWrite(uuid, "vda", 0, []byte("held")), virt.ErrBusy)
	over := filepath.Join(t.TempDir(), "over")
	require.NoError(t, host.Snapshot(t.Context(), uuid, []virt.Overlay{{Disk: "vda", Path: over}}))
	require.NoError(t, host.Thaw(t.Context(), uuid))
	content, err := host.Read(uuid, "vda")
	require.NoError(t, err)
	require.Equal(t, "held", string(content[:4]))
	taken := host.Snapshots(uuid)[0]
	require.True(t, taken.Frozen)
	require.Equal(t, make([]byte, 4), taken.Disks["vda"][:4])
}

// A machine of which an overlay that is in use was removed does not start.
func TestStart_NeedsTheFilesOfTheDisks(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{State: virt.Running})
	over := filepath.Join(t.TempDir(), "over")
	require.NoError(t, host.Snapshot(t.Context(), uuid, []virt.Overlay{{Disk: "vda", Path: over}}))
	require.NoError(t, os.Remove(over))
	require.NoError(t, host.GuestWrite(uuid, "vda", 0, []byte("the hypervisor has the file open")))
	require.NoError(t, host.Destroy(t.Context(), uuid))
	require.ErrorIs(t, host.Start(t.Context(), uuid, false), os.ErrNotExist)
	require.Equal(t, virt.Off, state(t, host, uuid))
	_, err := host.Read(uuid, "vda")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A transient machine is forgotten when it is off.
func TestConfig_TransientMachinesAreForgotten(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{State: virt.Running, Transient: true})
	require.NoError(t, host.Destroy(t.Context(), uuid))
	_, err := host.Machine(t.Context(), uuid)
	require.ErrorIs(t, err, virt.ErrNotFound)
}

// A job of the machine as a whole is in the way of what changes its disks.
func TestSetJob_IsInTheWay(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{State: virt.Running})
	host.SetJob(uuid, "migration")
	job, err := host.Job(t.Context(), uuid)
	require.NoError(t, err)
	require.Equal(t, "migration", job)
	over := filepath.Join(t.TempDir(), "over")
	overlays := []virt.Overlay{{Disk: "vda", Path: over}}
	require.ErrorIs(t, host.Snapshot(t.Context(), uuid, overlays), virt.ErrBusy)
	require.NoFileExists(t, over)
	host.SetJob(uuid, "")
	require.NoError(t, host.Snapshot(t.Context(), uuid, overlays))
	host.SetJob(uuid, "backup")
	require.ErrorIs(t, host.Commit(t.Context(), uuid, "vda", 0), virt.ErrBusy)
	require.NoError(t, host.Destroy(t.Context(), uuid))
	host.SetJob(uuid, "restore")
	require.ErrorIs(t, host.Start(t.Context(), uuid, false), virt.ErrBusy)
}
