package vmtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

const sectorSize = 512

// overlay is what was written to a file over another.
type overlay struct {
	beneath string
	sectors map[int64][]byte // by number
}

// blockJob is a commit.
type blockJob struct {
	polls   int
	began   time.Time
	limit   uint64 // bytes per second; 0 for none
	total   int64  // bytes
	ready   bool
	beneath string
}

// write is a write of a guest.
type write struct {
	disk string
	off  int64
	data []byte
}

// Snapshot is what a machine's disks held at the moment of a snapshot.
type Snapshot struct {
	State  virt.State
	Frozen bool // the guest's file systems were
	Boots  int  // how often the guest had booted
	Disks  map[string][]byte
}

// chain are the files of a disk, the one written to first.
func (w *world) chain(top string) []string {
	files := []string{top}
	for o := w.overlays[top]; o != nil && len(files) < 100; o = w.overlays[o.beneath] {
		files = append(files, o.beneath)
	}
	return files
}

// content is what a guest reads of a disk. If strict is true the files of its overlays
// have to be there, as they have when a machine is started.
func (w *world) content(top string, strict bool) ([]byte, error) {
	files := w.chain(top)
	content, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		return nil, err
	}
	for _, file := range slices.Backward(files[:len(files)-1]) {
		if _, err := os.Lstat(file); err != nil && strict {
			return nil, err
		}
		for number, sector := range w.overlays[file].sectors {
			copy(content[min(number*sectorSize, int64(len(content))):], sector)
		}
	}
	return content, nil
}

