package vmimage_test

import (
	"context"
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

// during has something happen while the image is read.
func (w *world) during(do func()) {
	open, once := w.config.Open, false
	w.config.Open = func(path, format string) (vmimage.Source, error) {
		s, err := open(path, format)
		return &during{s, func() {
			if !once && len(w.host.Snapshots(uuidOf(w.t, w, w.config.Machines[0].Name))) > 0 {
				once = true
				do()
				time.Sleep(5 * time.Second) // for what watches the machine to see it
			}
		}}, err
	}
}

type during struct {
	vmimage.Source
	do func()
}

func (d *during) ReadAt(p []byte, off int64) (int, error) {
	d.do()
	return d.Source.ReadAt(p, off)
}

// only is the result of a run on one machine.
func (w *world) only() vmimage.Result {
	w.t.Helper()
	var result vmimage.Result
	w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
		results, err := e.Run(context.Background())
		require.NoError(w.t, err)
		require.Len(w.t, results, 1)
		result = results[0]
	})
	return result
}

// A guest that the full disk of its overlay stalls goes on at once, with all that it
// wrote, and there is no image.
func TestRun_SavesAGuestThatItsOverlayStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Room: 2048}))
		uuid := uuidOf(t, w, "web01")
		w.during(func() {
			for i := range 16 {
				_ = w.host.GuestWrite(uuid, "vda", int64(i)*512, random(byte(i), 512))
			}
		})
		r := w.only()
		require.Error(t, r.Err)
		require.Empty(t, w.images("web01"))
		w.check()
	})
}

// A commit that the guest outruns is ended while the guest is held for a moment.
func TestRun_HoldsAGuestThatOutrunsItsCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Starved: true}))
		r := w.only()
		require.NoError(t, r.Err)
		require.NotEmpty(t, r.Notes)
		w.check()
	})
}

// A commit that fails is begun again.
func TestRun_BeginsAFailedCommitAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Fails: 3}))
		require.NoError(t, w.only().Err)
		w.check()
	})
}

// A commit that never ends leaves the machine running, on an overlay that the journal
// knows of, and the next run merges it.
func TestRecover_MergesWhatCouldNotBeMergedBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Stuck: true}))
		uuid := uuidOf(t, w, "web01")
		require.Error(t, w.only().Err)
		m, err := w.host.Other().Machine(t.Context(), uuid)
		require.NoError(t, err)
		require.Equal(t, virt.Running, m.State)
		w.host.Set(uuid, vmtest.Behaviour{})
		w.recover()
		w.check()
	})
}

// A guest that shuts down after its time is started again, while its image is stored and
// also after that.
func TestRun_StartsAGuestThatShutsDownTooLate(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{12 * time.Second, 19 * time.Second} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, running("web01", vmtest.Behaviour{Off: off, Record: true}))
				w.config.Machines[0].Shutdown = 10 * time.Second
				w.during(func() {})
				r := w.only()
				require.NoError(t, r.Err)
				require.NotEqual(t, vmimage.Clean, r.Image.Consistency)
				require.Contains(t, r.Notes, "the guest shut down after all, too late for its image, and was started again")
				w.check()
				require.Equal(t, 2, w.host.Boots(r.Image.UUID))
			})
		})
	}
}

// A clock that is set back does not keep a run waiting.
func TestRun_IsNotHeldUpByTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{IgnoresACPI: true, AgentDead: true}))
		w.config.Machines[0].Shutdown = 10 * time.Second
		back := time.Duration(0)
		w.config.Now = func() time.Time { return time.Now().Add(back) }
		w.host.Before("Snapshot", 1, func() { back = -365 * 24 * time.Hour })
		began := time.Now()
		require.NoError(t, w.only().Err)
		require.Less(t, time.Since(began), time.Minute)
		w.check()
	})
}

// A guest is not switched off unless that is asked for.
func TestRun_SwitchesOffOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	for stubborn, want := range map[vmimage.Stubborn]vmimage.Consistency{
		vmimage.TakeLive: vmimage.Frozen, vmimage.Skip: "", vmimage.Destroy: vmimage.Crash,
	} {
		t.Run(stubborn.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, running("web01", vmtest.Behaviour{}))
				uuid := uuidOf(t, w, "web01")
				w.config.Machines[0].Shutdown = 10 * time.Second
				w.config.Machines[0].Stubborn = stubborn
				// Its agent takes the request and nothing comes of it.
				w.host.Set(uuid, vmtest.Behaviour{IgnoresACPI: true, Off: time.Hour})
				r := w.only()
				require.Equal(t, want, r.Image.Consistency)
				require.Equal(t, stubborn == vmimage.Skip, r.Err != nil)
				if stubborn != vmimage.Destroy {
					require.NotContains(t, w.host.Calls(), "Destroy")
				}
				w.check()
			})
		})
	}
}

// A machine that somebody starts while it is down is left alone: there is no image.
func TestRun_LeavesAMachineThatSomebodyElseStarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Record: true}))
		uuid := uuidOf(t, w, "web01")
		w.host.Before("Start", 1, func() { require.NoError(t, w.host.Other().Start(t.Context(), uuid, false)) })
		r := w.only()
		require.ErrorIs(t, r.Err, vmimage.ErrStarted)
		require.NotContains(t, w.host.Calls(), "Snapshot")
		require.Empty(t, w.images("web01"))
		w.check()
	})
}

