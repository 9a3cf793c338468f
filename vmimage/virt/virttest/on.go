package virttest

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
)

func (s *suite) startedPaused(t *testing.T) {
	require.NoError(t, s.Host.Start(t.Context(), s.UUID, true))
	require.Equal(t, virt.Paused, s.state(t))
	require.ErrorIs(t, s.Host.Ping(t.Context(), s.UUID), virt.ErrAgent)
	s.requireFiles(t, "vda", s.base(t, "vda"))
}

func (s *suite) startedTwice(t *testing.T) {
	for _, paused := range []bool{true, false} {
		require.ErrorIs(t, s.Host.Start(t.Context(), s.UUID, paused), virt.ErrState)
		require.Equal(t, virt.Paused, s.state(t))
	}
}

func (s *suite) undefinedOn(t *testing.T) {
	require.ErrorIs(t, s.Host.Undefine(t.Context(), s.UUID), virt.ErrState)
	m, err := s.Host.Machine(t.Context(), s.UUID)
	require.NoError(t, err)
	require.True(t, m.Persistent)
}

func (s *suite) snapshotHeld(t *testing.T) {
	a, b := s.base(t, "vda"), s.base(t, "vdb")
	before, err := s.Host.BlockInfo(t.Context(), s.UUID, "vda")
	require.NoError(t, err)
	overA, overB := s.overlay(), s.overlay()
	require.NoError(t, s.Host.Snapshot(t.Context(), s.UUID, []virt.Overlay{{Disk: "vda", Path: overA}, {Disk: "vdb", Path: overB}}))
	require.Equal(t, virt.Paused, s.state(t))
	s.requireFiles(t, "vda", overA, a)
	s.requireFiles(t, "vdb", overB, b)
	after, err := s.Host.BlockInfo(t.Context(), s.UUID, "vda")
	require.NoError(t, err)
	require.Equal(t, before.Capacity, after.Capacity)
	s.stable(t)
}

func (s *suite) resumed(t *testing.T) {
	require.NoError(t, s.Host.Resume(t.Context(), s.UUID))
	require.Equal(t, virt.Running, s.state(t))
	s.Ready(t)
	s.Write(t, "first", "written over the base")
	require.Equal(t, "written over the base", s.Read(t, "first"))
}

func (s *suite) merged(t *testing.T) {
	for _, disk := range []string{"vda", "vdb"} {
		files, err := s.Host.Files(t.Context(), s.UUID, disk)
		require.NoError(t, err)
		require.Len(t, files, 2)
		s.merge(t, disk, files[0], files[1])
	}
	require.Equal(t, virt.Running, s.state(t))
	require.Equal(t, "written over the base", s.Read(t, "first"))
}

func (s *suite) heldTwice(t *testing.T) {
	for range 2 {
		require.NoError(t, s.Host.Suspend(t.Context(), s.UUID))
		require.Equal(t, virt.Paused, s.state(t))
	}
	for range 2 {
		require.NoError(t, s.Host.Resume(t.Context(), s.UUID))
		require.Equal(t, virt.Running, s.state(t))
	}
	require.NoError(t, s.Host.Ping(t.Context(), s.UUID))
}

func (s *suite) frozen(t *testing.T) {
	n, err := s.Host.Freeze(t.Context(), s.UUID)
	require.NoError(t, err)
	require.Positive(t, n)
	for range 2 {
		require.NoError(t, s.Host.Thaw(t.Context(), s.UUID))
	}
	s.Write(t, "thawed", "yes")
	require.Equal(t, "yes", s.Read(t, "thawed"))
}

func (s *suite) noDisk(t *testing.T) {
	_, err := s.Host.Files(t.Context(), s.UUID, "vdz")
	require.ErrorIs(t, err, virt.ErrNotFound)
	_, err = s.Host.BlockInfo(t.Context(), s.UUID, "vdz")
	require.ErrorIs(t, err, virt.ErrNotFound)
	_, err = s.Host.BlockJob(t.Context(), s.UUID, "vdz")
	require.ErrorIs(t, err, virt.ErrNotFound)
	_, err = s.Host.BlockJob(t.Context(), s.UUID, "vda")
	require.ErrorIs(t, err, virt.ErrNotFound)
}

func (s *suite) overlayExists(t *testing.T) {
	a, b := s.base(t, "vda"), s.base(t, "vdb")
	fresh, taken := s.overlay(), s.overlay()
	require.NoError(t, os.WriteFile(taken, []byte("somebody's"), 0o644))
	before, err := s.Host.XML(t.Context(), s.UUID, false)
	require.NoError(t, err)
	for _, overlays := range [][]virt.Overlay{
		{{Disk: "vda", Path: fresh}, {Disk: "vdb", Path: taken}},
		{{Disk: "vda", Path: taken}, {Disk: "vdb", Path: fresh}},
	} {
		require.ErrorIs(t, s.Host.Snapshot(t.Context(), s.UUID, overlays), fs.ErrExist)
		s.requireFiles(t, "vda", a)
		s.requireFiles(t, "vdb", b)
		require.NoFileExists(t, fresh)
	}
	after, err := s.Host.XML(t.Context(), s.UUID, false)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
	data, err := os.ReadFile(taken)
	require.NoError(t, err)
	require.Equal(t, "somebody's", string(data))
	require.NoError(t, os.Remove(taken))
}

func (s *suite) snapshotOne(t *testing.T) {
	a, b := s.base(t, "vda"), s.base(t, "vdb")
	over := s.overlay()
	require.NoError(t, s.Host.Snapshot(t.Context(), s.UUID, []virt.Overlay{{Disk: "vda", Path: over}}))
	require.Equal(t, virt.Running, s.state(t))
	s.requireFiles(t, "vda", over, a)
	s.requireFiles(t, "vdb", b)
}

