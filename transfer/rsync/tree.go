package rsync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

// tree is a plan that makes a directory what the list says.
type tree struct {
	r       *receiver
	root    *os.Root
	at      string // the destination in root
	only    string // the name for the only file of the list; "" for its own
	filters filter.List
	dirs    dirs
	free    chan *dirs // for those who rebuild files
	list    *list      // that is being gone through
	made    []*flist.Entry
	mode    map[*flist.Entry]uint32 // of directories, before they were opened for writing
	blocked map[string]bool         // directories that cannot be made
	links   map[int32]*group        // by the index that all of a group have
	groups  []*group                // with more than one
	doomed  []doomed
	deleted [5]int32
}

// makeTree makes the directory dest of root, or the file, what is sent.
func (r *receiver) makeTree(ctx context.Context, root *os.Root, dest string) error {
	t, err := newTree(r, root, dest)
	if err != nil {
		return err
	}
	defer t.close()
	r.plan = t
	return r.run(ctx)
}

// newTree prepares the directory dest of root for what the receiver is sent.
func newTree(r *receiver, root *os.Root, dest string) (*tree, error) {
	filters, err := r.o.filters()
	if err != nil {
		return nil, err
	}
	t := &tree{
		r: r, root: root, at: inRoot(dest), filters: filters, free: make(chan *dirs, maxBuilders+workers),
		mode: make(map[*flist.Entry]uint32), blocked: make(map[string]bool), links: make(map[int32]*group),
	}
	if err := t.destination(dest); err != nil {
		return nil, &Error{Code: CodeFiles, Err: fmt.Errorf("destination %s: %w", quote(dest), bare(err))}
	}
	t.dirs = dirs{root: root, named: []string{t.at}}
	for range cap(t.free) {
		t.free <- &dirs{root: root, named: []string{t.at}}
	}
	return t, nil
}

func (t *tree) close() {
	t.dirs.close()
	for range cap(t.free) {
		(<-t.free).close()
	}
}

// destination decides whether dest is a directory or the name of a file.
func (t *tree) destination(dest string) error {
	fi, err := t.root.Stat(t.at)
	isDir := err == nil && fi.IsDir()
	slash := len(dest) > 0 && dest[len(dest)-1] == '/'
	list := t.r.first.entries
	single := len(list) == 1 && !list[0].IsDir()
	switch {
	case isDir:
		return nil
	case single && !slash:
		t.only, t.at = path.Base(t.at), path.Dir(t.at)
		return nil
	case err == nil:
		return errors.New("not a directory")
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case t.r.o.DryRun:
		return nil
	}
	return t.root.Mkdir(t.at, 0o777)
}

// name is where an entry belongs, in root.
func (t *tree) name(entry string) string {
	if t.only != "" {
		return path.Join(t.at, t.only)
	}
	return path.Join(t.at, entry)
}

func (t *tree) begin(l *list) {
	t.list = l
	switch t.r.o.Delete {
	case DeleteBefore:
		for _, e := range l.entries {
			t.sweep(e)
		}
	case DeleteDuring, DeleteDelay:
		if l.dir != nil {
			t.sweep(l.dir)
		}
	}
}

func (t *tree) entry(e *flist.Entry) *job {
	j, err := t.decide(e)
	if err != nil {
		t.r.fail(e.Name, bare(err))
		if e.IsDir() {
			t.blocked[strings.Clone(e.Name)] = true
		}
	}
	return j
}

func (t *tree) decide(e *flist.Entry) (*job, error) {
	if t.isBlocked(e) {
		return nil, errors.New("its directory could not be made")
	}
	if t.isLater(e) {
		return nil, nil
	}
	switch e.Mode & modeType {
	case modeDir:
		err := t.dir(e)
		if err == nil && t.list.holds(e) && (t.r.o.Delete == DeleteDuring || t.r.o.Delete == DeleteDelay) {
			t.sweep(e)
		}
		return nil, err
	case modeFile:
		return t.file(e)
	}
	return nil, t.special(e)
}

