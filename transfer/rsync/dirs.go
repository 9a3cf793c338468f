package rsync

import (
	"errors"
	"os"
	"path"
	"strings"
	"syscall"
)

// dirs finds files below a root without following links, but for those in a
// path that somebody who may has named. It keeps the directory of the last
// file open. It is for one goroutine at a time.
type dirs struct {
	root  *os.Root
	named []string // paths that may lead over links
	last  string
	sub   *os.Root // of last; nil for none
}

// enter returns the directory of name, and the rest of it.
func (d *dirs) enter(name string) (*os.Root, string, error) {
	dir, base := path.Split(name)
	if dir = path.Clean(dir); dir == "." {
		return d.root, base, nil
	}
	if d.sub != nil && d.last == dir {
		return d.sub, base, nil
	}
	sub, err := d.walk(dir)
	if err != nil {
		return nil, "", bare(err)
	}
	d.close()
	d.last, d.sub = dir, sub
	return sub, base, nil
}

// walk opens a directory, element by element.
func (d *dirs) walk(dir string) (*os.Root, error) {
	at, sub := "", d.root
	for elem := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, elem)
		next, err := d.step(sub, elem, d.mayLink(at))
		if sub != d.root {
			sub.Close()
		}
		if err != nil {
			return nil, err
		}
		sub = next
	}
	return sub, nil
}

// step opens a directory. What is none is not opened: a pipe would wait for
// somebody to write.
func (d *dirs) step(sub *os.Root, elem string, mayLink bool) (*os.Root, error) {
	look := sub.Lstat
	if mayLink {
		look = sub.Stat
	}
	named, err := look(elem)
	if err != nil {
		return nil, err
	}
	if !named.IsDir() {
		return nil, syscall.ENOTDIR
	}
	next, err := sub.OpenRoot(elem)
	if err != nil {
		return nil, err
	}
	opened, err := next.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = syscall.ENOTDIR // a link, meanwhile
	}
	if err != nil {
		return nil, errors.Join(err, next.Close())
	}
	return next, nil
}

// mayLink reports whether a directory is on a path that was named.
func (d *dirs) mayLink(dir string) bool {
	for _, n := range d.named {
		if n == dir || strings.HasPrefix(n, dir+"/") {
			return true
		}
	}
	return false
}

func (d *dirs) open(name string) (*os.File, error) {
	sub, base, err := d.enter(name)
	if err != nil {
		return nil, err
	}
	return openFile(sub, base)
}

func (d *dirs) close() {
	if d.sub != nil {
		d.sub.Close()
		d.sub = nil
	}
}
