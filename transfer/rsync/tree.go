package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
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
	made    []*flist.Entry
	mode    map[*flist.Entry]uint32 // of directories, before they were opened for writing
	links   map[*flist.Entry]*group // by the first in the list
	doomed  []doomed
	deleted [5]int32
}

// group is a group of hard links.
type group struct {
	first *flist.Entry
	more  []*flist.Entry
}

// doomed is what is deleted later.
type doomed struct {
	name string
	mode fs.FileMode
}

// newTree prepares the directory dest of root for what the receiver is sent.
func newTree(r *receiver, root *os.Root, dest string) (*tree, error) {
	filters, err := r.o.filters()
	if err != nil {
		return nil, err
	}
	t := &tree{
		r: r, root: root, at: inRoot(dest), filters: filters, free: make(chan *dirs, maxBuilders+workers),
		mode: make(map[*flist.Entry]uint32), links: make(map[*flist.Entry]*group),
	}
	if err := t.destination(dest); err != nil {
		return nil, &Error{Code: CodeFiles, Err: fmt.Errorf("destination %s: %w", quote(dest), bare(err))}
	}
	t.dirs = dirs{root: root, named: []string{t.at}}
	for range cap(t.free) {
		t.free <- &dirs{root: root, named: []string{t.at}}
	}
	t.group()
	return t, nil
}