// isBlocked reports whether an entry is below a directory that cannot be made.
func (t *tree) isBlocked(e *flist.Entry) bool {
	if len(t.blocked) == 0 {
		return false
	}
	for dir := path.Dir(e.Name); dir != "."; dir = path.Dir(dir) {
		if t.blocked[dir] {
			return true
		}
	}
	return false
}

// lstat describes what is under a name of root; nil if nothing is.
func (t *tree) lstat(name string) (fs.FileInfo, error) {
	dir, base, err := t.enter(name)
	if err != nil {
		return nil, notExist(err)
	}
	fi, err := dir.Lstat(base)
	if err == nil && name == t.at {
		fi, err = dir.Stat(base) // it may be named by a link to it
	}
	if err != nil {
		return nil, notExist(err)
	}
	return fi, nil
}

// enter returns the directory of a name of root, and the rest of it.
func (t *tree) enter(name string) (*os.Root, string, error) {
	if name == "." {
		return t.root, ".", nil
	}
	return t.dirs.enter(name)
}

// in does something to a name in its directory.
func (t *tree) in(name string, do func(dir *os.Root, base string) error) error {
	dir, base, err := t.enter(name)
	if err != nil {
		return err
	}
	return do(dir, base)
}

// notExist is nil for an error that says that there is nothing.
func notExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dir makes a directory, or sees to it that files can be made in it.
func (t *tree) dir(e *flist.Entry) error {
	name := t.name(e.Name)
	fi, err := t.lstat(name)
	if err != nil {
		return err
	}
	existed := fi != nil
	if existed && !fi.IsDir() && t.r.o.IgnoreExisting {
		return errors.New("what is in its place is left alone")
	}
	if existed && !fi.IsDir() {
		if fi.Mode()&fs.ModeSymlink != 0 || fi.Mode().IsRegular() || t.r.o.Force {
			if err := t.remove(name, fi.Mode()); err != nil {
				return err
			}
			fi = nil
		} else {
			return fmt.Errorf("a %s is in the way", fi.Mode().Type())
		}
	}
	switch {
	case !existed && t.r.o.Existing:
		return nil
	case t.r.o.DryRun:
	case fi == nil:
		err := t.in(name, func(dir *os.Root, base string) error {
			if err := dir.Mkdir(base, permissions(e.Mode)&0o777|0o700); err != nil || !t.r.o.Fsync {
				return err
			}
			return syncDir(dir, ".")
		})
		if err != nil {
			return err
		}
		t.r.count(func(s *Stats) { s.Made++ })
	case fi.Mode()&0o700 != 0o700:
		err := t.in(name, func(dir *os.Root, base string) error { return dir.Chmod(base, fi.Mode()|0o700) })
		if err != nil {
			return err
		}
		if !t.r.o.Perms {
			t.mode[e], _ = wireMode(fi.Mode())
		}
	}
	t.made = append(t.made, e)
	return nil
}

// late links what is linked, deletes what is to be deleted late, and gives the
// directories their attributes.
func (t *tree) late(ctx context.Context) ([5]int32, error) {
	for _, g := range t.groups {
		if !t.r.o.DryRun {
			t.link(g)
		}
	}
	if t.r.o.Delete == DeleteAfter {
		for _, e := range t.list.entries {
			t.find(e)
		}
	}
	t.deleteDoomed()
	// From the bottom up: whatever is made in a directory changes its time.
	for _, e := range slices.Backward(t.made) {
		if t.r.o.DryRun {
			break
		}
		if err := t.finish(e); err != nil {
			t.r.fail(e.Name, bare(err))
		}
	}
	return t.deleted, ctx.Err()
}

// finish gives a directory its attributes.
func (t *tree) finish(e *flist.Entry) error {
	name := t.name(e.Name)
	return t.in(name, func(dir *os.Root, base string) error {
		if mode, ok := t.mode[e]; ok {
			if err := dir.Chmod(base, permissions(mode)); err != nil {
				return err
			}
		}
		fi, err := dir.Stat(base)
		if err == nil && !t.sameInfo(e, fi) {
			err = t.attributes(dir, base, e)
		}
		if err == nil && t.r.o.Fsync {
			err = syncDir(dir, base) // the links made in it, too
		}
		return err
	})
}
