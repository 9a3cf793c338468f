package vmtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// world is what all connections to a host share.
type world struct {
	mu       sync.Mutex // guards all of it, and the machines
	dir      string
	known    map[string]*machine // by UUID
	made     int
	overlays map[string]*overlay // all that were ever made, by path
	watchers map[*watcher]bool
	lost     chan struct{} // closed when all connections are
	marked   mark
}

func newWorld(dir string) *world {
	return &world{
		dir:      dir,
		known:    make(map[string]*machine),
		overlays: make(map[string]*overlay),
		watchers: make(map[*watcher]bool),
		lost:     make(chan struct{}),
	}
}

// must panics if err is not nil: what was asked for makes no sense.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Config is a machine to be made.
type Config struct {
	Name string

	// Disks are what the disks hold, vda first: files of their sizes. None means one
	// disk of 64 KiB of zeros.
	Disks [][]byte

	// Devices is XML of more devices, such as of a disk that cannot be imaged.
	Devices string

	State     virt.State // Off, or Running: it has booted already, if it boots at all
	NVRAM     bool       // it has UEFI variables, in a file beside the disks
	NoAgent   bool       // it has no channel for an agent
	Autostart bool
	Saved     bool
	Transient bool // the host forgets it when it is off

	Behaviour
}

// Add makes a machine and returns its UUID.
func (h *Host) Add(c Config) (uuid string) {
	w := h.world
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	uuid = fmt.Sprintf("00000000-0000-4000-8000-%012x", w.made)
	if len(c.Disks) == 0 {
		c.Disks = [][]byte{make([]byte, 64<<10)}
	}
	var devices strings.Builder
	for i, content := range c.Disks {
		name := fmt.Sprintf("vd%c", 'a'+i)
		path := filepath.Join(w.dir, c.Name+"-"+name+".img")
		must(os.WriteFile(path, content, 0o600))
		fmt.Fprintf(&devices, `    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='%s'/>
      <target dev='%s' bus='virtio'/>
    </disk>
`, escape(path), name)
	}
	if !c.NoAgent {
		devices.WriteString("    <channel type='unix'>\n      <target type='virtio' name='org.qemu.guest_agent.0'/>\n    </channel>\n")
	}
	if c.Devices != "" {
		devices.WriteString("    " + c.Devices + "\n")
	}
	nvram := ""
	if c.NVRAM {
		path := filepath.Join(w.dir, c.Name+"_VARS.fd")
		must(os.WriteFile(path, []byte("variables of "+c.Name), 0o600))
		nvram = "    <nvram>" + escape(path) + "</nvram>\n"
	}
	_, err := w.define(fmt.Appendf(nil, `<domain type='kvm'>
  <name>%s</name>
  <uuid>%s</uuid>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
%s  </os>
  <features><acpi/></features>
  <devices>
    <interface type='network'>
      <mac address='52:54:00:00:00:%02x'/>
      <source network='default'/>
    </interface>
%s  </devices>
</domain>
`, escape(c.Name), uuid, nvram, w.made, devices.String()))
	must(err)
	m := w.known[uuid]
	m.behaviour, m.autostart, m.saved, m.persistent = c.Behaviour, c.Autostart, c.Saved, !c.Transient
	if c.State == virt.Running {
		m.behaviour.Boot = 0
		must(m.start(false))
		m.behaviour.Boot = c.Boot
	}
	w.mark()
	return uuid
}

// machine is one that has to be there.
func (w *world) machine(uuid string) *machine {
	m := w.known[uuid]
	if m == nil {
		must(fmt.Errorf("machine %s: %w", uuid, virt.ErrNotFound))
	}
	return m
}

// Set changes how a machine behaves from now on.
func (h *Host) Set(uuid string, b Behaviour) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	h.world.machine(uuid).behaviour = b
}

// SetJob has a machine be in a job as a whole, such as a "migration"; "" ends it. It is
// in the way of starting, snapshots and commits: [virt.ErrBusy].
func (h *Host) SetJob(uuid, job string) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	h.world.machine(uuid).job = job
}

// SetState has a machine be Other or Stalled, or Running after that, for no reason.
func (h *Host) SetState(uuid string, s virt.State) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	m := h.world.machine(uuid)
	if !m.on() || s == virt.Off {
		must(errors.New("a machine is switched on and off by other means than SetState"))
	}
	m.set(s)
}

// Detach takes a disk out of a machine, as it runs and as it will be started.
func (h *Host) Detach(uuid, disk string) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	m := h.world.machine(uuid)
	for _, d := range []*description{&m.next, &m.live} {
		if _, ok := d.top[disk]; ok {
			*d = d.without(disk)
		}
	}
	delete(m.want, disk)
}

// GuestWrite has a guest write to a disk. It is durable if nil is returned. If the guest
// is frozen or stalled, or is stalled by it, it is [virt.ErrBusy], and the write is done
// once the guest goes on, as long as it is not switched off.
func (h *Host) GuestWrite(uuid, disk string, off int64, data []byte) error {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	m := h.world.machine(uuid)
	if m.state != virt.Running && m.state != virt.Stalled {
		return virt.ErrState
	}
	if _, err := m.disk(disk); err != nil {
		return err
	}
	return m.write(disk, off, data)
}

// Read is what a disk holds for the guest. It is an error if a file of it is gone.
func (h *Host) Read(uuid, disk string) ([]byte, error) {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	m := h.world.machine(uuid)
	return h.world.content(m.current().top[disk], !m.on())
}

// Snapshots are what the disks of a machine held at each of its snapshots.
func (h *Host) Snapshots(uuid string) []Snapshot {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	return append([]Snapshot(nil), h.world.machine(uuid).snapshots...)
}

// Boots is how often a guest has booted.
func (h *Host) Boots(uuid string) int {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	return h.world.machine(uuid).boots
}

// PowerLoss switches the host off and on. All machines are off, also those with Autostart;
// block jobs and writes of guests that were not done are gone. Disks and
// descriptions are as they were, so that the latter may name overlays.
func (h *Host) PowerLoss() {
	w := h.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.known {
		if m.on() {
			m.turnOff()
		}
	}
	w.loseAll()
}

// DaemonRestart restarts the program through which the host is reached. Machines and
// block jobs go on; those who watch are told that the connection is lost.
func (h *Host) DaemonRestart() {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	h.world.loseAll()
}
