package vmimage_test

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/internal/filelock"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"

	"os"
)

func slow(name string) vmtest.Config { return running(name, vmtest.Behaviour{Off: 10 * time.Second}) }

// Several machines are imaged at the same time where that is asked for, and no more than that; each once
// those that it is after are done.
func TestRun_ImagesSeveralMachinesAtTheSameTime(t *testing.T) {
	t.Parallel()
	for parallel, want := range map[int]time.Duration{0: 40, 1: 40, 2: 30, 4: 20} {
		t.Run(string(rune('0'+parallel)), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, slow("web"), running("db", vmtest.Behaviour{Off: 12 * time.Second}), slow("dns"), slow("mail"))
				w.config.Parallel = parallel
				w.config.Machines[0].After = []string{"db"}
				began := time.Now()
				results := w.image()
				took := time.Since(began)
				require.GreaterOrEqual(t, took, want*time.Second)
				require.Less(t, took, want*time.Second+5*time.Second)
				var order []string
				for _, r := range results {
					order = append(order, r.Machine)
				}
				require.Equal(t, []string{"db", "web", "dns", "mail"}, order)
				of := func(machine string) vmimage.Result {
					return results[slices.IndexFunc(results, func(r vmimage.Result) bool { return r.Machine == machine })]
				}
				require.False(t, of("web").Start.Before(of("db").End))
				w.check()
				w.good()
			})
		})
	}
}

// All of them are put in order when the run is killed.
func TestRecover_PutsSeveralMachinesInOrder(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Shutdown", "Start", "Snapshot", "Resume", "Commit", "Pivot"} {
		for n := 1; n <= 3; n++ {
			t.Run(method+string(rune('0'+n)), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, slow("web"), slow("db"), slow("dns"))
					w.config.Parallel = 3
					w.killed(func() { w.host.Fail(vmtest.Fault{Method: method, N: n, Kind: vmtest.KillAfter}) }, run)
					w.recover()
					w.check()
				})
			})
		}
	}
}

// Room is kept for the overlays of as many machines as have them at the same time, on each volume
// and not in each folder, also where links lead there.
func TestPlan_CountsTheOverlaysOfAVolumeOnce(t *testing.T) {
	t.Parallel()
	for parallel, want := range map[int]uint64{1: 2, 2: 4, 3: 6, 9: 6} {
		w := newWorld(t, running("a", vmtest.Behaviour{}), running("b", vmtest.Behaviour{}))
		disks := filepath.Join(filepath.Dir(w.target.Dir()), "disks")
		link := filepath.Join(filepath.Dir(disks), "link")
		require.NoError(t, os.Symlink(disks, link))
		linked := running("linked", vmtest.Behaviour{})
		linked.State = virt.Off
		uuid := w.host.Add(linked)
		e := &editor{w: w, uuid: uuid}
		e.open()
		var err error
		e.text, err = virt.Edit(e.text, virt.Changes{Disks: map[string]virt.Source{
			"vda": {Path: filepath.Join(link, "linked-vda.img")}, "vdb": {Path: filepath.Join(link, "linked-vdb.img")},
		}})
		require.NoError(t, err)
		e.save()
		require.NoError(t, w.host.Start(t.Context(), uuid, false))
		w.host.Mark()
		w.config.Machines = append(w.config.Machines, vmimage.Machine{Name: "linked"})
		w.config.Parallel = parallel
		w.config.Space = diskspace.Planner{Stat: func(path string) (diskspace.Usage, error) {
			u := diskspace.Usage{Volume: 1, Total: 1 << 40, Free: 1 << 40, Avail: 1 << 40}
			if path == w.target.Dir() {
				u.Volume = 2
			}
			return u, nil
		}}
		w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
			plan, err := e.Plan(t.Context())
			require.NoError(t, err)
			var overlays []uint64
			for _, n := range plan.Needs {
				if n.Path != w.target.Dir() {
					overlays = append(overlays, n.Bytes)
				}
			}
			require.Equal(t, []uint64{want * mib}, overlays, parallel)
		})
		w.image()
		w.check()
	}
}

// A machine that another process is at work on is told of and not touched. One that has its lock for a moment
// only is waited for.
func TestRecover_TellsOfAMachineThatAnotherProcessHas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held time.Duration
		told bool
	}{"for a moment": {200 * time.Millisecond, false}, "for a minute": {time.Minute, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, running("web01", vmtest.Behaviour{}))
				w.killed(func() { w.host.Fail(vmtest.Fault{Method: "Resume", N: 1, Kind: vmtest.KillAfter}) }, run)
				f, err := os.OpenFile(filepath.Join(w.journal, uuidOf(t, w, "web01")+".journal"), os.O_RDWR, 0)
				require.NoError(t, err)
				require.NoError(t, filelock.TryLock(f))
				time.AfterFunc(c.held, func() { f.Close() })
				w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
					results, err := e.Recover(t.Context())
					require.NoError(t, err)
					require.Len(t, results, 1)
					require.Equal(t, "web01", results[0].Machine)
					if !c.told {
						require.NoError(t, results[0].Err)
						return
					}
					require.ErrorContains(t, results[0].Err, "another run is at work on it")
					require.Empty(t, results[0].Settled)
				})
				time.Sleep(time.Minute)
				w.recover()
				w.check()
			})
		})
	}
}
