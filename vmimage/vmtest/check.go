package vmtest

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// mark is how the host was at a moment.
type mark struct {
	machines map[string]marked // by UUID
	files    map[string]bool   // of the folder of the disks
}

type marked struct {
	name  string
	state virt.State
	xml   []byte // inactive, without metadata
	top   map[string]string
	meta  metadata
}

// Mark has Check compare with how the host is now. Add does so as well.
func (h *Host) Mark() {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	h.world.mark()
}

func (w *world) mark() {
	w.marked = mark{make(map[string]marked), w.names()}
	for uuid, m := range w.known {
		w.marked.machines[uuid] = marked{
			m.next.domain.Name, m.state, m.text(&m.next), maps.Clone(m.next.top), slices.Clone(m.meta),
		}
	}
}

// names are the files of the folder of the disks.
func (w *world) names() map[string]bool {
	names := make(map[string]bool)
	entries, _ := os.ReadDir(w.dir) // a folder that is gone has none, and lost disks are told of
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

// Check says what is not as it was at Mark, or wrong in itself:
//
//   - a machine that ran does not, one that was off is on, or one is held or stalled;
//   - a guest is frozen;
//   - a disk is not what it was: one of the descriptions, or the hypervisor, names
//     other files;
//   - something else in the description of a machine is different, or metadata is left;
//   - a block job is left;
//   - an overlay, or another file in the folder of the disks, is left;
//   - something that a guest has written is lost.
//
// Nothing is nil.
func (h *Host) Check() (wrong []string) {
	w := h.world
	w.mu.Lock()
	defer w.mu.Unlock()
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, uuid := range slices.Sorted(maps.Keys(w.marked.machines)) {
		was, m := w.marked.machines[uuid], w.known[uuid]
		if m == nil {
			say("%s is not known any more", was.name)
			continue
		}
		if m.state != was.state {
			say("%s was %v and is %v", was.name, was.state, m.state)
		}
		for _, fault := range m.check(was) {
			say("%s: %s", was.name, fault)
		}
	}
	for uuid, m := range w.known {
		if _, ok := w.marked.machines[uuid]; !ok {
			say("%s has become known", m.next.domain.Name)
		}
	}
	left := make(map[string]bool)
	for name := range w.names() {
		left[filepath.Join(w.dir, name)] = !w.marked.files[name]
	}
	for path := range w.overlays {
		_, err := os.Lstat(path)
		left[path] = left[path] || err == nil && !w.marked.overlay(path)
	}
	for path, is := range left {
		if is {
			say("file %s is left", path)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// overlay reports whether a file was in use as an overlay.
func (k mark) overlay(path string) bool {
	for _, m := range k.machines {
		for _, top := range m.top {
			if top == path {
				return true
			}
		}
	}
	return false
}

// check says what is wrong with a machine, besides its state.
func (m *machine) check(was marked) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if m.frozen {
		say("its guest is frozen")
	}
	for _, disk := range slices.Sorted(maps.Keys(was.top)) {
		if m.next.top[disk] != was.top[disk] {
			say("disk %s will be %s, not %s", disk, m.next.top[disk], was.top[disk])
		}
		if m.on() && m.live.top[disk] != was.top[disk] {
			say("disk %s is %s, not %s", disk, m.live.top[disk], was.top[disk])
		}
		want := m.want[disk]
		if want == nil {
			continue
		}
		got, err := m.w.content(m.current().top[disk], !m.on())
		if err != nil {
			say("disk %s cannot be read: %v", disk, err)
		} else if !bytes.Equal(got, want) {
			say("disk %s does not hold what the guest wrote, from byte %d on", disk, differ(got, want))
		}
	}
	for _, disk := range slices.Sorted(maps.Keys(m.jobs)) {
		say("disk %s is in a block job", disk)
	}
	next := m.next.clone()
	next.top = was.top // which was compared already
	if !bytes.Equal(m.text(&next), was.xml) {
		say("its description is another")
	}
	if !slices.Equal(m.meta, was.meta) {
		say("metadata: %v, not %v", m.meta, was.meta)
	}
	return wrong
}

// differ is the first byte in which two slices differ.
func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
