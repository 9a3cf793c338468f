package vmimage_test

import (
	"context"
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

// editor is somebody who opens the lasting description of a machine, and saves it later.
type editor struct {
	w    *world
	uuid string
	text []byte
}

func (e *editor) open() {
	e.w.t.Helper()
	var err error
	e.text, err = e.w.host.Other().XML(context.Background(), e.uuid, true)
	require.NoError(e.w.t, err)
}

func (e *editor) save() {
	e.w.t.Helper()
	_, err := e.w.host.Other().Define(context.Background(), e.text)
	require.NoError(e.w.t, err)
}

// edited is a machine that runs, what its guest writes at each step, and somebody with an editor.
func edited(t *testing.T) (*world, *editor) {
	w := newWorld(t, running("web01", vmtest.Behaviour{Record: true}))
	e := &editor{w: w, uuid: uuidOf(t, w, "web01")}
	for i, method := range []string{"Resume", "Commit", "Pivot"} {
		w.host.Before(method, 1, func() {
			for _, disk := range []string{"vda", "vdb"} {
				_ = w.host.GuestWrite(e.uuid, disk, 8192, random(byte(i), 512))
			}
		})
	}
	return w, e
}

// A description that is edited meanwhile never makes a machine start from an overlay that is gone,
// or from a base that lacks what is in one.
func TestRun_PutsADescriptionRightThatWasEditedMeanwhile(t *testing.T) {
	t.Parallel()
	off := func(w *world, uuid string) { require.NoError(w.t, w.host.Other().Destroy(context.Background(), uuid)) }
	on := func(*world, string) {}
	for name, c := range map[string]struct {
		open, save string // the methods before which the editor is opened and its text saved
		nth        int    // call of save
		then       func(w *world, uuid string)
		noted      bool
	}{
		"the overlay, when one disk is merged":                          {"Commit", "Pivot", 2, on, true},
		"the overlay, when one disk is merged, and it is switched off":  {"Commit", "Pivot", 2, off, true},
		"the base, while the overlay is in use":                         {"Shutdown", "Commit", 1, on, false},
		"the base, while the overlay is in use, and it is switched off": {"Shutdown", "Commit", 1, off, true},
		"the base, when one disk is merged, and it is switched off":     {"Shutdown", "Pivot", 2, off, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, e := edited(t)
				w.host.Before(c.open, 1, e.open)
				w.host.Before(c.save, c.nth, func() { e.save(); c.then(w, e.uuid) })
				r := w.only()
				require.NoError(t, r.Err)
				require.Equal(t, c.noted, len(r.Notes) > 0, "%q", r.Notes)
				w.check()
			})
		})
	}
}

// So does a run after one that was killed, or lost its power.
func TestRecover_PutsADescriptionRightThatWasEditedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		open string
		kill vmtest.Fault
	}{
		"the base, while the overlay is in use":     {"Shutdown", vmtest.Fault{Method: "Resume", N: 1}},
		"the base, while the overlay is merged":     {"Shutdown", vmtest.Fault{Method: "Commit", N: 1}},
		"the overlay, when one disk is merged":      {"Resume", vmtest.Fault{Method: "Suspend", N: 2}},
		"the overlay, when all disks may be merged": {"Resume", vmtest.Fault{Method: "Pivot", N: 2}},
	} {
		for _, power := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", and the power is lost"}[power], func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w, e := edited(t)
					w.host.Before(c.open, 1, e.open)
					c.kill.Kind = vmtest.KillAfter
					require.True(t, w.killed(func() { w.host.Fail(c.kill) }, run))
					e.save()
					if power {
						w.host.PowerLoss()
					}
					w.recover()
					w.check()
				})
			})
		}
	}
}

// What is saved after the run has ended, with the lock and the overlays of the run in it, is put right by the
// next; a machine that is off stays off.
func TestRecover_TakesAnEndedRunOutOfADescription(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		t.Run(map[bool]string{true: "it runs", false: "it is off"}[on], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, e := edited(t)
				w.host.Before("Commit", 1, e.open)
				w.image()
				e.save()
				if !on {
					require.NoError(t, w.host.Destroy(t.Context(), e.uuid))
				}
				require.NotEmpty(t, w.host.Check())
				w.run(func(engine *vmimage.Engine, _ *vmimage.Journal) {
					results, err := engine.Recover(t.Context())
					require.NoError(t, err)
					require.Len(t, results, 1)
					require.NoError(t, results[0].Err)
					require.NotEmpty(t, results[0].Notes)
				})
				if !on {
					m, err := w.host.Machine(t.Context(), e.uuid)
					require.NoError(t, err)
					require.Equal(t, virt.Off, m.State)
					require.NoError(t, w.host.Start(t.Context(), e.uuid, false)) // it can be
				}
				w.check()
			})
		})
	}
}

