package vmimage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// machines are of the kinds that an engine treats differently.
var machines = map[string]func(t *testing.T) *world{
	"cold": func(t *testing.T) *world {
		return newWorld(t, running("db", vmtest.Behaviour{Record: true, Polls: 2}))
	},
	"deaf": func(t *testing.T) *world {
		w := newWorld(t, running("deaf", vmtest.Behaviour{Record: true, IgnoresACPI: true, AgentDead: true}))
		w.config.Machines[0].Shutdown = 2 * time.Second
		return w
	},
	"off": func(t *testing.T) *world {
		return newWorld(t, vmtest.Config{Name: "spare", Disks: [][]byte{random(3, 16<<10)}, NVRAM: true})
	},
	"live": func(t *testing.T) *world {
		w := newWorld(t, running("live", vmtest.Behaviour{Record: true}))
		w.config.Machines[0].Mode = vmimage.Live
		return w
	},
}

var all = []string{"cold", "deaf", "off", "live"}

// changes are the methods of a host that change something: a kill at any other leaves what
// a kill after the change before it leaves.
var changes = []string{
	"Start", "Shutdown", "Destroy", "Suspend", "Resume", "Snapshot", "Commit", "Pivot", "AbortBlockJob", "Freeze", "Thaw", "SetMetadata",
}

// each runs a case for each kind of machine, each of the methods, and n = 1, 2, … in a
// world of its own, until it reports that its fault was not reached, and wants everything in
// order after each.
func each(t *testing.T, kinds []string, methods []string, do func(w *world, f vmtest.Fault) (reached bool)) {
	for _, kind := range kinds {
		make := machines[kind]
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cases := 0
			for _, method := range methods {
				for n, reached := 1, true; reached; n++ {
					ok := t.Run(fmt.Sprint(method, n), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							w := make(t)
							w.config.Policy = vmimage.Policy{Last: 1}
							w.image()
							w.host.Mark()
							if reached = do(w, vmtest.Fault{N: n, Method: method}); reached {
								cases++
							}
							w.check()
							w.good()
						})
					})
					if !ok {
						t.FailNow()
					}
				}
			}
			t.Logf("%d cases", cases)
		})
	}
}

// good wants a verified, right image of each machine.
func (w *world) good(msg ...any) {
	w.t.Helper()
	for _, m := range w.config.Machines {
		newest := vmimage.Image{}
		for _, i := range w.images(m.Name) {
			if !i.Verified.IsZero() {
				newest = i
			}
		}
		require.NotEmpty(w.t, newest.ID, msg...)
		_, err := w.target.Verify(context.Background(), newest)
		require.NoError(w.t, err, msg...)
	}
}

// Whatever call to the host fails, with or without effect, everything is in order at the
// end of the run, or of the next one.
func TestRun_SurvivesEachFailedCall(t *testing.T) {
	t.Parallel()
	for kind, methods := range map[vmtest.Kind][]string{vmtest.Lost: {""}, vmtest.Applied: changes} {
		t.Run(kind.String(), func(t *testing.T) {
			each(t, all, methods, func(w *world, f vmtest.Fault) bool {
				f.Kind = kind
				w.host.Fail(f)
				w.run(func(e *vmimage.Engine, _ *vmimage.Journal) { _, _ = e.Run(w.t.Context()) })
				reached := w.host.Failed()
				for f.Method == "" && !w.host.Failed() { // so it is not for those who look at what is left
					_, _ = w.host.Hostname(w.t.Context())
				}
				w.recover()
				return reached
			})
		})
	}
}

// Wherever the program is killed, before or after the effect of a call to the host, the
// next run puts everything in order, also if the host has lost its power.
func TestRecover_AfterAKillAtEachCall(t *testing.T) {
	t.Parallel()
	for _, kind := range []vmtest.Kind{vmtest.KillBefore, vmtest.KillAfter} {
		for _, power := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, power lost %v", kind, power), func(t *testing.T) {
				each(t, all, changes, func(w *world, f vmtest.Fault) bool {
					f.Kind = kind
					killed := w.killed(func() { w.host.Fail(f) }, run)
					if power && w.unsettled() {
						w.host.PowerLoss()
					}
					w.recover()
					return killed
				})
			})
		}
	}
}