// destination decides whether dest is a directory or the name of a file.
func (t *tree) destination(dest string) error {
	fi, err := t.root.Stat(t.at)
	isDir := err == nil && fi.IsDir()
	slash := len(dest) > 0 && dest[len(dest)-1] == '/'
	single := len(t.r.list) == 1 && t.r.list[0].Mode&modeType != modeDir
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

// group finds the hard links. The first of each group in the list's order
// gets the data, if any.
func (t *tree) group() {
	if !t.r.o.HardLinks {
		return
	}
	groups := make(map[int32]*group)
	for _, e := range t.r.list {
		if e.Mode&modeType == modeDir || e.Extra == nil || e.Extra.Link < 0 {
			continue
		}
		if g := groups[e.Extra.Link]; g != nil {
			g.more = append(g.more, e)
		} else {
			g := &group{first: e}
			groups[e.Extra.Link] = g
			t.links[e] = g
		}
	}
	for e, g := range t.links {
		if len(g.more) == 0 {
			delete(t.links, e)
		}
	}
}

// name is where an entry belongs, in root.
func (t *tree) name(e *flist.Entry) string {
	if t.only != "" {
		return path.Join(t.at, t.only)
	}
	return path.Join(t.at, e.Name)
}

func (t *tree) each(ctx context.Context, ask func(*job) error) error {
	defer t.dirs.close()
	r := t.r
	later := make(map[*flist.Entry]bool)
	for _, g := range t.links {
		for _, e := range g.more {
			later[e] = true
		}
	}
	if r.o.Delete == DeleteBefore {
		for _, e := range r.list {
			t.sweep(e)
		}
	}
	var blocked string // a directory that cannot be made
	for i, e := range r.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i > 0 && e.Name == r.list[i-1].Name {
			continue // the same name twice
		}
		if blocked != "" && len(e.Name) > len(blocked) && e.Name[:len(blocked)] == blocked && e.Name[len(blocked)] == '/' {
			r.fail(e.Name, errors.New("its directory could not be made"))
			continue
		}
		if later[e] {
			continue
		}
		var err error
		switch e.Mode & modeType {
		case modeDir:
			if err = t.dir(e); err == nil && (r.o.Delete == DeleteDuring || r.o.Delete == DeleteDelay) {
				t.sweep(e)
			}
		case modeFile:
			var j *job
			if j, err = t.file(int32(i), e); j != nil && err == nil {
				err = ask(j)
				if err != nil {
					return err
				}
			}
		default:
			err = t.special(e)
		}
		if err != nil {
			r.fail(e.Name, bare(err))
			if e.Mode&modeType == modeDir {
				blocked = e.Name
			}
		}
	}
	return nil
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
	name := t.name(e)
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

// unchanged reports whether what is there is what the entry says.
func (t *tree) unchanged(name string, e *flist.Entry, fi fs.FileInfo) bool {
	o := t.r.o
	switch {
	case fi.Size() != e.Size:
		return false
	case o.Checksum:
		return e.Extra != nil && t.sameSum(name, e.Extra.Sum)
	case o.SizeOnly:
		return true
	case o.IgnoreTimes:
		return false
	}
	return sameTime(fi.ModTime(), e)
}

// sameTime compares whole seconds, unless both sides know better.
func sameTime(t time.Time, e *flist.Entry) bool {
	if t.Unix() != e.Sec {
		return false
	}
	return t.Nanosecond() == 0 || e.Nsec == 0 || uint32(t.Nanosecond()) == e.Nsec
}

func (t *tree) sameSum(name string, want []byte) bool {
	h := t.r.sum.NewList()
	err := t.in(name, func(dir *os.Root, base string) error {
		f, err := openFile(dir, base)
		if err != nil {
			return err
		}
		_, err = io.Copy(h, f)
		return errors.Join(err, f.Close())
	})
	return err == nil && bytes.Equal(h.Sum(nil), want)
}

// file decides about one file; nil if it needs no data.
func (t *tree) file(ndx int32, e *flist.Entry) (*job, error) {
	o := t.r.o
	name := t.name(e)
	fi, err := t.lstat(name)
	if err != nil {
		return nil, err
	}
	j := &job{ndx: ndx, entry: e, kind: basisFile}
	switch {
	case fi == nil && o.Existing, fi != nil && o.IgnoreExisting:
		return nil, nil
	case fi != nil && fi.Mode().IsRegular():
		switch {
		case o.Update && newer(fi, e):
			return nil, nil
		case (o.Append || o.AppendBlind) && fi.Size() >= e.Size:
			return nil, nil
		case t.unchanged(name, e, fi):
			if o.DryRun {
				return nil, nil
			}
			return nil, t.setInfo(name, e, fi)
		}
		j.basis = t.open(name)
	case fi != nil && fi.IsDir():
		if !o.Force && o.Delete == DeleteNone {
			return nil, errors.New("a directory is in the way")
		}
		if !o.DryRun {
			if err := t.remove(name, fi.Mode()); err != nil {
				return nil, err
			}
		}
	}
	if fi == nil {
		j.flags = itemNew
		if linked, err := t.linkUnchanged(name, e); linked || err != nil {
			return nil, err
		}
	}
	if o.PartialDir != "" {
		part := path.Join(path.Dir(name), o.PartialDir, path.Base(name))
		if fi, err := t.lstat(part); err == nil && fi != nil && fi.Mode().IsRegular() {
			j.kind, j.basis = basisPartial, t.open(part)
		}
	}
	if o.WholeFile {
		j.basis, j.kind = nil, basisFile
	}
	j.create = func() (Output, error) { return t.create(name, e, fi) }
	return j, nil
}

func newer(fi fs.FileInfo, e *flist.Entry) bool {
	sec := fi.ModTime().Unix()
	return sec > e.Sec || sec == e.Sec && uint32(fi.ModTime().Nanosecond()) > e.Nsec && e.Nsec != 0
}

// open opens a basis when it is wanted.
func (t *tree) open(name string) func() (Basis, error) {
	return func() (Basis, error) {
		d := <-t.free
		defer func() { t.free <- d }()
		f, err := d.open(name)
		if err != nil {
			return nil, err
		}
		fi, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return fileBasis{f, fi.Size()}, nil
	}
}

type fileBasis struct {
	*os.File
	size int64
}

func (b fileBasis) Size() int64 { return b.size }

// linkUnchanged makes a new file a link to an unchanged one of an earlier copy.
func (t *tree) linkUnchanged(name string, e *flist.Entry) (bool, error) {
	if t.r.o.LinkDest == "" {
		return false, nil
	}
	other := inRoot(t.r.o.LinkDest)
	if !path.IsAbs(t.r.o.LinkDest) {
		other = inRoot(path.Join(t.at, t.r.o.LinkDest))
	}
	other = path.Join(other, e.Name)
	fi, err := t.root.Lstat(other)
	if err != nil || !fi.Mode().IsRegular() || !t.unchanged(other, e, fi) || !t.sameInfo(e, fi) {
		return false, nil
	}
	if t.r.o.DryRun {
		return true, nil
	}
	if err := t.root.Link(other, name); err != nil {
		return false, nil // too many links, another file system: then it is sent
	}
	t.r.count(func(s *Stats) { s.Made++ })
	return true, nil
}

// sameInfo reports whether a file has the attributes of an entry, as far as
// they are kept.
func (t *tree) sameInfo(e *flist.Entry, fi fs.FileInfo) bool {
	o, st := t.r.o, statOf(fi)
	mode, _ := wireMode(fi.Mode())
	return (!o.Perms || mode == e.Mode) && (!t.chowns() || (!o.Owner || st.uid == e.UID) && (!o.Group || st.gid == e.GID)) &&
		(!o.Times || fi.ModTime().Unix() == e.Sec && (e.Nsec == 0 || uint32(fi.ModTime().Nanosecond()) == e.Nsec))
}

// chowns reports whether this process may give files to others.
func (t *tree) chowns() bool { return os.Geteuid() == 0 }

// setInfo gives a file of the tree, described by fi, the attributes it lacks.
func (t *tree) setInfo(name string, e *flist.Entry, fi fs.FileInfo) error {
	if t.r.o.DryRun || t.sameInfo(e, fi) {
		return nil
	}
	return t.in(name, func(dir *os.Root, base string) error { return t.attributes(dir, base, e) })
}

// attributes gives a name the attributes of an entry, as far as they are kept.
func (t *tree) attributes(dir *os.Root, base string, e *flist.Entry) error {
	o := t.r.o
	if (o.Owner || o.Group) && t.chowns() {
		uid, gid := -1, -1
		if o.Owner {
			uid = int(e.UID)
		}
		if o.Group {
			gid = int(e.GID)
		}
		if err := dir.Lchown(base, uid, gid); err != nil {
			return err
		}
	}
	if e.Mode&modeType == modeLink {
		if o.Times {
			return linkTime(dir, base, timeOf(e))
		}
		return nil
	}
	if o.Perms {
		if err := dir.Chmod(base, permissions(e.Mode)); err != nil {
			return err
		}
	}
	if o.Times {
		return dir.Chtimes(base, time.Time{}, timeOf(e))
	}
	return nil
}

func timeOf(e *flist.Entry) time.Time { return time.Unix(e.Sec, int64(e.Nsec)) }

// unwanted says why an entry is not made; "" if it is.
func unwanted(o *Options, mode uint32) string {
	switch mode & modeType {
	case modeDir, modeFile:
		return ""
	case modeLink:
		if !o.Links {
			return "a symbolic link"
		}
	case modeBlock, modeChar:
		if !o.Devices {
			return "a device"
		}
	default:
		if !o.Specials {
			return "a named pipe or a socket"
		}
	}
	return ""
}

// special makes a link, a device, a pipe or a socket.
func (t *tree) special(e *flist.Entry) error {
	o := t.r.o
	if reason := unwanted(o, e.Mode); reason != "" {
		t.r.skip(e.Name, reason)
		return nil
	}
	name := t.name(e)
	fi, err := t.lstat(name)
	if err != nil {
		return err
	}
	if fi == nil && o.Existing || fi != nil && o.IgnoreExisting {
		return nil
	}
	if fi != nil && fi.IsDir() {
		if !o.Force && o.Delete == DeleteNone {
			return errors.New("a directory is in the way")
		}
		if !o.DryRun {
			if err := t.remove(name, fi.Mode()); err != nil {
				return err
			}
		}
		fi = nil
	}
	isLink := e.Mode&modeType == modeLink
	if fi != nil {
		mode, _ := wireMode(fi.Mode())
		same := mode&modeType == e.Mode&modeType
		switch {
		case isLink && same:
			err := t.in(name, func(dir *os.Root, base string) error {
				target, err := dir.Readlink(base)
				same = target == e.Extra.Target
				return err
			})
			same = same && err == nil
		case same && e.Mode&modeType != modePipe && e.Mode&modeType != modeSocket && e.Extra != nil:
			st := statOf(fi)
			same = st.major == e.Extra.Major && st.minor == e.Extra.Minor
		}
		if same {
			return t.setInfo(name, e, fi)
		}
	}
	if o.DryRun {
		return nil
	}
	dir, base, err := t.enter(name)
	if err != nil {
		return err
	}
	temp := tempName(base)
	if isLink {
		err = dir.Symlink(e.Extra.Target, temp)
	} else {
		err = makeNode(dir, temp, e)
	}
	if err != nil {
		return err
	}
	err = t.attributes(dir, temp, e)
	if err == nil || isLink && errors.Is(err, errors.ErrUnsupported) {
		err = dir.Rename(temp, base)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(temp))
	}
	t.r.count(func(s *Stats) { s.Made++ })
	return nil
}

