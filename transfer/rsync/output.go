package rsync

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

// tempName is a hidden name beside base, and not longer than names may be.
func tempName(base string) string {
	const most = 255 - 2 - 8
	if len(base) > most {
		base = base[:most]
	}
	return "." + base + "." + strings.ToLower(rand.Text()[:8])
}

// create begins to write a file, described by fi if it is there already.
func (t *tree) create(name string, e *flist.Entry, fi fs.FileInfo) (Output, error) {
	d := <-t.free
	release := func() { t.free <- d }
	dir, base, err := d.enter(name)
	if err != nil {
		release()
		return nil, err
	}
	w := &writer{t: t, dir: dir, base: base, entry: e, release: release}
	o := t.r.o
	exists := fi != nil && fi.Mode().IsRegular()
	w.perm = permissions(e.Mode) & 0o777 &^ umask
	if exists && !o.Perms {
		w.perm = fi.Mode().Perm()
	}
	if o.InPlace || o.Append || o.AppendBlind {
		w.inPlace = true
		if !exists {
			w.f, err = dir.OpenFile(base, os.O_RDWR|os.O_CREATE|os.O_EXCL, w.perm|0o600)
		}
		if exists || errors.Is(err, fs.ErrExist) { // made at the first attempt
			w.f, err = openForUpdate(dir, base)
		}
	} else {
		w.temp = tempName(base)
		w.f, err = dir.OpenFile(w.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL|nonBlock, 0o600)
	}
	if err != nil {
		release()
		return nil, err
	}
	w.sparse = o.Sparse && !w.inPlace
	return w, nil
}

// openForUpdate opens an existing regular file, not through a link.
func openForUpdate(dir *os.Root, base string) (*os.File, error) {
	f, err := dir.OpenFile(base, os.O_RDWR|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	a, err1 := dir.Lstat(base)
	b, err2 := f.Stat()
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if !a.Mode().IsRegular() || !os.SameFile(a, b) {
		return nil, errors.Join(fmt.Errorf("not a regular file: %w", errors.ErrUnsupported), f.Close())
	}
	return f, nil
}

// writer is a file of the tree being rebuilt.
type writer struct {
	t       *tree
	dir     *os.Root
	base    string
	temp    string // hidden name; "" if it is written in place
	entry   *flist.Entry
	f       *os.File
	off     int64
	perm    fs.FileMode
	inPlace bool
	sparse  bool
	release func()
}

const hole = 4096 // bytes of zeros that are worth a hole

var zeros [hole]byte

func (w *writer) Literal(p []byte) error {
	for w.sparse && len(p) > 0 {
		n := min(hole-int(w.off%hole), len(p))
		if !bytes.Equal(p[:n], zeros[:n]) {
			// All up to the next hole at once.
			for n < len(p) && !(len(p)-n >= hole && bytes.Equal(p[n:n+hole], zeros[:])) {
				n = min(n+hole, len(p))
			}
			if err := w.write(p[:n]); err != nil {
				return err
			}
		} else {
			w.off += int64(n)
		}
		p = p[n:]
	}
	return w.write(p)
}

func (w *writer) write(p []byte) error {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return err
}

// Matched leaves alone what is in its place already.
func (w *writer) Matched(p []byte, off int64) error {
	if w.inPlace && off == w.off {
		w.off += int64(len(p))
		return nil
	}
	return w.Literal(p)
}

func (w *writer) Done(err error) error {
	defer w.release()
	if err != nil {
		return w.abandon(err)
	}
	err = w.finish()
	if err == nil && w.temp != "" {
		err = w.dir.Rename(w.temp, w.base)
	}
	if err == nil && w.t.r.o.Fsync {
		err = syncDir(w.dir, ".")
	}
	if err != nil && w.temp != "" {
		return errors.Join(err, notExist(w.dir.Remove(w.temp)))
	}
	return err
}

// finish gives the file its length and attributes, and makes them durable.
func (w *writer) finish() error {
	o := w.t.r.o
	name := w.base
	if w.temp != "" {
		name = w.temp
	}
	var err error
	if w.inPlace || w.sparse {
		err = w.f.Truncate(w.off)
	}
	if err == nil && w.temp != "" && !o.Perms {
		err = w.dir.Chmod(name, w.perm)
	}
	if err == nil {
		err = w.t.attributes(w.dir, name, w.entry)
	}
	if err == nil && o.Fsync {
		err = w.f.Sync()
	}
	if err = errors.Join(err, w.f.Close()); err != nil {
		return err
	}
	if o.PartialDir != "" {
		part := path.Join(o.PartialDir, w.base)
		if err := notExist(w.dir.Remove(part)); err != nil {
			return err
		}
		_ = w.dir.Remove(o.PartialDir) // unless others are in it
	}
	return nil
}

// abandon leaves of a broken file what is wanted: nothing, or what has come.
func (w *writer) abandon(err error) error {
	o := w.t.r.o
	e := w.f.Close()
	switch {
	case w.inPlace || w.temp == "":
		return e
	case errors.Is(err, ErrCorrupt), w.off == 0, o.PartialDir == "" && !o.Partial:
		return errors.Join(e, w.dir.Remove(w.temp))
	case o.PartialDir == "":
		return errors.Join(e, w.dir.Rename(w.temp, w.base))
	}
	if err := w.dir.Mkdir(o.PartialDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return errors.Join(e, err, w.dir.Remove(w.temp))
	}
	return errors.Join(e, w.dir.Rename(w.temp, path.Join(o.PartialDir, w.base)))
}

// syncDir makes the names in a directory durable.
func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