// So it does when it is killed once more while it puts things in order.
func TestRecover_AfterTwoKills(t *testing.T) {
	t.Parallel()
	for _, first := range []vmtest.Fault{
		{Method: "Shutdown", N: 1}, {Method: "Start", N: 1}, {Method: "Snapshot", N: 1}, {Method: "Resume", N: 1},
		{Method: "Commit", N: 1}, {Method: "Suspend", N: 1}, {Method: "Pivot", N: 1}, {Method: "Commit", N: 2}, {Method: "Pivot", N: 2}, {Method: "SetMetadata", N: 2},
	} {
		t.Run(fmt.Sprint(first.Method, first.N), func(t *testing.T) {
			each(t, []string{"cold"}, changes, func(w *world, second vmtest.Fault) bool {
				first.Kind, second.Kind = vmtest.KillAfter, vmtest.KillBefore
				w.killed(func() { w.host.Fail(first) }, run)
				if second.N%2 == 0 && w.unsettled() {
					w.host.PowerLoss()
				}
				killed := w.killed(func() { w.host.Fail(second) }, func(e *vmimage.Engine) { _, _ = e.Recover(w.t.Context()) })
				w.recover()
				return killed
			})
		})
	}
}

func run(e *vmimage.Engine) { _, _ = e.Run(context.Background()) }

// Wherever the program is killed, before or after an entry is in the journal, the next run
// puts everything in order.
func TestRecover_AfterAKillAtEachEntry(t *testing.T) {
	t.Parallel()
	for _, power := range []bool{false, true} {
		t.Run(fmt.Sprintf("power lost %v", power), func(t *testing.T) {
			each(t, all, []string{""}, func(w *world, f vmtest.Fault) bool {
				at := &atEntry{n: f.N}
				w.config.Logger = slog.New(at)
				killed := w.killed(func() {
					at.do = func() {
						w.host.Fail(vmtest.Fault{N: 1, Kind: vmtest.KillBefore})
						_, err := w.host.Hostname(context.Background())
						require.Error(w.t, err)
					}
				}, run)
				w.config.Logger = nil
				if power && w.unsettled() {
					w.host.PowerLoss()
				}
				w.recover()
				return killed
			})
		})
	}
}

// unsettled reports whether a job has begun and not ended.
func (w *world) unsettled() bool {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.journal, "*.journal"))
	require.NoError(w.t, err)
	text, err := os.ReadFile(files[0])
	require.NoError(w.t, err)
	return bytes.Contains(text, []byte(`"step":"begin"`)) && !bytes.Contains(text, []byte(`"step":"end"`))
}

// atEntry does something at the n-th moment before or after an entry of a journal.
type atEntry struct {
	n  int
	do func()
}

func (a *atEntry) Enabled(context.Context, slog.Level) bool { return true }
func (a *atEntry) WithAttrs([]slog.Attr) slog.Handler       { return a }
func (a *atEntry) WithGroup(string) slog.Handler            { return a }
func (a *atEntry) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "journal" && r.Level == slog.LevelDebug {
		if a.n--; a.n == 0 {
			a.do()
		}
	}
	return nil
}

// killed runs do with an engine that is killed at a fault of the host that arm sets, and
// reports whether it was.
func (w *world) killed(arm func(), do func(e *vmimage.Engine)) (killed bool) {
	w.t.Helper()
	w.run(func(e *vmimage.Engine, j *vmimage.Journal) {
		w.host.OnKill = func() { killed = true; j.Close() }
		arm()
		do(e)
	})
	w.host.OnKill = nil
	w.host.Revive()
	return killed
}

// recover is the next run of the program, at boot.
func (w *world) recover() {
	w.t.Helper()
	w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
		results, err := e.Recover(w.t.Context())
		require.NoError(w.t, err)
		for _, r := range results {
			require.NoError(w.t, r.Err)
		}
	})
}

// A machine that cannot be started is told of as such, and started by a later run.
func TestRun_TellsOfAMachineThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}), running("dependent", vmtest.Behaviour{}))
		w.config.Machines[1].After = []string{"web01"}
		w.host.Before("Start", 1, func() { w.host.SetJob(uuidOf(t, w, "web01"), "migration") })
		w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
			results, err := e.Run(t.Context())
			require.NoError(t, err)
			down, ok := errors.AsType[*vmimage.RestartError](results[0].Err)
			require.True(t, ok, "%v", results[0].Err)
			require.Equal(t, "web01", down.Machine)
			refused, ok := errors.AsType[*vmimage.RefusedError](results[1].Err)
			require.True(t, ok, "%v", results[1].Err)
			require.Equal(t, "dependent", refused.Machine)
		})
		w.host.SetJob(uuidOf(t, w, "web01"), "")
		w.recover()
		w.check()
	})
}