// A guest that shuts down too late, while its description names the base by an edit, is started from
// its overlay.
func TestRun_StartsALateGuestFromItsOverlay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Off: 12 * time.Second, Record: true}))
		w.config.Machines[0].Shutdown = 10 * time.Second
		e := &editor{w: w, uuid: uuidOf(t, w, "web01")}
		e.open()
		w.during(func() {
			require.NoError(t, w.host.GuestWrite(e.uuid, "vda", 8192, random(7, 512)))
			e.save()
		})
		require.NoError(t, w.only().Err)
		w.check()
	})
}

// A disk that is gone or moved before its overlay is merged is told of in a line that names it, the
// overlay and what was found; no file is touched, and the other machines are put in order.
func TestRecover_TellsOfADiskThatWasTakenAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		powerLost  bool
		do, undo   func(w *world, uuid, base string)
		say        []string
		staysWrong bool
	}{
		"detached while it runs": {
			do:  func(w *world, uuid, _ string) { w.host.Detach(uuid, "vdb") },
			say: []string{"disk vdb is not in the machine any more"}, staysWrong: true,
		},
		"detached while it is off": {
			powerLost: true,
			do:        func(w *world, uuid, _ string) { w.host.Detach(uuid, "vdb") },
			say:       []string{"disk vdb is not in the machine any more"}, staysWrong: true,
		},
		"given another file": {
			powerLost: true,
			do: func(w *world, uuid, base string) {
				e := &editor{w: w, uuid: uuid}
				e.open()
				var err error
				e.text, err = virt.Edit(e.text, virt.Changes{Disks: map[string]virt.Source{"vdb": {Path: "/elsewhere.img"}}})
				require.NoError(w.t, err)
				e.save()
			},
			say: []string{"disk vdb is /elsewhere.img, not "}, staysWrong: true,
		},
		"its file moved": {
			powerLost: true,
			do:        func(w *world, _, base string) { require.NoError(w.t, os.Rename(base, base+".moved")) },
			undo:      func(w *world, _, base string) { require.NoError(w.t, os.Rename(base+".moved", base)) },
			say:       []string{"disk vdb needs ", "which is not there"},
		},
		"its file moved while it runs": {
			do:   func(w *world, _, base string) { require.NoError(w.t, os.Rename(base, base+".moved")) },
			undo: func(w *world, _, base string) { require.NoError(w.t, os.Rename(base+".moved", base)) },
			say:  []string{"disk vdb needs ", "which is not there"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, running("web01", vmtest.Behaviour{}), running("web02", vmtest.Behaviour{}))
				w.config.Parallel = 2
				uuid := uuidOf(t, w, "web01")
				base := filepath.Join(filepath.Dir(w.target.Dir()), "disks", "web01-vdb.img")
				// Both have overlays when the second is let go.
				require.True(t, w.killed(func() { w.host.Fail(vmtest.Fault{Method: "Resume", N: 2, Kind: vmtest.KillAfter}) }, run))
				overlays, err := filepath.Glob(filepath.Join(filepath.Dir(base), "web01-vdb.*.overlay"))
				require.NoError(t, err)
				require.Len(t, overlays, 1)
				if c.powerLost {
					w.host.PowerLoss()
				}
				c.do(w, uuid, base)
				w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
					results, err := e.Recover(t.Context())
					require.NoError(t, err)
					require.Len(t, results, 2)
					for _, say := range append(c.say, overlays[0]) {
						require.ErrorContains(t, results[0].Err, say)
					}
					t.Log(results[0].Err)
					require.NoError(t, results[1].Err)
				})
				_, err = os.Stat(overlays[0])
				require.NoError(t, err)
				if c.staysWrong {
					return
				}
				c.undo(w, uuid, base)
				w.recover()
				w.check()
			})
		})
	}
}
