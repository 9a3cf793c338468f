package rsync

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// doomed is what is deleted later.
type doomed struct {
	name string
	mode fs.FileMode
}

// sweep deletes what a directory has beyond its list, now or later.
func (t *tree) sweep(e *flist.Entry) {
	t.find(e)
	if t.r.o.Delete == DeleteBefore || t.r.o.Delete == DeleteDuring {
		t.deleteDoomed()
	}
}

// deleteDoomed deletes what was found, unless the sender has said meanwhile that it
// could not read all of its side.
func (t *tree) deleteDoomed() {
	for _, d := range t.doomed {
		if t.incomplete() {
			break
		}
		t.delete(d.name, d.mode)
	}
	t.doomed = nil
}

// incomplete reports whether the sender could not read all of its side.
func (t *tree) incomplete() bool {
	t.r.session.mu.Lock()
	defer t.r.session.mu.Unlock()
	return t.r.ioErrors&ioGeneral != 0 && !t.r.o.IgnoreErrors
}

// find finds what a directory has beyond its list.
func (t *tree) find(e *flist.Entry) {
	o := t.r.o
	if e.Mode&modeType != modeDir || e.NoContent || t.incomplete() {
		return
	}
	name := t.name(e.Name)
	if fi, err := t.lstat(name); err != nil || fi == nil || !fi.IsDir() {
		return // not made yet, or told elsewhere
	}
	entries, err := t.readDir(name)
	if err != nil {
		t.r.fail(e.Name, bare(err))
		return
	}
	for _, de := range entries {
		as := path.Join(e.Name, de.Name())
		if t.listed(as) || !o.DeleteAll && t.filters.Protected(as, de.IsDir()) || o.PartialDir != "" && de.Name() == path.Clean(o.PartialDir) {
			continue
		}
		t.doomed = append(t.doomed, doomed{path.Join(name, de.Name()), de.Type()})
	}
}

// readDir lists a directory.
func (t *tree) readDir(name string) (entries []fs.DirEntry, err error) {
	err = t.in(name, func(dir *os.Root, base string) error {
		d, err := dir.Open(base)
		if err != nil {
			return err
		}
		defer d.Close()
		entries, err = d.ReadDir(-1)
		return err
	})
	return entries, err
}

// listed reports whether the list has a name, as whatever.
func (t *tree) listed(name string) bool {
	list := t.list.entries
	for _, mode := range []uint32{modeFile, modeDir} {
		probe := &flist.Entry{Name: name, Mode: mode}
		i := sort.Search(len(list), func(i int) bool { return flist.Compare(list[i], probe) >= 0 })
		if i < len(list) && list[i].Name == name {
			return true
		}
	}
	return false
}

// delete removes a name that the list does not have, with all that is in it.
func (t *tree) delete(name string, mode fs.FileMode) {
	o := t.r.o
	if mode.IsDir() && o.OneFileSystem && t.mounted(name) {
		return
	}
	if mode.IsDir() {
		entries, _ := t.readDir(name) // what is left makes Remove fail
		for _, de := range entries {
			child := path.Join(name, de.Name())
			if !o.DeleteAll && t.filters.Protected(t.below(child), de.IsDir()) {
				continue
			}
			t.delete(child, de.Type())
		}
	}
	done := 0
	for _, n := range t.deleted {
		done += int(n)
	}
	if o.MaxDelete < 0 || o.MaxDelete > 0 && done >= o.MaxDelete {
		t.r.session.mu.Lock()
		if t.r.exit == nil {
			t.r.exit = &Error{Code: CodeMaxDelete, Err: errors.New("there was more to delete than is allowed")}
		}
		t.r.session.mu.Unlock()
		return
	}
	if !o.DryRun {
		if err := t.in(name, (*os.Root).Remove); err != nil {
			if !errors.Is(err, fs.ErrNotExist) && !mode.IsDir() {
				t.r.fail(name, bare(err))
			}
			return
		}
	}
	kind := 0
	m, _ := wireMode(mode)
	switch m & modeType {
	case modeDir:
		kind = 1
	case modeLink:
		kind = 2
	case modeBlock, modeChar:
		kind = 3
	case modePipe, modeSocket:
		kind = 4
	}
	t.deleted[kind]++
	t.r.count(func(s *Stats) { s.Deleted++ })
	if t.r.server {
		text := []byte(name)
		if mode.IsDir() {
			text = append(text, 0)
		}
		_ = t.r.w.Message(wire.MsgDeleted, text)
	}
}

// mounted reports whether a directory is on another file system than the one
// above it.
func (t *tree) mounted(name string) bool {
	fi, err1 := t.lstat(name)
	above, err2 := t.lstat(path.Dir(name))
	return err1 == nil && err2 == nil && fi != nil && above != nil && statOf(fi).dev != statOf(above).dev
}

// below is a name of root as the list would have it.
func (t *tree) below(name string) string {
	if t.at == "." {
		return name
	}
	return strings.TrimPrefix(name, t.at+"/")
}

// remove makes way for what the list has under a name.
func (t *tree) remove(name string, mode fs.FileMode) error {
	if t.r.o.DryRun {
		return nil
	}
	if mode.IsDir() {
		return t.in(name, (*os.Root).RemoveAll)
	}
	return t.in(name, (*os.Root).Remove)
}