// So is one that was off, and is started while it is read.
func TestRun_DiscardsTheImageOfAMachineThatIsStartedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(w *world, uuid string){
		"and runs":            func(*world, string) {},
		"and writes and ends": func(w *world, uuid string) { require.NoError(w.t, w.host.Other().Destroy(context.Background(), uuid)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, vmtest.Config{Name: "spare", Behaviour: vmtest.Behaviour{Record: true}})
				uuid := uuidOf(t, w, "spare")
				open := w.config.Open
				reads := 0
				w.config.Open = func(path, format string) (vmimage.Source, error) {
					if reads++; reads == 2 { // the first is the plan's
						time.Sleep(time.Second)
						require.NoError(t, w.host.Other().Start(t.Context(), uuid, false))
					}
					s, err := open(path, format)
					return &during{s, func() {}}, err
				}
				w.config.Target = &afterStore{w.target, func() { after(w, uuid) }}
				r := w.only()
				require.ErrorIs(t, r.Err, vmimage.ErrStarted)
				require.Empty(t, w.images("spare"))
			})
		})
	}
}

// afterStore has something happen once an image is stored.
type afterStore struct {
	vmimage.Target
	do func()
}

func (a *afterStore) Store(ctx context.Context, i vmimage.Image, c vmimage.Content) (vmimage.Image, error) {
	stored, err := a.Target.Store(ctx, i, c)
	a.do()
	return stored, err
}

// Nothing goes before its successor is verified.
func TestRun_RemovesNothingBeforeTheNewImageIsVerified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		w.image()
		w.config.Policy = vmimage.Policy{Last: 1}
		w.config.Target = &rotten{w.target, t}
		_, ok := errors.AsType[*vmimage.RotError](w.only().Err)
		require.True(t, ok)
		w.good()
		w.check()
	})
}

// rotten is a target on a disk that forgets.
type rotten struct {
	vmimage.Target
	t *testing.T
}

func (r *rotten) Store(ctx context.Context, i vmimage.Image, c vmimage.Content) (vmimage.Image, error) {
	stored, err := r.Target.Store(ctx, i, c)
	name := filepath.Join(r.Dir(), i.Machine, i.ID, "vda.img")
	data, e := os.ReadFile(name)
	require.NoError(r.t, e)
	data[100] ^= 1
	require.NoError(r.t, os.WriteFile(name, data, 0o600))
	return stored, err
}

// An engine keeps off a machine that another one has, whether it has the same journal or,
// on another machine, one of its own.
func TestRun_KeepsOffAMachineThatAnotherEngineHas(t *testing.T) {
	t.Parallel()
	for name, journal := range map[string]string{"with the same journal": "", "with another journal": "-elsewhere"} {
		for _, method := range []string{"Shutdown", "Snapshot", "Commit"} {
			t.Run(name+", at "+method, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, running("web01", vmtest.Behaviour{}))
					w.host.Before(method, 1, func() {
						other := *w
						other.journal += journal
						other.config.Host = w.host.Other()
						calls := len(w.host.Calls())
						_, ok := errors.AsType[*vmimage.RefusedError](other.only().Err)
						require.True(t, ok)
						require.Len(t, w.host.Calls(), calls)
					})
					require.NoError(t, w.only().Err)
					w.check()
				})
			})
		}
	}
}

// Of two that find it free at the same moment one images it, and it is in order.
func TestRun_OneOfTwoEnginesHasTheMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		other := *w
		other.journal += "-elsewhere"
		other.config.Host = w.host.Other()
		second := make(chan error)
		w.host.Before("SetMetadata", 1, func() {
			go func() { second <- other.only().Err }()
			synctest.Wait()
		})
		first := w.only().Err
		errs := []error{first, <-second}
		require.Contains(t, errs, nil)
		require.NotEqual(t, []error{nil, nil}, errs)
		w.check()
	})
}

// What is not settled is not begun again.
func TestRun_DoesNotTouchAMachineThatIsNotSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Stuck: true}))
		require.Error(t, w.only().Err)
		snapshots := w.host.Snapshots(uuidOf(t, w, "web01"))
		require.Error(t, w.only().Err)
		require.Equal(t, snapshots, w.host.Snapshots(uuidOf(t, w, "web01")))
		w.host.Set(uuidOf(t, w, "web01"), vmtest.Behaviour{})
		w.recover()
		w.check()
	})
}

// When the context ends the machine is put in order, and the others are not touched.
func TestRun_PutsInOrderWhenItIsStopped(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Shutdown", "Start", "Snapshot", "Resume", "Commit"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, running("web01", vmtest.Behaviour{Off: time.Second}), running("web02", vmtest.Behaviour{}))
				ctx, cancel := context.WithCancel(t.Context())
				w.host.Before(method, 1, cancel)
				w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
					results, err := e.Run(ctx)
					require.NoError(t, err)
					require.Error(t, results[1].Err)
				})
				w.check()
				require.Empty(t, w.host.Snapshots(uuidOf(t, w, "web02")))
			})
		})
	}
}

// A damaged entry of the journal is passed over, and the others count.
func TestRecover_PassesOverDamagedEntries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		w.killed(func() { w.host.Fail(vmtest.Fault{Method: "Snapshot", N: 1, Kind: vmtest.KillAfter}) }, run)
		files, err := filepath.Glob(filepath.Join(w.journal, "*.journal"))
		require.NoError(t, err)
		text, err := os.ReadFile(files[0])
		require.NoError(t, err)
		text[len(text)-30] ^= 1                  // the last entry
		text = append(text, "0badc0de {\"st"...) // one that was not written to its end
		require.NoError(t, os.WriteFile(files[0], text, 0o600))
		w.recover()
		w.check()
	})
}
