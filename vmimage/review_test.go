package vmimage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// An engine that finds that another has the machine does nothing to it, not even to put it
// in order.
func TestRun_DoesNothingToAMachineThatItDoesNotGet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		uuid := uuidOf(t, w, "web01")
		const namespace = "https://github.com/obskeep/obskeep/vmimage"
		w.host.Before("SetMetadata", 1, func() {
			other := w.host.Other()
			require.NoError(t, other.SetMetadata(t.Context(), uuid, "obskeep", namespace, `<lock owner="x" host="far" since="now"/>`))
			require.NoError(t, other.Shutdown(t.Context(), uuid, virt.ACPI))
			go func() { // it writes last, so that it has the lock
				time.Sleep(50 * time.Millisecond)
				_ = other.SetMetadata(t.Context(), uuid, "obskeep", namespace, `<lock owner="x" host="far" since="now"/>`)
			}()
		})
		taken, ok := errors.AsType[*vmimage.TakenError](w.only().Err)
		require.True(t, ok)
		require.Equal(t, "far", taken.Host)
		require.NotContains(t, w.host.Calls(), "Start")
		w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
			results, err := e.Recover(t.Context())
			require.NoError(t, err)
			require.Empty(t, results)
		})
	})
}

// A journal that cannot be read keeps no other machine from being put in order.
func TestRecover_GoesOnBehindADamagedJournal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		w.killed(func() { w.host.Fail(vmtest.Fault{Method: "Snapshot", N: 1, Kind: vmtest.KillAfter}) }, run)
		damaged := filepath.Join(w.journal, "00000000-0000-0000-0000-000000000000.journal")
		require.NoError(t, os.WriteFile(damaged, []byte("0badc0de {}\n"), 0o600))
		w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
			results, err := e.Recover(t.Context())
			require.ErrorContains(t, err, damaged)
			require.Len(t, results, 1)
			require.NoError(t, results[0].Err)
		})
		require.NoError(t, os.Remove(damaged))
		w.check()
	})
}

// A guest whose agent is silent for a moment is thawed all the same.
func TestRun_ThawsOnceTheAgentAnswersAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		w.config.Machines[0].Mode = vmimage.Live
		uuid := uuidOf(t, w, "web01")
		w.host.Before("Thaw", 1, func() {
			w.host.Set(uuid, vmtest.Behaviour{AgentDead: true})
			time.AfterFunc(5*time.Second, func() { w.host.Set(uuid, vmtest.Behaviour{}) })
		})
		require.NoError(t, w.only().Err)
		w.check()
	})
}

// A clock that was once in the future does not end the retention: what is new stays, and
// what is beyond the policy goes.
func TestRun_RetainsAfterAClockInTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		w.config.Policy = vmimage.Policy{Last: 1}
		w.config.Now = func() time.Time { return time.Now().AddDate(10, 0, 0) }
		w.image()
		w.config.Now = nil
		for range 4 {
			time.Sleep(time.Hour)
			made := w.image()[0].Image
			require.Len(t, w.images("web01"), 2)
			require.Equal(t, made.ID, w.images("web01")[0].ID)
		}
	})
}

// What would be added when a machine is started again, or is passed through, is not in an
// image: the machine is refused.
func TestRun_RefusesDisksThatNobodySees(t *testing.T) {
	t.Parallel()
	for name, devices := range map[string]string{
		"a SCSI device of the host": `<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/></source></hostdev>`,
		"persistent memory":         `<memory model='nvdimm'><source><path>/dev/pmem0</path></source></memory>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := running("web01", vmtest.Behaviour{})
				c.Devices = devices
				w := newWorld(t, c)
				_, refused := errors.AsType[*vmimage.RefusedError](w.only().Err)
				require.True(t, refused)
				w.check()
			})
		})
	}
}
