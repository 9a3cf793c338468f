package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

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

// group is a group of hard links. The first gets the data, if any.
type group struct {
	first string
	more  []string
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

// isLater reports whether an entry is a hard link to one before it. These wait
// until all files have come. The lists are forgotten meanwhile.
func (t *tree) isLater(e *flist.Entry) bool {
	if !t.r.o.HardLinks || e.IsDir() || e.Extra == nil || e.Link < 0 {
		return false
	}
	name := strings.Clone(e.Name)
	g := t.links[e.Link]
	if g == nil {
		t.links[e.Link] = &group{first: name}
		return false
	}
	if g.more = append(g.more, name); len(g.more) == 1 {
		t.groups = append(t.groups, g)
	}
	return true
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
func (t *tree) file(e *flist.Entry) (*job, error) {
	o := t.r.o
	name := t.name(e.Name)
	fi, err := t.lstat(name)
	if err != nil {
		return nil, err
	}
	j := &job{kind: basisFile}
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
		(!t.times(e) || fi.ModTime().Unix() == e.Sec && (e.Nsec == 0 || uint32(fi.ModTime().Nanosecond()) == e.Nsec))
}

// times reports whether the time of an entry is kept.
func (t *tree) times(e *flist.Entry) bool {
	switch o := t.r.o; e.Mode & modeType {
	case modeDir:
		return o.Times && !o.OmitDirTimes
	case modeLink:
		return o.Times && !o.OmitLinkTimes
	default:
		return o.Times
	}
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
		if t.times(e) {
			return linkTime(dir, base, timeOf(e))
		}
		return nil
	}
	if o.Perms {
		if err := dir.Chmod(base, permissions(e.Mode)); err != nil {
			return err
		}
	}
	if t.times(e) {
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
	name := t.name(e.Name)
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

// link makes the members of a group links to its first.
func (t *tree) link(g *group) {
	first := t.name(g.first)
	fi, err := t.lstat(first)
	for _, entry := range g.more {
		if err != nil || fi == nil {
			t.r.fail(entry, fmt.Errorf("%s, to which it is a link, is not there", quote(g.first)))
			continue
		}
		name := t.name(entry)
		if now, err := t.lstat(name); err == nil && now != nil && os.SameFile(now, fi) {
			continue
		}
		if err := t.linkTo(first, name); err != nil {
			t.r.fail(entry, bare(err))
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