// put writes whole sectors to a file of a chain.
func (w *world) put(file string, sectors map[int64][]byte) error {
	if o := w.overlays[file]; o != nil {
		maps.Copy(o.sectors, sectors)
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for number, sector := range sectors {
		if _, e := f.WriteAt(sector, number*sectorSize); e != nil {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, f.Close())
}

// write does a write of the guest, or keeps it for later if it has to wait, which is
// virt.ErrBusy.
func (m *machine) write(disk string, off int64, data []byte) error {
	w := write{disk, off, bytes.Clone(data)}
	top := m.live.top[disk]
	content, err := m.w.content(top, false)
	if err != nil {
		return err
	}
	if off < 0 || off+int64(len(data)) > int64(len(content)) {
		return io.ErrShortWrite
	}
	if m.frozen || m.state == virt.Stalled {
		m.waiting = append(m.waiting, w)
		return virt.ErrBusy
	}
	copy(content[off:], data)
	sectors := make(map[int64][]byte)
	for number := off / sectorSize; number*sectorSize < off+int64(len(data)); number++ {
		sectors[number] = content[number*sectorSize : min((number+1)*sectorSize, int64(len(content)))]
	}
	if o := m.w.overlays[top]; o != nil && m.behaviour.Room > 0 {
		grown := maps.Clone(o.sectors)
		maps.Copy(grown, sectors)
		if int64(len(grown))*sectorSize > m.behaviour.Room {
			m.waiting = append(m.waiting, w)
			m.set(virt.Stalled)
			m.w.emit(virt.Event{UUID: m.uuid, Kind: virt.DiskStalled, Disk: disk})
			return virt.ErrBusy
		}
	}
	if err := m.w.put(top, sectors); err != nil {
		return err
	}
	if job := m.jobs[disk]; job != nil && job.ready {
		if err := m.w.put(job.beneath, sectors); err != nil {
			return err
		}
	}
	m.want[disk] = content
	return nil
}

// retry does the writes that had to wait.
func (m *machine) retry() {
	waiting := m.waiting
	m.waiting = nil
	for _, w := range waiting {
		if m.write(w.disk, w.off, w.data) != nil && m.state == virt.Running && !m.frozen {
			m.waiting = append(m.waiting, w)
		}
	}
}

// disk is the file that a disk of a machine that is on is written to.
func (m *machine) disk(name string) (top string, err error) {
	top, ok := m.current().top[name]
	switch {
	case !ok:
		return "", fmt.Errorf("disk %s: %w", name, virt.ErrNotFound)
	case !m.on():
		return top, virt.ErrState
	}
	return top, nil
}

func (m *machine) snapshot(overlays []virt.Overlay) error {
	if !m.on() {
		return virt.ErrState
	}
	if err := m.held(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, o := range overlays {
		if _, err := m.disk(o.Disk); err != nil {
			return err
		}
		if m.jobs[o.Disk] != nil {
			return fmt.Errorf("disk %s: %w", o.Disk, virt.ErrBusy)
		}
		if seen[o.Disk] || seen[o.Path] {
			return fmt.Errorf("disk %s or its overlay is named twice", o.Disk)
		}
		seen[o.Disk], seen[o.Path] = true, true
	}
	s := Snapshot{m.state, m.frozen, m.boots, make(map[string][]byte)}
	for name, top := range m.live.top {
		if content, err := m.w.content(top, false); err == nil {
			s.Disks[name] = content
		}
	}
	for i, o := range overlays {
		if err := writeNew(o.Path, "an overlay of "+m.live.top[o.Disk]+"\n"); err != nil {
			for _, made := range overlays[:i] {
				err = errors.Join(err, os.Remove(made.Path))
			}
			return err
		}
	}
	for _, o := range overlays {
		m.w.overlays[o.Path] = &overlay{m.live.top[o.Disk], make(map[int64][]byte)}
		m.turn(o.Disk, o.Path)
	}
	m.snapshots = append(m.snapshots, s)
	return nil
}

// turn has a disk written to another file, in both descriptions.
func (m *machine) turn(disk, to string) {
	if m.next.top[disk] == m.live.top[disk] {
		m.next.top[disk] = to
	}
	m.live.top[disk] = to
}

func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (m *machine) commit(disk string, bytesPerSecond uint64) error {
	top, err := m.disk(disk)
	if err != nil {
		return err
	}
	o := m.w.overlays[top]
	switch {
	case m.jobs[disk] != nil:
		return virt.ErrBusy
	case o == nil:
		return fmt.Errorf("disk %s has no overlay: %w", disk, virt.ErrState)
	}
	if err := m.held(); err != nil {
		return err
	}
	half := make(map[int64][]byte)
	for i, number := range slices.Sorted(maps.Keys(o.sectors)) {
		if i%2 == 0 {
			half[number] = o.sectors[number]
		}
	}
	if err := m.w.put(o.beneath, half); err != nil {
		return err
	}
	m.jobs[disk] = &blockJob{
		began: time.Now(), limit: bytesPerSecond,
		total: int64(len(o.sectors)) * sectorSize, beneath: o.beneath,
	}
	return nil
}

// jobOf is the job of a disk.
func (m *machine) jobOf(disk string) (*blockJob, error) {
	if _, err := m.disk(disk); err != nil && !errors.Is(err, virt.ErrState) {
		return nil, err
	}
	if m.jobs[disk] == nil {
		return nil, fmt.Errorf("a job of disk %s: %w", disk, virt.ErrNotFound)
	}
	return m.jobs[disk], nil
}

func (m *machine) blockJob(disk string) (virt.BlockJob, error) {
	job, err := m.jobOf(disk)
	if err != nil {
		return virt.BlockJob{}, err
	}
	b := &m.behaviour
	if !job.ready && b.Fails > 0 {
		b.Fails--
		m.endJob(disk)
		return m.blockJob(disk)
	}
	job.polls++
	slow := job.limit > 0 && time.Since(job.began).Seconds() < float64(job.total)/float64(job.limit)
	if !job.ready && job.polls >= b.Polls && !slow && !b.Stuck && !(b.Starved && m.state == virt.Running) {
		if err := m.w.put(job.beneath, m.w.overlays[m.live.top[disk]].sectors); err != nil {
			return virt.BlockJob{}, err
		}
		job.ready = true
		m.w.emit(virt.Event{UUID: m.uuid, Kind: virt.BlockJobChanged, Disk: disk})
	}
	now := virt.BlockJob{Commit: true, Ready: job.ready, Done: job.total / 2, Total: job.total}
	if job.ready {
		now.Done = now.Total
	}
	return now, nil
}

func (m *machine) endJob(disk string) {
	delete(m.jobs, disk)
	m.w.emit(virt.Event{UUID: m.uuid, Kind: virt.BlockJobChanged, Disk: disk})
}

func (m *machine) pivot(disk string) error {
	job, err := m.jobOf(disk)
	if err != nil {
		return err
	}
	if !job.ready {
		return fmt.Errorf("disk %s: %w", disk, virt.ErrBusy)
	}
	m.turn(disk, job.beneath)
	m.endJob(disk)
	return nil
}

func (m *machine) abort(disk string) error {
	if _, err := m.jobOf(disk); err != nil {
		return err
	}
	m.endJob(disk)
	return nil
}

func (m *machine) files(disk string) ([]string, error) {
	top, err := m.disk(disk)
	if err != nil {
		return nil, err
	}
	return m.w.chain(top), nil
}

func (m *machine) blockInfo(disk string) (virt.BlockInfo, error) {
	top, err := m.disk(disk)
	if err != nil && !errors.Is(err, virt.ErrState) {
		return virt.BlockInfo{}, err
	}
	files := m.w.chain(top)
	base, err := os.Stat(files[len(files)-1])
	if err != nil {
		return virt.BlockInfo{}, err
	}
	info := virt.BlockInfo{Capacity: base.Size(), Allocation: base.Size()}
	if o := m.w.overlays[top]; o != nil {
		info.Allocation = int64(len(o.sectors)) * sectorSize
	}
	return info, nil
}
