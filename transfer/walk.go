package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Walk yields the tree opts.From of s in the order of names, its top first as
// ".", less what the options leave out. Names are below the top. What cannot
// be listed is an error; the walk goes on with the rest.
func Walk(ctx context.Context, s Store, opts *Options) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		o := opts.orDefault()
		l, err := list(ctx, s, o.From, &o, true)
		if err != nil {
			yield(Info{}, fmt.Errorf("transfer: %w", err))
			return
		}
		for _, f := range l.failed {
			if !yield(Info{}, fmt.Errorf("transfer: %w", f)) {
				return
			}
		}
		for _, info := range l.infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// listing is a tree of a store, with names below its top.
type listing struct {
	infos   []Info // sorted by name
	skipped []Skip
	failed  []*FileError
}

// list walks a tree level by level, the directories of a level side by side.
// With filter, what the options leave out is left out.
func list(ctx context.Context, s Store, top string, o *Options, filter bool) (*listing, error) {
	if filter {
		if err := validPatterns(slices.Concat(o.Include, o.Exclude)); err != nil {
			return nil, err
		}
	}
	var root Info
	err := o.retry(ctx, top, func() (_ bool, err error) {
		root, err = s.Stat(ctx, top)
		return false, err
	})
	if err != nil {
		return nil, fileError("list", top, err)
	}
	if !root.Mode.IsDir() {
		return nil, fileError("list", top, fmt.Errorf("not a directory but a %s", kind(root.Mode)))
	}
	root.Name = "."
	l := &listing{infos: []Info{root}}
	if tl, ok := s.(TreeLister); ok {
		var infos []Info
		err := o.retry(ctx, top, func() (_ bool, err error) {
			infos, err = tl.ListTree(ctx, top)
			return false, err
		})
		switch {
		case err == nil:
			return l.of(infos, o, filter), nil
		case ctx.Err() != nil || errors.Is(err, ErrLost):
			return nil, err
		}
		o.Logger.Debug("not listed at once", "dir", top, "err", err)
	}
	var mu sync.Mutex
	for level := []string{"."}; len(level) > 0; {
		var next []string
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(o.Workers)
		for _, dir := range level {
			g.Go(func() error {
				var entries []Info
				err := o.retry(gctx, dir, func() (bool, error) {
					entries = entries[:0]
					for info, err := range s.List(gctx, join(top, dir)) {
						if err != nil {
							return false, err
						}
						info.Name = join(dir, path.Base(info.Name))
						entries = append(entries, info)
					}
					return false, nil
				})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil && (gctx.Err() != nil || errors.Is(err, ErrLost)):
					return err
				case err != nil && dir == ".":
					return fileError("list", top, err)
				case err != nil:
					l.failed = append(l.failed, fileError("list", dir, err))
				}
				for _, info := range entries {
					if !filter || l.takes(info, o) {
						l.infos = append(l.infos, info)
						if info.Mode.IsDir() {
							next = append(next, info.Name)
						}
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		level = next
	}
	return l.sorted(o, filter), nil
}

// of makes the listing of all that is in a tree.
func (l *listing) of(infos []Info, o *Options, filter bool) *listing {
	taken := map[string]bool{".": true}
	kept := infos[:0]
	for _, info := range infos {
		switch {
		case info.Name == ".":
			l.infos[0] = info // it may know the time better
		case taken[path.Dir(info.Name)] && (!filter || l.takes(info, o)):
			kept = append(kept, info)
			if info.Mode.IsDir() {
				taken[info.Name] = true
			}
		}
	}
	l.infos = append(kept, l.infos...)
	return l.sorted(o, filter)
}

func (l *listing) sorted(o *Options, filter bool) *listing {
	if filter && len(o.Include) > 0 {
		l.dropEmptyDirs()
	}
	slices.SortFunc(l.infos, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(l.skipped, func(a, b Skip) int { return cmp.Compare(a.Name, b.Name) })
	return l
}

// takes decides on one entry, and notes why not.
func (l *listing) takes(info Info, o *Options) bool {
	isDir := info.Mode.IsDir()
	switch {
	case matchAny(o.Exclude, info.Name, isDir):
		return false
	case !isDir && len(o.Include) > 0 && !matchAny(o.Include, info.Name, false):
		return false
	case strings.HasPrefix(path.Base(info.Name), ReservedPrefix):
		l.skipped = append(l.skipped, Skip{info.Name, "the name is reserved"})
		return false
	case isDir, info.Mode.IsRegular(), info.Mode.Type() == fs.ModeSymlink:
		return true
	}
	l.skipped = append(l.skipped, Skip{info.Name, kind(info.Mode)})
	return false
}

// dropEmptyDirs leaves the directories that lead to something else.
func (l *listing) dropEmptyDirs() {
	used := map[string]bool{".": true}
	for _, info := range l.infos {
		if !info.Mode.IsDir() {
			for dir := path.Dir(info.Name); !used[dir]; dir = path.Dir(dir) {
				used[dir] = true
			}
		}
	}
	l.infos = slices.DeleteFunc(l.infos, func(i Info) bool { return i.Mode.IsDir() && !used[i.Name] })
}
