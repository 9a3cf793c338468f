// Package watch tells by the operating system's notices that files may have changed, for
// ingest.Feed.Run.
//
// These are hints and nothing else: there are none of changes that another machine makes
// on a network file system, and some get lost. Polling is the truth.
//
// Of the folders that are below a given one from the beginning, the last two by their
// names are followed, and so on below them: those of the newest years and days, as
// 2026/268. Every folder that appears later is followed.
//
// # Guarantees
//
//   - What changes in a folder gives a hint, and so does an error or an overflow of the notices.
//   - A folder of a new day is followed, with what was in it before it was seen.
//   - A folder that is not there, or gone, is followed when it is there (again).
//   - Hints that nobody takes are one hint, and nothing waits for it to be taken.
//   - After ctx has ended nothing is left, and the channel stays open.
package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Dirs gives a hint when something changes in the folders or below, until ctx ends. The
// error says that the system gives no notices, for example since it has no more of them to
// give; it is none that a folder is not there.
func Dirs(ctx context.Context, dirs ...string) (<-chan struct{}, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	return watch(ctx, w, 10*time.Second, dirs), nil
}

// watch looks for folders that are not there every so often. In the end it closes w.
func watch(ctx context.Context, w *fsnotify.Watcher, every time.Duration, dirs []string) <-chan struct{} {
	hints := make(chan struct{}, 1)
	for _, dir := range dirs {
		follow(w, dir)
	}
	go func() {
		defer w.Close() // of the notices nothing is wanted any more
		retry := time.NewTicker(every)
		defer retry.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-w.Events:
				if e.Has(fsnotify.Create) {
					follow(w, e.Name)
				}
			case <-w.Errors:
			case <-retry.C:
				if !missing(w, dirs) {
					continue
				}
			}
			select {
			case hints <- struct{}{}:
			default:
			}
		}
	}()
	return hints
}

// missing follows those folders that are not followed, and reports whether there is one now.
func missing(w *fsnotify.Watcher, dirs []string) bool {
	followed := w.WatchList()
	found := false
	for _, dir := range dirs {
		if !slices.Contains(followed, filepath.Clean(dir)) {
			found = follow(w, dir) || found
		}
	}
	return found
}

// follow follows a folder and the newest below it. It reports whether it is one. What
// cannot be followed gives no hints.
func follow(w *fsnotify.Watcher, name string) bool {
	if info, err := os.Stat(name); err != nil || !info.IsDir() || w.Add(name) != nil {
		return false
	}
	entries, err := os.ReadDir(name) // in the order of their names; an error leaves some out
	if err != nil && len(entries) == 0 {
		return true
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() })
	for _, e := range entries[max(0, len(entries)-2):] {
		follow(w, filepath.Join(name, e.Name()))
	}
	return true
}
