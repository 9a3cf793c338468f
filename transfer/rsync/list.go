package rsync

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// Modes as they are on the wire, those of stat(2).
const (
	modeType   = 0o170000
	modeSocket = 0o140000
	modeLink   = 0o120000
	modeFile   = 0o100000
	modeBlock  = 0o060000
	modeDir    = 0o040000
	modeChar   = 0o020000
	modePipe   = 0o010000
)

// lister makes the list of what is to be sent.
type lister struct {
	s       *session
	root    *os.Root
	filters filter.List
	list    []*flist.Entry
	base    string                  // directory of the first argument
	paths   map[*flist.Entry]string // in root, of entries that are not below base
	errors  int32
	device  uint64           // of the argument being listed
	links   map[fileID]int32 // the first of each group of hard links, as sent
	seen    map[string]bool  // implied directories
	enc     *flist.Encoder
	ids     flist.IDNames
}

// send lists what the arguments name, and sends the list, as it goes.
func (l *lister) send(args []string) ([]*flist.Entry, error) {
	l.paths, l.seen = make(map[*flist.Entry]string), make(map[string]bool)
	l.links = make(map[fileID]int32)
	l.ids = flist.IDNames{Users: make(map[uint32]string), Groups: make(map[uint32]string)}
	l.enc = flist.NewEncoder(l.s.w, l.s.listOptions())
	for i, arg := range args {
		if err := l.arg(arg, i == 0); err != nil {
			return nil, err
		}
	}
	l.enc.End(l.errors)
	l.enc.IDs(l.ids)
	if o := l.s.listOptions(); l.errors != 0 && o.Version >= 30 && !o.Varint && !o.SafeErrors {
		_ = l.s.w.Message(wire.MsgIOError, littleEndian(l.errors)) // the error sticks
	}
	return l.list, nil
}

// arg lists one argument: a file; a directory; with a slash at its end what is
// in the directory.
func (l *lister) arg(arg string, first bool) error {
	name := inRoot(arg)
	content := name == "." || strings.HasSuffix(arg, "/") || strings.HasSuffix(arg, "/.")
	if first {
		l.base = name
		if !content && len(l.s.o.FilesFrom) == 0 {
			l.base = path.Dir(name)
		}
		if l.s.o.Relative && len(l.s.o.FilesFrom) == 0 {
			l.base = "."
		}
	}
	if len(l.s.o.FilesFrom) > 0 {
		for _, f := range l.s.o.FilesFrom {
			if err := l.named(name, f); err != nil {
				return err
			}
		}
		return nil
	}
	as := path.Base(name)
	switch {
	case l.s.o.Relative:
		as = name
		l.implied(".", path.Dir(name))
	case content:
		as = "."
	}
	return l.top(name, as)
}

// named lists one of the files asked for by name.
func (l *lister) named(dir, name string) error {
	clean := inRoot(name)
	if !l.s.o.Relative {
		return l.top(path.Join(dir, clean), path.Base(clean))
	}
	l.implied(dir, path.Dir(clean))
	return l.top(path.Join(dir, clean), clean)
}

// implied lists the directories above something, without what is in them.
func (l *lister) implied(dir, name string) {
	if name == "." || l.seen[name] {
		return
	}
	l.seen[name] = true
	l.implied(dir, path.Dir(name))
	fi, err := l.root.Stat(path.Join(dir, name))
	if err == nil && fi.IsDir() {
		e, _ := l.entry(path.Join(dir, name), name, fi)
		e.Top, e.NoContent = true, true
		l.add(e, path.Join(dir, name))
	}
}

// top lists what an argument names, and all below it.
func (l *lister) top(name, as string) error {
	fi, err := l.root.Lstat(name)
	if err == nil && fi.Mode()&fs.ModeSymlink != 0 && as == "." {
		fi, err = l.root.Stat(name) // "link/" is what the link leads to
	}
	if err != nil {
		l.failed(name, err)
		return nil
	}
	if fi.IsDir() && !l.s.o.Recursive && !l.s.o.Dirs && len(l.s.o.FilesFrom) == 0 {
		l.s.skip(as, "a directory, and there is no recursion")
		return nil
	}
	e, ok := l.entry(name, as, fi)
	if !ok {
		return nil
	}
	if fi.IsDir() {
		e.Top = true
		enter := l.s.o.Recursive || l.s.o.Dirs && as == "."
		e.NoContent = !enter
		l.add(e, name)
		l.device = statOf(fi).dev
		if enter {
			return l.dir(name, as)
		}
		return nil
	}
	if !l.filters.Excluded(as, false) {
		l.add(e, name)
	}
	return nil
}

// dir lists what is in a directory.
func (l *lister) dir(name, as string) error {
	d, err := l.root.Open(name)
	if err != nil {
		l.failed(name, err)
		return nil
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1024)
		for _, de := range entries {
			child, childAs := path.Join(name, de.Name()), path.Join(as, de.Name())
			if l.filters.Excluded(childAs, de.IsDir()) {
				continue
			}
			fi, err := de.Info()
			if err != nil {
				l.failed(child, err)
				continue
			}
			e, ok := l.entry(child, childAs, fi)
			if !ok {
				continue
			}
			enter := fi.IsDir() && l.s.o.Recursive && (!l.s.o.OneFileSystem || statOf(fi).dev == l.device)
			e.NoContent = fi.IsDir() && !enter
			l.add(e, child)
			if enter {
				if err := l.dir(child, childAs); err != nil {
					return err
				}
			}
		}
		switch {
		case err == io.EOF:
			return l.s.w.Err()
		case err != nil:
			l.failed(name, err)
			return nil
		case l.s.w.Err() != nil:
			return l.s.w.Err()
		}
	}
}

