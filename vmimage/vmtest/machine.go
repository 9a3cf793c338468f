package vmtest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Behaviour is how a machine's guest and disks behave. The zero value is a guest
// with an agent that boots and shuts down at once, and commits that are ready when first
// asked after.
type Behaviour struct {
	Boot        time.Duration // from its first instruction until the guest heeds ACPI and its agent answers
	NeverBoots  bool          // it runs, and that is all
	Off         time.Duration // from being asked to shut down until it is off
	IgnoresACPI bool
	AgentDead   bool

	// Record has the guest write a line to a sector of its own of disk vda each
	// time it boots, so that the disk tells how often it did.
	Record bool

	Polls   int  // BlockJob says that a commit is ready when asked for the so-manieth time; zero means the first
	Starved bool // a commit is not ready while the guest runs, only while it is held
	Stuck   bool // a commit is never ready
	Fails   int  // so many commits fail: they are gone when asked after

	// Room is how many bytes the overlays of the machine may take. Writing more
	// stalls it. Zero is without a limit.
	Room int64
}

// machine is a virtual machine.
type machine struct {
	w    *world
	uuid string

	persistent, autostart, saved bool
	behaviour                    Behaviour

	next, live description // as it will be started next, and as it runs; the latter is empty when it is off
	meta       metadata
	job        string

	state   virt.State
	run     int  // how often it was started; timers of an earlier run are void
	begun   bool // its guest has executed something
	booted  bool
	leaving bool // its guest has shut down, but it is held
	frozen  bool
	boots   int
	waiting []write // of its guest, that are not done

	jobs      map[string]*blockJob
	want      map[string][]byte // what its guest has on its disks
	snapshots []Snapshot
}

func (m *machine) now() virt.Machine {
	return virt.Machine{
		UUID: m.uuid, Name: m.next.domain.Name, State: m.state,
		Persistent: m.persistent, Autostart: m.autostart, Saved: m.saved,
	}
}