// late links what is linked, deletes what is to be deleted late, and gives the
// directories their attributes.
func (t *tree) late(ctx context.Context) ([5]int32, error) {
	defer t.dirs.close()
	for _, e := range t.r.list {
		if g := t.links[e]; g != nil {
			t.link(g)
		}
	}
	if t.r.o.Delete == DeleteAfter {
		for _, e := range t.r.list {
			t.find(e)
		}
	}
	for _, d := range t.doomed {
		t.delete(d.name, d.mode)
	}
	// From the bottom up: whatever is made in a directory changes its time.
	for _, e := range slices.Backward(t.made) {
		if t.r.o.DryRun {
			break
		}
		if err := t.finish(e); err != nil {
			t.r.fail(e.Name, bare(err))
		}
	}
	for range cap(t.free) {
		(<-t.free).close()
	}
	return t.deleted, ctx.Err()
}

// finish gives a directory its attributes.
func (t *tree) finish(e *flist.Entry) error {
	name := t.name(e)
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

// link makes the members of a group links to its first.
func (t *tree) link(g *group) {
	first := t.name(g.first)
	fi, err := t.lstat(first)
	for _, e := range g.more {
		if err != nil || fi == nil {
			t.r.fail(e.Name, fmt.Errorf("%s, to which it is a link, is not there", quote(g.first.Name)))
			continue
		}
		name := t.name(e)
		if now, err := t.lstat(name); err == nil && now != nil && os.SameFile(now, fi) || t.r.o.DryRun {
			continue
		}
		if err := t.linkTo(first, name); err != nil {
			t.r.fail(e.Name, bare(err))
			continue
		}
		t.r.count(func(s *Stats) { s.Made++ })
	}
}

// linkTo makes name a link to first, in place of what file is there.
func (t *tree) linkTo(first, name string) error {
	return t.in(name, func(dir *os.Root, base string) error {
		temp := tempName(base)
		if err := t.root.Link(first, path.Join(path.Dir(name), temp)); err != nil {
			return err
		}
		if err := dir.Rename(temp, base); err != nil {
			return errors.Join(err, dir.Remove(temp))
		}
		return nil
	})
}

// sweep deletes what a directory of the list has beyond the list, now or later.
func (t *tree) sweep(e *flist.Entry) {
	t.find(e)
	if t.r.o.Delete == DeleteBefore || t.r.o.Delete == DeleteDuring {
		for _, d := range t.doomed {
			t.delete(d.name, d.mode)
		}
		t.doomed = nil
	}
}

// find finds what a directory of the list has beyond the list.
func (t *tree) find(e *flist.Entry) {
	o := t.r.o
	t.r.session.mu.Lock()
	incomplete := t.r.ioErrors&ioGeneral != 0 && !o.IgnoreErrors
	t.r.session.mu.Unlock()
	if e.Mode&modeType != modeDir || e.NoContent || incomplete {
		return
	}
	name := t.name(e)
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
	for _, mode := range []uint32{modeFile, modeDir} {
		probe := &flist.Entry{Name: name, Mode: mode}
		i := sort.Search(len(t.r.list), func(i int) bool { return flist.Compare(t.r.list[i], probe) >= 0 })
		if i < len(t.r.list) && t.r.list[i].Name == name {
			return true
		}
	}
	return false
}

// delete removes a name that the list does not have, with all that is in it.
func (t *tree) delete(name string, mode fs.FileMode) {
	o := t.r.o
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

// ids maps the owners of the list to those of this machine, by their names
// where these exist here.
func (r *receiver) ids(names flist.IDNames) {
	users, groups := make(map[uint32]uint32), make(map[uint32]uint32)
	for id, name := range names.Users {
		if u, err := user.Lookup(name); err == nil {
			users[id] = number(u.Uid, id)
		}
	}
	for id, name := range names.Groups {
		if g, err := user.LookupGroup(name); err == nil {
			groups[id] = number(g.Gid, id)
		}
	}
	for _, e := range r.sent {
		if id, ok := users[e.UID]; ok {
			e.UID = id
		}
		if id, ok := groups[e.GID]; ok {
			e.GID = id
		}
	}
}

func number(text string, otherwise uint32) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return otherwise
	}
	return uint32(n)
}
