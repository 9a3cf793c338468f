package vmimage_test

import (
	"context"
	"io/fs"
	"iter"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// Without the room for it nothing is touched, and the error says what is lacking.
func TestRun_TouchesNothingWithoutRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		w.config.Space = diskspace.Planner{Stat: func(string) (diskspace.Usage, error) {
			return diskspace.Usage{Volume: 1, Total: 1 << 30, Free: 1000, Avail: 1000}, nil
		}}
		w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
			_, err := e.Run(t.Context())
			require.ErrorIs(t, err, syscall.ENOSPC)
			t.Log(err)
		})
		require.Subset(t, []string{"Machines", "XML", "Job", "Metadata", "BlockInfo"}, w.host.Calls())
		w.check()
	})
}

// What the policy lets go goes first where there is too little room, and no more than that.
func TestRun_MakesRoomFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		for range 4 {
			w.image()
			time.Sleep(time.Hour)
		}
		before := w.images("web01")
		w.config.Policy = vmimage.Policy{Last: 2}
		w.config.Share = 1
		avail := uint64(1)
		w.config.Space = diskspace.Planner{Stat: func(string) (diskspace.Usage, error) {
			return diskspace.Usage{Volume: 1, Total: 1 << 30, Free: avail, Avail: avail}, nil
		}}
		w.config.Overlay = 1
		avail = uint64(before[0].Allocated()) // one image more is needed
		w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
			plan, err := e.Plan(t.Context())
			require.NoError(t, err)
			require.NoError(t, plan.Short)
			if diff := cmp.Diff(before[:1], plan.MakeRoom); diff != "" {
				t.Errorf("(-oldest +goes):\n%s", diff)
			}
			w.host.Before("Shutdown", 1, func() { require.Len(t, w.images("web01"), 3) })
			results, err := e.Run(t.Context())
			require.NoError(t, err)
			require.Len(t, results, 1)
			if diff := cmp.Diff(before[:1], results[0].MadeRoom); diff != "" {
				t.Errorf("(-oldest +told):\n%s", diff)
			}
			require.Contains(t, strings.Join(results[0].Job().Notes, "\n"), "removed image "+before[0].ID+", 80.9 KiB, to make room")
		})
		require.Len(t, w.images("web01"), 2)
		w.check()
	})
}

// A target that becomes full leaves no image of this run, and all that were there.
func TestRun_KeepsTheLastGoodImageOnAFullTarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		w.image()
		w.config.Policy = vmimage.Policy{Last: 1}
		w.config.Target = &full{w.target}
		r := w.only()
		require.ErrorIs(t, r.Err, syscall.ENOSPC)
		w.check()
		w.good()
		require.Len(t, w.images("web01"), 1)
	})
}

type full struct{ vmimage.Target }

func (*full) Store(context.Context, vmimage.Image, vmimage.Content) (vmimage.Image, error) {
	return vmimage.Image{}, &fs.PathError{Op: "write", Path: "vda.img", Err: syscall.ENOSPC}
}

// The room that is counted with is what an image takes, also where its disk's file takes less.
func TestPlan_CountsWhatAnImageTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		open := w.config.Open
		w.config.Open = func(path, format string) (vmimage.Source, error) {
			s, err := open(path, format)
			return compressed{s}, err
		}
		w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
			plan, err := e.Plan(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, mib, plan.Machines[0].Disks[0].Allocated)
		})
	})
}

// compressed is a disk with a mebibyte of data, whatever its file takes.
type compressed struct{ vmimage.Source }

func (compressed) Extents() iter.Seq2[vmimage.Extent, error] {
	return func(yield func(vmimage.Extent, error) bool) { yield(vmimage.Extent{Len: mib}, nil) }
}