// machines are all, by name.
func (w *world) machines() (all []virt.Machine) {
	for _, m := range w.known {
		all = append(all, m.now())
	}
	slices.SortFunc(all, func(a, b virt.Machine) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (m *machine) on() bool { return m.state != virt.Off }

// current is the description of the machine as it is now.
func (m *machine) current() *description {
	if m.on() {
		return &m.live
	}
	return &m.next
}

func (m *machine) set(s virt.State) {
	m.state = s
	m.w.emit(virt.Event{UUID: m.uuid, Kind: virt.StateChanged})
}

// held is an error if something or somebody is at work on the machine as a whole.
func (m *machine) held() error {
	if m.job != "" {
		return fmt.Errorf("%w: %s", virt.ErrBusy, m.job)
	}
	return nil
}

func (m *machine) start(paused bool) error {
	if m.on() {
		return virt.ErrState
	}
	if err := m.held(); err != nil {
		return err
	}
	for _, d := range m.next.domain.Disks {
		if !d.Imaged() || d.Path == "" {
			continue
		}
		if _, err := m.w.content(m.next.top[d.Name], true); err != nil {
			return err
		}
	}
	m.live = m.next.clone()
	m.run++
	m.begun, m.booted, m.leaving, m.frozen, m.saved = false, false, false, false, false
	m.set(virt.Paused)
	if paused {
		return nil
	}
	return m.resume()
}

func (m *machine) suspend() error {
	switch m.state {
	case virt.Running:
		m.set(virt.Paused)
	case virt.Off, virt.Other:
		return virt.ErrState
	}
	return nil
}

func (m *machine) resume() error {
	switch m.state {
	case virt.Off, virt.Other:
		return virt.ErrState
	case virt.Running:
		return nil
	}
	m.set(virt.Running)
	if m.leaving {
		m.turnOff()
		return nil
	}
	if !m.begun {
		m.begun = true
		m.boot()
	}
	m.retry()
	return nil
}

// boot is what the guest does first.
func (m *machine) boot() {
	if m.behaviour.NeverBoots {
		return
	}
	m.boots++
	if m.behaviour.Record {
		record := fmt.Appendf(nil, "boot %d\n", m.boots)
		// What cannot be written now waits, as all else does.
		_ = m.write("vda", int64(m.boots-1)*sectorSize, record)
	}
	m.after(m.behaviour.Boot, func() {
		m.booted = true
		m.w.emit(virt.Event{UUID: m.uuid, Kind: virt.AgentChanged})
	})
}

// after does something later, if the machine has not been off in between.
func (m *machine) after(d time.Duration, do func()) {
	if d <= 0 {
		do()
		return
	}
	run := m.run
	time.AfterFunc(d, func() {
		m.w.mu.Lock()
		defer m.w.mu.Unlock()
		if m.on() && m.run == run {
			do()
		}
	})
}

func (m *machine) shutdown(by virt.Means) error {
	if !m.on() {
		return virt.ErrState
	}
	if by == virt.Agent {
		if err := m.ping(); err != nil || m.frozen {
			return virt.ErrAgent
		}
	}
	if by == virt.ACPI && m.behaviour.IgnoresACPI || m.state != virt.Running || !m.booted || m.frozen {
		return nil
	}
	m.after(m.behaviour.Off, func() {
		if m.state == virt.Running {
			m.turnOff()
		} else {
			m.leaving = true
		}
	})
	return nil
}

func (m *machine) destroy() error {
	if !m.on() {
		return virt.ErrState
	}
	m.turnOff()
	return nil
}

// turnOff leaves of a machine what is on disks.
func (m *machine) turnOff() {
	m.jobs = make(map[string]*blockJob)
	m.waiting = nil
	m.frozen = false
	m.job = ""
	m.live = description{}
	m.set(virt.Off)
	if !m.persistent {
		delete(m.w.known, m.uuid)
	}
}

func (m *machine) ping() error {
	if m.state != virt.Running || !m.booted || m.behaviour.AgentDead || !m.live.domain.Agent {
		return virt.ErrAgent
	}
	return nil
}

func (m *machine) freeze() (filesystems int, err error) {
	if err := m.ping(); err != nil {
		return 0, err
	}
	if m.frozen {
		return 0, fmt.Errorf("%w: it is frozen already", virt.ErrAgent)
	}
	m.frozen = true
	return len(m.live.domain.Disks), nil
}

func (m *machine) thaw() error {
	if err := m.ping(); err != nil {
		return err
	}
	m.frozen = false
	m.retry()
	return nil
}

// define is as virt.Host.Define says.
func (w *world) define(xml []byte) (virt.Machine, error) {
	next, meta, err := describe(xml)
	if err != nil {
		return virt.Machine{}, err
	}
	uuid := next.domain.UUID
	if uuid == "" {
		return virt.Machine{}, errors.New("it has no UUID")
	}
	for _, other := range w.known {
		if other.uuid != uuid && other.next.domain.Name == next.domain.Name {
			return virt.Machine{}, fmt.Errorf("name %s: %w", next.domain.Name, fs.ErrExist)
		}
	}
	m := w.known[uuid]
	if m == nil {
		m = &machine{w: w, uuid: uuid, jobs: make(map[string]*blockJob), want: make(map[string][]byte)}
		w.known[uuid] = m
	}
	m.persistent = true
	m.next, m.meta = next, meta
	for _, d := range next.domain.Disks {
		// A disk that is not there yet, or nothing that a guest writes to, has nothing to lose.
		if content, err := w.content(next.top[d.Name], true); err == nil && m.want[d.Name] == nil {
			m.want[d.Name] = content
		}
	}
	return m.now(), nil
}

func (w *world) undefine(m *machine) error {
	if m.on() {
		return virt.ErrState
	}
	delete(w.known, m.uuid)
	return nil
}
