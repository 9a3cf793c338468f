package watch_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/ingest/watch"
)

// After ctx has ended nothing is left.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start watches folders, and looks every so often for those that are not there.
func start(t *testing.T, every time.Duration, dirs ...string) (<-chan struct{}, *fsnotify.Watcher) {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	require.NoError(t, err)
	return watch.Watch(t.Context(), w, every, dirs), w
}

// wants waits for a hint, and then until there are no more.
func wants(t *testing.T, hints <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-hints:
	case <-time.After(10 * time.Second):
		require.Fail(t, "no hint", what)
	}
	for {
		select {
		case <-hints:
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

func write(t *testing.T, parts ...string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(parts...), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = f.WriteString("12 5\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func mkdir(t *testing.T, parts ...string) {
	require.NoError(t, os.MkdirAll(filepath.Join(parts...), 0o755))
}

// What changes in a folder gives a hint, and so does an error or an overflow of the notices.
func TestDirs_HintsAtWhatChanges(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	hints, err := watch.Dirs(t.Context(), dir, other)
	require.NoError(t, err)
	write(t, dir, "a")
	wants(t, hints, "a new file")
	write(t, dir, "a")
	wants(t, hints, "a file that grows")
	require.NoError(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")))
	wants(t, hints, "a file that is renamed")
	require.NoError(t, os.Remove(filepath.Join(dir, "b")))
	wants(t, hints, "a file that is gone")
	write(t, other, "a")
	wants(t, hints, "a file of another folder")

	hints, w := start(t, time.Hour, dir)
	w.Errors <- fsnotify.ErrEventOverflow
	wants(t, hints, "an overflow")
}

// A folder of a new day is followed, with what was in it before it was seen.
func TestDirs_FollowsANewDay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, old := range []string{"2024/366", "2025/001", "2025/100", "2025/365"} {
		mkdir(t, dir, old)
	}
	hints, w := start(t, time.Hour, dir)
	write(t, dir, "2025/365/a")
	wants(t, hints, "the newest day there is")
	require.NotContains(t, w.WatchList(), filepath.Join(dir, "2025/001"))

	mkdir(t, dir, "2025/002")
	wants(t, hints, "an older day that appears")
	write(t, dir, "2025/002/a")
	wants(t, hints, "a file in it")

	whole := t.TempDir()
	mkdir(t, whole, "2026/001")
	write(t, whole, "2026/001/a")
	require.NoError(t, os.Rename(filepath.Join(whole, "2026"), filepath.Join(dir, "2026")))
	wants(t, hints, "a new year")
	write(t, dir, "2026/001/a")
	wants(t, hints, "a file of its first day")
}

// A folder that is not there, or gone, is followed when it is there (again).
func TestDirs_FollowsAFolderWhenItIsThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "mounted", "later")
	hints, _ := start(t, 10*time.Millisecond, dir+"/.")
	for range 2 {
		mkdir(t, dir)
		wants(t, hints, "a folder that appears")
		write(t, dir, "a")
		wants(t, hints, "a file in it")
		require.NoError(t, os.RemoveAll(dir))
		wants(t, hints, "a folder that is gone")
	}
}

// Hints that nobody takes are one hint, and nothing waits for it to be taken; after ctx
// has ended the channel stays open.
func TestDirs_HintsAreOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := fsnotify.NewWatcher()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	hints := watch.Watch(ctx, w, time.Hour, []string{dir})
	for range 1000 {
		w.Errors <- fsnotify.ErrEventOverflow // is taken, though its hint is not
	}
	require.Equal(t, 1, cap(hints))
	wants(t, hints, "one of many")
	cancel()
	require.Eventually(t, func() bool { return w.Add(dir) == fsnotify.ErrClosed }, 10*time.Second, time.Millisecond)
	select {
	case <-hints:
		require.Fail(t, "a hint, or a closed channel, which is always ready")
	default:
	}
}
