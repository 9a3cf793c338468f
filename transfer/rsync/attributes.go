package rsync

import (
	"io/fs"
	"os"
	"time"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

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

// setInfo gives a file of the tree, described by fi, the attributes it lacks.
func (t *tree) setInfo(name string, e *flist.Entry, fi fs.FileInfo) error {
	if t.r.o.DryRun || t.sameInfo(e, fi) {
		return nil
	}
	return t.in(name, func(dir *os.Root, base string) error { return t.attributes(dir, base, e) })
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

func timeOf(e *flist.Entry) time.Time { return time.Unix(e.Sec, int64(e.Nsec)) }
