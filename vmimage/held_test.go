package vmimage_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// A machine that somebody lets go while it is held runs, and its image is not called clean.
func TestRun_IsHonestOfAMachineThatSomebodyElseLetsGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Record: true}))
		uuid := uuidOf(t, w, "web01")
		w.host.Before("Snapshot", 1, func() { require.NoError(t, w.host.Other().Resume(t.Context(), uuid)) })
		r := w.only()
		require.NoError(t, r.Err)
		require.Equal(t, vmimage.Crash, r.Image.Consistency)
		require.NotEmpty(t, r.Notes)
		require.Equal(t, w.host.Snapshots(uuid)[0].Disks["vda"], w.content(r.Image, "vda"))
		w.check()
	})
}

// What somebody else holds is not let go, though the engine once held it, or tried to.
func TestRun_LeavesHeldWhatSomebodyElseHolds(t *testing.T) {
	t.Parallel()
	t.Run("who started it, held", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, running("web01", vmtest.Behaviour{}))
			w.host.Before("Start", 1, func() {
				require.NoError(t, w.host.Other().Start(t.Context(), uuidOf(t, w, "web01"), true))
			})
			require.ErrorIs(t, w.only().Err, vmimage.ErrStarted)
			require.Equal(t, virt.Paused, w.state("web01"))
			require.NotContains(t, w.host.Calls(), "Resume")
		})
	})
	t.Run("after it was let go behind the back of a run that was killed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, running("web01", vmtest.Behaviour{}))
			w.killed(func() { w.host.Fail(vmtest.Fault{Method: "Start", N: 1, Kind: vmtest.KillAfter}) }, run)
			other := w.host.Other()
			require.NoError(t, other.Resume(t.Context(), uuidOf(t, w, "web01")))
			w.host.Before("Files", 1, func() { require.NoError(t, other.Suspend(t.Context(), uuidOf(t, w, "web01"))) })
			w.recover()
			require.Equal(t, virt.Paused, w.state("web01"))
		})
	})
}
