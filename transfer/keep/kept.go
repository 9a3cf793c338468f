package keep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer"
)

// Kept is a day that is kept.
type Kept struct {
	Date      julian.Date
	Dirs      []string // of its states in the target, the first one first
	Revisions []int    // of Dirs; 1 is the day's own folder
	Sealed    bool     // the latest has a manifest: it was kept by this package
}

// Latest is the folder of the last state.
func (k Kept) Latest() string { return k.Dirs[len(k.Dirs)-1] }

// found is what a walk of the target finds.
type found struct {
	kept  []Kept
	stage []string // of days half fetched
	trash []string // of days half removed

	inTheWay map[string]fs.FileMode // what is no folder and may have the name of one
}

// Kept lists the kept days, oldest first.
func (k *Keeper) Kept(ctx context.Context) ([]Kept, error) {
	f, err := k.find(ctx)
	if err != nil {
		return nil, fmt.Errorf("keep: %w", err)
	}
	return f.kept, nil
}

// find walks only the folders that may lead to a day.
func (k *Keeper) find(ctx context.Context) (found, error) {
	f := found{inTheWay: make(map[string]fs.FileMode)}
	type state struct {
		n   int
		dir string
	}
	days := make(map[julian.Date][]state)
	level := []string{"."}
	for depth := 1; depth <= k.c.TargetDays.Depth(); depth++ {
		var next []string
		for _, dir := range level {
			for info, err := range k.c.Target.List(ctx, dir) {
				if err != nil {
					return f, fmt.Errorf("list %s: %w", k.place(dir), err)
				}
				base := path.Base(info.Name)
				switch {
				case !info.Mode.IsDir():
					f.inTheWay[info.Name] = info.Mode
				case strings.HasPrefix(base, stagePrefix):
					f.stage = append(f.stage, info.Name)
				case strings.HasPrefix(base, trashPrefix):
					f.trash = append(f.trash, info.Name)
				case depth < k.c.TargetDays.Depth():
					if k.c.TargetDays.MatchPrefix(info.Name) {
						next = append(next, info.Name)
					}
				default:
					dir, n := cutRev(info.Name)
					if d, ok := k.c.TargetDays.Match(dir); ok {
						days[d] = append(days[d], state{n, info.Name})
					}
				}
			}
		}
		level = next
	}
	for d, states := range days {
		slices.SortFunc(states, func(a, b state) int { return cmp.Compare(a.n, b.n) })
		kept := Kept{Date: d}
		for _, s := range states {
			kept.Dirs, kept.Revisions = append(kept.Dirs, s.dir), append(kept.Revisions, s.n)
		}
		_, err := k.c.Target.Stat(ctx, path.Join(kept.Latest(), ManifestName))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f, fmt.Errorf("%s: %w", k.place(kept.Latest()), err)
		}
		kept.Sealed = err == nil
		f.kept = append(f.kept, kept)
	}
	slices.SortFunc(f.kept, func(a, b Kept) int { return a.Date.Compare(b.Date) })
	slices.Sort(f.stage)
	return f, nil
}

// VerifyError names what is wrong with a kept folder.
type VerifyError struct {
	Dir     string                // its place, as a person finds it
	Corrupt []string              // files whose bytes are not those of the manifest
	Missing []string              // files of the manifest that are not there
	Failed  []*transfer.FileError // files that cannot be read
}

func (e *VerifyError) Error() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"corrupted", e.Corrupt}, {"missing", e.Missing}} {
		if n := len(p.names); n > 0 {
			first := fmt.Sprintf("%s: %q", p.what, p.names[0])
			if n > 1 {
				first = fmt.Sprintf("%s and %d more", first, n-1)
			}
			parts = append(parts, first)
		}
	}
	for _, f := range e.Failed {
		parts = append(parts, f.Error())
	}
	return fmt.Sprintf("%s is not as it was kept: %s", e.Dir, strings.Join(parts, "; "))
}

// ErrNoManifest is returned for a folder in a day's place that was not kept by
// this package, and cannot be verified.
var ErrNoManifest = errors.New("no manifest " + ManifestName)

// Verify reads all files of a kept day, all its states, and compares them with
// their manifests. It returns how many files are as they were kept; the errors
// are [*VerifyError] and [ErrNoManifest].
func (k *Keeper) Verify(ctx context.Context, day Kept) (files int, err error) {
	for _, dir := range day.Dirs {
		n, e := k.verifyDir(ctx, dir)
		files += n
		err = errors.Join(err, e)
	}
	return files, err
}

func (k *Keeper) verifyDir(ctx context.Context, dir string) (int, error) {
	sums, err := k.readManifest(ctx, dir)
	if err != nil {
		return 0, err
	}
	c, err := transfer.CheckSums(ctx, k.c.Target, sums, k.options(dir, ""))
	if err != nil {
		return 0, fmt.Errorf("keep: %w", err)
	}
	if len(c.Differing)+len(c.Missing)+len(c.Failed) > 0 {
		return len(c.Same), &VerifyError{Dir: k.place(dir), Corrupt: c.Differing, Missing: c.Missing, Failed: c.Failed}
	}
	return len(c.Same), nil
}

func (k *Keeper) readManifest(ctx context.Context, dir string) ([]transfer.Sum, error) {
	r, err := k.c.Target.Open(ctx, path.Join(dir, ManifestName), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keep: %s: %w", k.place(dir), ErrNoManifest)
	}
	if err != nil {
		return nil, fmt.Errorf("keep: %s: %w", k.place(dir), err)
	}
	defer r.Close()
	var sums []transfer.Sum
	for sum, err := range transfer.ReadSums(r) {
		if err != nil {
			return nil, fmt.Errorf("keep: %s/%s: %w", k.place(dir), ManifestName, err)
		}
		sums = append(sums, sum)
	}
	return sums, nil
}