// entry describes one entry; ok is false if it is not to be sent.
func (l *lister) entry(name, as string, fi fs.FileInfo) (e *flist.Entry, ok bool) {
	o := l.s.o
	st := statOf(fi)
	mode, known := wireMode(fi.Mode())
	if !known {
		l.s.skip(as, "of no known type")
		return nil, false
	}
	// The receiver leaves out what was not asked for: it has to know of it, in
	// order not to delete what it has by that name.
	if reason := unwanted(o, mode); reason != "" {
		l.s.skip(as, reason)
	}
	e = &flist.Entry{
		Name: as, Size: fi.Size(), Sec: fi.ModTime().Unix(), Nsec: uint32(fi.ModTime().Nanosecond()),
		Mode: mode, UID: st.uid, GID: st.gid,
	}
	switch mode & modeType {
	case modeDir, modeFile:
	case modeLink:
		if !o.Links {
			break
		}
		target, err := l.root.Readlink(name)
		if err != nil {
			l.failed(name, err)
			return nil, false
		}
		e.Extra = &flist.Extra{Target: target, Link: -1}
		e.Size = int64(len(target))
	case modeBlock, modeChar:
		e.Extra = &flist.Extra{Major: st.major, Minor: st.minor, Link: -1}
		e.Size = 0
	default:
		e.Size = 0
	}
	if o.HardLinks && !fi.IsDir() && st.nlink > 1 {
		if e.Extra == nil {
			e.Extra = new(flist.Extra)
		}
		first, again := l.links[st.id]
		if !again {
			first = int32(len(l.list))
			l.links[st.id] = first
		}
		e.Extra.Link = first
	}
	if o.Checksum && mode&modeType == modeFile {
		if e.Extra == nil {
			e.Extra = &flist.Extra{Link: -1}
		}
		e.Extra.Sum = l.sum(name)
	}
	if o.Owner && !o.NumericIDs {
		lookup(l.ids.Users, st.uid, func(id string) (string, error) {
			u, err := user.LookupId(id)
			if err != nil {
				return "", err
			}
			return u.Username, nil
		})
	}
	if o.Group && !o.NumericIDs {
		lookup(l.ids.Groups, st.gid, func(id string) (string, error) {
			g, err := user.LookupGroupId(id)
			if err != nil {
				return "", err
			}
			return g.Name, nil
		})
	}
	return e, true
}

// lookup notes the name of an id once; one without a name has the empty one.
func lookup(names map[uint32]string, id uint32, find func(id string) (string, error)) {
	if _, ok := names[id]; !ok {
		names[id], _ = find(strconv.FormatUint(uint64(id), 10))
	}
}

// sum is a file's checksum for -c; zeros if it cannot be read.
func (l *lister) sum(name string) []byte {
	h := l.s.sum.NewList()
	f, err := openFile(l.root, name)
	if err == nil {
		_, err = io.Copy(h, f)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		l.failed(name, err)
		return make([]byte, l.s.sum.Algorithm.Size())
	}
	return h.Sum(nil)
}

func (l *lister) add(e *flist.Entry, name string) {
	l.list = append(l.list, e)
	if name != path.Join(l.base, e.Name) {
		l.paths[e] = name
	}
	if e.Mode&modeType == modeFile {
		l.s.result.Files++
		l.s.result.Size += e.Size
	}
	l.enc.Add(e)
}

// path is the name in root of an entry.
func (l *lister) path(e *flist.Entry) string {
	if p, ok := l.paths[e]; ok {
		return p
	}
	return path.Join(l.base, e.Name)
}

func (l *lister) failed(name string, err error) {
	if errors.Is(err, fs.ErrNotExist) && name != "." {
		l.errors |= ioVanished
	} else {
		l.errors |= ioGeneral
	}
	l.s.fail(name, bare(err))
}

// inRoot is the name in a root of a path that a far side names: whatever it
// says, it does not lead out.
func inRoot(name string) string {
	name = path.Clean("/" + name)
	if name == "/" {
		return "."
	}
	return name[1:]
}

// wireMode is a mode of Go's as stat(2) has it.
func wireMode(m fs.FileMode) (mode uint32, ok bool) {
	mode = uint32(m.Perm())
	for bit, v := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			mode |= v
		}
	}
	switch m.Type() {
	case 0:
		return mode | modeFile, true
	case fs.ModeDir:
		return mode | modeDir, true
	case fs.ModeSymlink:
		return mode | modeLink, true
	case fs.ModeNamedPipe:
		return mode | modePipe, true
	case fs.ModeSocket:
		return mode | modeSocket, true
	case fs.ModeDevice:
		return mode | modeBlock, true
	case fs.ModeDevice | fs.ModeCharDevice:
		return mode | modeChar, true
	}
	return 0, false
}

// permissions are the permissions of a mode, as Go has them.
func permissions(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	if mode&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if mode&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// bare takes the names out of an error, which are told beside it.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// openFile opens a regular file, not through a link that has taken its place.
func openFile(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, bare(err)
	}
	a, err1 := root.Lstat(name)
	b, err2 := f.Stat()
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(bare(err), f.Close())
	}
	if !a.Mode().IsRegular() || !os.SameFile(a, b) {
		return nil, errors.Join(fmt.Errorf("not a regular file: %w", errors.ErrUnsupported), f.Close())
	}
	return f, nil
}
