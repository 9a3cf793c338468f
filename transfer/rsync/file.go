package rsync

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

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
