// Package disktest has a disk in memory that fails and crashes when it is told to.
package disktest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/obskeep/obskeep/ingest/internal/disk"
)

// ErrCrashed is returned for everything after a crash.
var ErrCrashed = errors.New("disktest: the machine is down")

// Fault is what happens to a call that changes something.
type Fault uint8

const (
	None    Fault = iota
	Lost          // nothing is done, and it fails
	Applied       // it is done, and reported as failed
	Torn          // half of it is done, and it fails
	Crash         // the machine goes down before it
	Crashed       // the machine goes down after it
)

// Disk is a [disk.Disk] in memory.
type Disk struct {
	// Next is asked for the fault of each call that changes something. Nil means none.
	// It is called under a lock.
	Next func(call string) Fault

	// NoSync makes Sync do nothing: what an ingest is like that leaves it out.
	NoSync bool

	mu    sync.Mutex
	files map[string]*content // by the names that are seen
	kept  map[string]*content // by the names that survive
	down  bool
	age   int // rises with each crash: a handle from before is dead
}

// content is what a file holds.
type content struct {
	data   []byte // that is seen
	synced []byte // that survives
	// written are the places written to since.
	written [][2]int
}

// New makes an empty disk.
func New() *Disk {
	return &Disk{files: map[string]*content{}, kept: map[string]*content{}}
}

// Restart is a power cut, and the boot after it: what was synced is there, of the rest
// any part.
func (d *Disk) Restart(r *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string]*content{}
	for _, name := range sorted(d.files) {
		if d.kept[name] != nil || r.IntN(2) == 0 {
			files[name] = d.files[name]
		}
	}
	for name, c := range d.kept {
		if files[name] == nil {
			files[name] = c
		}
	}
	for _, name := range sorted(files) {
		c := files[name]
		data := slices.Clone(c.synced)
		for _, w := range c.written {
			if r.IntN(2) == 0 || w[0] > len(c.data) {
				continue // this page did not make it
			}
			end := min(w[1], len(c.data))
			if end > len(data) {
				data = append(data, make([]byte, end-len(data))...)
			}
			copy(data[w[0]:end], c.data[w[0]:end])
		}
		*c = content{data: data, synced: slices.Clone(data)}
	}
	d.files, d.kept, d.down = files, clone(files), false
	d.age++
}

// Kill is the end of the process alone: what was written is there.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = false
	d.age++
}

func sorted(m map[string]*content) []string { return slices.Sorted(maps.Keys(m)) }

func clone(m map[string]*content) map[string]*content {
	c := make(map[string]*content, len(m))
	maps.Copy(c, m)
	return c
}

// change does what a call does, or the fault that it has. half does half of it.
func (d *Disk) change(age int, call string, all, half func()) error {
	if d.down || age != d.age {
		return ErrCrashed
	}
	fault := None
	if d.Next != nil {
		fault = d.Next(call)
	}
	switch fault {
	case None:
		all()
		return nil
	case Lost:
		return fmt.Errorf("%s: %w", call, syscall.ENOSPC)
	case Applied:
		all()
		return fmt.Errorf("%s: %w", call, syscall.EIO)
	case Torn:
		half()
		return fmt.Errorf("%s: %w", call, syscall.EIO)
	case Crashed:
		all()
	}
	d.down = true
	return ErrCrashed
}

// AtOnce implements [disk.Disk]: the same calls come in the same order.
func (*Disk) AtOnce() int { return 1 }

// Open implements [disk.Disk].
func (d *Disk) Open(name string, create bool) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, ErrCrashed
	}
	c := d.files[name]
	if c == nil {
		if !create {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		c = new(content)
		d.files[name] = c
	}
	return &file{d, name, c, d.age}, nil
}

// Rename implements [disk.Disk].
func (d *Disk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[oldname]
	if c == nil && !d.down {
		return &fs.PathError{Op: "rename", Path: oldname, Err: fs.ErrNotExist}
	}
	all := func() {
		delete(d.files, oldname)
		delete(d.kept, oldname)
		d.files[newname], d.kept[newname] = c, c
	}
	return d.change(d.age, "rename "+newname, all, func() {})
}

// Remove implements [disk.Disk].
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.change(d.age, "remove "+name, func() { delete(d.files, name) }, func() {})
}

// List implements [disk.Disk].
func (d *Disk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return nil, ErrCrashed
	}
	var names []string
	for name := range d.files {
		if dir == "." || strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

type file struct {
	d    *Disk
	name string
	c    *content
	age  int
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.down || f.age != f.d.age {
		return 0, ErrCrashed
	}
	if off >= int64(len(f.c.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.c.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	write := func(p []byte) {
		if end := int(off) + len(p); end > len(f.c.data) {
			f.c.data = append(f.c.data, make([]byte, end-len(f.c.data))...)
		}
		copy(f.c.data[off:], p)
		// As a disk does it: in pages.
		const page = 512
		for at := int(off); at < int(off)+len(p); at = (at/page + 1) * page {
			f.c.written = append(f.c.written, [2]int{at, min((at/page+1)*page, int(off)+len(p))})
		}
	}
	if err := f.d.change(f.age, "write "+f.name, func() { write(p) }, func() { write(p[:len(p)/2]) }); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.down || f.age != f.d.age {
		return 0, ErrCrashed
	}
	return int64(len(f.c.data)), nil
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.d.change(f.age, "truncate "+f.name, func() {
		f.c.data = append(f.c.data[:min(int(size), len(f.c.data))], make([]byte, max(0, int(size)-len(f.c.data)))...)
	}, func() {})
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.NoSync {
		return nil
	}
	return f.d.change(f.age, "sync "+f.name, func() {
		f.c.synced = slices.Clone(f.c.data)
		f.c.written = nil
		if f.d.files[f.name] == f.c {
			f.d.kept[f.name] = f.c
		}
	}, func() {})
}

func (f *file) Close() error { return nil }
