package rsync

import (
	"errors"
	"os"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

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