func (s *suite) commitBusy(t *testing.T) {
	for _, name := range []string{"slow", "slower", "slowest"} {
		s.Write(t, name, "before the commit")
	}
	// So slow that it is not ready while this case goes on.
	require.NoError(t, s.Host.Commit(t.Context(), s.UUID, "vda", 1024))
	job, err := s.Host.BlockJob(t.Context(), s.UUID, "vda")
	require.NoError(t, err)
	require.True(t, job.Commit)
	require.False(t, job.Ready)
	disk := diskOf(t, s.parsed(t, false), "vda")
	require.True(t, disk.Job)
	require.False(t, disk.Ready)
	require.ErrorIs(t, s.Host.Commit(t.Context(), s.UUID, "vda", 0), virt.ErrBusy)
	require.ErrorIs(t, s.Host.Pivot(t.Context(), s.UUID, "vda"), virt.ErrBusy)
	job, err = s.Host.BlockJob(t.Context(), s.UUID, "vda")
	require.NoError(t, err)
	require.False(t, job.Ready)
}

func (s *suite) aborted(t *testing.T) {
	files, err := s.Host.Files(t.Context(), s.UUID, "vda")
	require.NoError(t, err)
	require.NoError(t, s.Host.AbortBlockJob(t.Context(), s.UUID, "vda"))
	_, err = s.Host.BlockJob(t.Context(), s.UUID, "vda")
	require.ErrorIs(t, err, virt.ErrNotFound)
	s.requireFiles(t, "vda", files...)
	s.Write(t, "later", "after the abort")
	require.NoError(t, s.Host.Suspend(t.Context(), s.UUID))
	s.merge(t, "vda", files[0], files[1])
	require.Equal(t, virt.Paused, s.state(t))
	require.NoError(t, s.Host.Resume(t.Context(), s.UUID))
	require.Equal(t, "before the commit", s.Read(t, "slowest"))
	require.Equal(t, "after the abort", s.Read(t, "later"))
}

func (s *suite) concurrent(t *testing.T) {
	var callers sync.WaitGroup
	for _, method := range []string{"Machine", "XML", "Files", "BlockInfo", "Job", "Ping", "Metadata"} {
		callers.Go(func() {
			for range 20 {
				if err := s.calls(s.UUID)[method](t.Context()); err != nil {
					t.Errorf("%s: %v", method, err)
				}
			}
		})
	}
	callers.Wait()
}

// watching is what a Watch has yielded so far.
type watching struct {
	mu     sync.Mutex
	events []virt.Event
	err    error
	done   bool
}

// watch watches a host until ctx ends.
func watch(ctx context.Context, h virt.Host) *watching {
	w := &watching{}
	go func() {
		for e, err := range h.Watch(ctx) {
			w.mu.Lock()
			w.events, w.err = append(w.events, e), err
			w.mu.Unlock()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.done = true
	}()
	return w
}

func (w *watching) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

func (w *watching) error() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// saw reports whether there was such an event since it was last asked and answered so.
func (w *watching) saw(uuid string, kind virt.Kind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.events, func(e virt.Event) bool { return e.UUID == uuid && e.Kind == kind }) {
		return false
	}
	w.events = nil
	return true
}

// subscribed holds the machine and lets it go on until the watcher is told: it begins to listen at
// a moment that nobody else can know. Then it is told of all that was done.
func (s *suite) subscribed(t *testing.T, w *watching) {
	t.Helper()
	until(t, "Watch tells of something", func() bool {
		require.NoError(t, s.Host.Suspend(t.Context(), s.UUID))
		require.NoError(t, s.Host.Resume(t.Context(), s.UUID))
		return w.saw(s.UUID, virt.StateChanged)
	})
	quiet := 0
	until(t, "Watch tells of nothing more", func() bool {
		quiet++
		if w.saw(s.UUID, virt.StateChanged) {
			quiet = 0
		}
		return quiet > 10
	})
}

func (s *suite) watched(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := watch(ctx, s.Host)
	s.subscribed(t, w)

	over := s.overlay()
	require.NoError(t, s.Host.Snapshot(t.Context(), s.UUID, []virt.Overlay{{Disk: "vda", Path: over}}))
	s.Write(t, "overlaid", "when it was shut down")
	require.NoError(t, s.Host.Shutdown(t.Context(), s.UUID, virt.ACPI))
	s.waitOff(t)
	until(t, "Watch tells of a stop", func() bool { return w.saw(s.UUID, virt.StateChanged) })
	require.Equal(t, over, diskOf(t, s.parsed(t, true), "vda").Path)

	require.NoError(t, s.Host.Start(t.Context(), s.UUID, false))
	until(t, "Watch tells of a start", func() bool { return w.saw(s.UUID, virt.StateChanged) })
	require.Equal(t, virt.Running, s.state(t))
	cancel()
	until(t, "Watch has ended", w.ended)
}

func (s *suite) overlaidAcross(t *testing.T) {
	s.Ready(t)
	require.NoError(t, s.Host.Ping(t.Context(), s.UUID))
	files, err := s.Host.Files(t.Context(), s.UUID, "vda")
	require.NoError(t, err)
	require.Len(t, files, 2)
	s.requireFiles(t, "vda", files...)
	require.Equal(t, "when it was shut down", s.Read(t, "overlaid"))
	s.merge(t, "vda", files[0], files[1])
	require.Equal(t, "when it was shut down", s.Read(t, "overlaid"))
}

func (s *suite) shutdownByAgent(t *testing.T) {
	require.NoError(t, s.Host.Shutdown(t.Context(), s.UUID, virt.Agent))
	s.waitOff(t)
	require.ErrorIs(t, s.Host.Shutdown(t.Context(), s.UUID, virt.ACPI), virt.ErrState)
}
