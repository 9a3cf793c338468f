package vmimage_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// late is a machine whose guest shuts down so long after it was asked to.
func late(t *testing.T, off time.Duration, stubborn vmimage.Stubborn, others ...vmtest.Config) *world {
	w := newWorld(t, append([]vmtest.Config{running("web01", vmtest.Behaviour{Off: off, Record: true})}, others...)...)
	for i := range w.config.Machines {
		w.config.Machines[i].Shutdown = 10 * time.Second
		w.config.Machines[i].Stubborn = stubborn
	}
	return w
}

func (w *world) state(machine string) virt.State {
	w.t.Helper()
	m, err := w.host.Other().Machine(context.Background(), uuidOf(w.t, w, machine))
	require.NoError(w.t, err)
	return m.State
}

// A guest that shuts down when nobody waits for it any more is started at the end of the run.
func TestRun_StartsAtItsEndWhatShutDownTooLate(t *testing.T) {
	t.Parallel()
	for _, stubborn := range []vmimage.Stubborn{vmimage.TakeLive, vmimage.Skip} {
		t.Run(stubborn.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				// The other takes until 40 s.
				w := late(t, 35*time.Second, stubborn, running("web02", vmtest.Behaviour{IgnoresACPI: true, AgentDead: true}))
				w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
					results, err := e.Run(t.Context())
					require.NoError(t, err)
					require.Len(t, results, 2)
					require.Contains(t, results[0].Settled, "its guest shut down after all, too late for its image")
					require.Contains(t, results[0].Settled, "start again")
				})
				require.Equal(t, virt.Running, w.state("web01"))
				w.check()
			})
		})
	}
}

// One that does so after the run is started by the next, and told of; the next but one has nothing to
// do with it.
func TestRecover_StartsWhatShutDownTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := late(t, 3*time.Hour, vmimage.TakeLive)
		require.NoError(t, w.only().Err)
		w.check() // which recovers, and finds that it runs
		time.Sleep(7 * 24 * time.Hour)
		require.Equal(t, virt.Off, w.state("web01"))
		w.host.Set(uuidOf(t, w, "web01"), vmtest.Behaviour{})
		r := w.only()
		require.NoError(t, r.Err)
		require.Equal(t, vmimage.Clean, r.Image.Consistency)
		require.Contains(t, r.Settled, "start again")
		require.Contains(t, r.Notes, "the guest shut down after all, too late for its image, and was started again")
		w.check()
	})
}

// A guest that did not shut down in a day did not heed it: what is switched off after that stays off.
func TestRecover_LeavesOffWhatSomebodyElseSwitchedOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := late(t, 365*24*time.Hour, vmimage.TakeLive)
		require.NoError(t, w.only().Err)
		time.Sleep(25 * time.Hour)
		w.recover()
		require.NoError(t, w.host.Destroy(t.Context(), uuidOf(t, w, "web01")))
		w.recover()
		require.Equal(t, virt.Off, w.state("web01"))
	})
}

// A machine whose guest goes off between two runs' looks is not imaged as one that was off.
func TestRun_DoesNotTakeALateGuestForOneThatWasOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := late(t, time.Hour, vmimage.Skip)
		require.Error(t, w.only().Err)
		// It goes off once the next run has looked at it, and before its turn comes.
		w.host.Before("Machine", 2, func() { require.NoError(t, w.host.Other().Destroy(t.Context(), uuidOf(t, w, "web01"))) })
		require.Error(t, w.only().Err)
		require.Equal(t, virt.Running, w.state("web01"))
		w.check()
	})
}
