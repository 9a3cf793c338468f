package vmimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/vmimage/virt"
)

// Plan is what a run would do. Nothing was touched for it.
type Plan struct {
	Machines []Planned // in the order in which they are imaged

	// Needs is the room that the images and the overlays take, and MakeRoom
	// what is removed before anything is stopped because there is less. Short
	// says what is lacking although all went that may go, or that it cannot be
	// told; then nothing is done.
	Needs    []diskspace.Need
	MakeRoom []Image
	Short    error

	damaged bool // there are images that cannot be told
}

// Planned is what is to be done with a machine.
type Planned struct {
	Machine
	Refused string // why it is not touched; "" if it is imaged

	State  virt.State
	Saved  bool // its memory is saved on the host
	Domain virt.Domain
	XML    []byte        // its lasting description, as its host gives it
	Disks  []PlannedDisk // that are imaged

	// Down and Took are how long the machine was off for an image and how long
	// storing it took, the median of those that are there; zero if that is not known.
	Down, Took time.Duration

	// Retention is what becomes of its images once there is a new one.
	Retention Retention

	images []Image
}

// PlannedDisk is a disk to be imaged.
type PlannedDisk struct {
	Name, Path, Format string
	Size               int64 // as the guest sees it, in bytes
	Allocated          int64 // of it what its file takes, or an image of it, whichever is more
	Block              bool  // it is a block device, not a file
}

// Bytes is how much of a machine is read.
func (p *Planned) Bytes() (n int64) {
	for _, d := range p.Disks {
		n += d.Allocated
	}
	return n
}

// freeID is the ID of a new image.
func (p *Planned) freeID(taken time.Time) string {
	id := NewID(taken)
	for n := 2; slices.ContainsFunc(p.images, func(i Image) bool { return i.ID == id }); n++ {
		id = NewID(taken) + "-" + strconv.Itoa(n)
	}
	return id
}

// Plan looks at everything and says what Run would do.
func (e *Engine) Plan(ctx context.Context) (*Plan, error) {
	machines, err := e.c.Host.Machines(ctx)
	if err != nil {
		return nil, fmt.Errorf("vmimage: machines: %w", err)
	}
	users, err := e.users(ctx, machines)
	if err != nil {
		return nil, fmt.Errorf("vmimage: %w", err)
	}
	images, err := e.c.Target.Images(ctx)
	if err != nil && len(images) == 0 {
		return nil, fmt.Errorf("vmimage: images: %w", err)
	}
	plan := new(Plan)
	if err != nil {
		e.c.Logger.Warn("images", "err", err)
		plan.damaged = true
	}
	for _, config := range e.c.Machines {
		p := Planned{Machine: config}
		if i := slices.IndexFunc(machines, func(m virt.Machine) bool { return m.Name == config.Name }); i < 0 {
			p.Refused = "the host does not know it"
		} else if err := e.plan(ctx, machines[i], &p); errors.Is(err, virt.ErrLost) {
			return nil, fmt.Errorf("vmimage: %s: %w", config.Name, err)
		} else if err != nil {
			p.Refused = err.Error()
		} else if err := unshared(p, users); err != nil {
			p.Refused = err.Error()
		}
		for _, i := range images {
			if i.Machine == config.Name {
				p.images = append(p.images, i)
			}
		}
		p.forecast()
		p.Retention = e.c.Policy.Plan(append(slices.Clone(p.images), Image{Machine: p.Name, ID: NewID(e.now()), Taken: e.now(), Verified: e.now()}))
		plan.Machines = append(plan.Machines, p)
	}
	e.room(plan)
	return plan, nil
}

// plan fills in what the host says of a machine. The error is why it is refused.
func (e *Engine) plan(ctx context.Context, m virt.Machine, p *Planned) (err error) {
	p.State, p.Saved = m.State, m.Saved
	if p.XML, err = e.c.Host.XML(ctx, m.UUID, m.Persistent); err != nil {
		return err
	}
	if p.Domain, err = virt.Parse(p.XML); err != nil {
		return err
	}
	p.Domain.UUID = m.UUID
	running, err := e.c.Host.XML(ctx, m.UUID, false)
	if err != nil {
		return err
	}
	now, err := virt.Parse(running)
	if err != nil {
		return err
	}
	switch {
	case m.State != virt.Off && m.State != virt.Running:
		return fmt.Errorf("it is %v", m.State)
	case !m.Persistent:
		return errors.New("it is transient: shut down, it would be gone")
	case p.Mode != Cold && p.Mode != Live:
		return fmt.Errorf("there is no mode %d", p.Mode)
	case p.Mode == Cold && m.State == virt.Running && now.OnPoweroff != "" && now.OnPoweroff != "destroy":
		return fmt.Errorf("its on_poweroff is %s, so that it does not stay off when its guest shuts down: make that destroy, or take it live", now.OnPoweroff)
	}
	if l, err := e.lockOf(ctx, m.UUID); err != nil {
		return err
	} else if l != nil {
		return e.taken(m.Name, l)
	}
	if job, err := e.c.Host.Job(ctx, m.UUID); err != nil {
		return err
	} else if job != "" {
		return fmt.Errorf("a job is at work on it: %s", job)
	}
	for _, d := range p.Domain.Disks {
		if d.Imaged() && !slices.ContainsFunc(now.Disks, func(n virt.Disk) bool { return n.Name == d.Name }) {
			return fmt.Errorf("disk %s will be added when it is started again, and would not be in the image", d.Name)
		}
	}
	for _, device := range now.HostDevices {
		if !strings.HasPrefix(device, "usb") && !strings.HasPrefix(device, "pci") {
			return fmt.Errorf("it has %s of its host, whose content would not be in the image", device)
		}
	}
	for _, d := range now.Disks {
		if why := d.Refusal(); why != "" {
			return fmt.Errorf("disk %s cannot be imaged: %s", d.Name, why)
		}
		if !d.Imaged() {
			continue
		}
		if d.Job {
			return fmt.Errorf("disk %s has a block job", d.Name)
		}
		next := pathOf(p.Domain, d.Name)
		if next == "" {
			return fmt.Errorf("disk %s was added while it runs and will be gone when it is started again: add it to the lasting description too, or detach it", d.Name)
		}
		if next != d.Path {
			return fmt.Errorf("disk %s is %s, and will be %s when it is started again", d.Name, d.Path, next)
		}
		if d.Type != "file" && m.State == virt.Running && e.c.Overlays == "" {
			return fmt.Errorf("disk %s is %s, beside which there is no place for its overlay: a folder for overlays is needed", d.Name, d.Path)
		}
		if d.Type != "file" && m.State == virt.Off {
			return fmt.Errorf("disk %s is %s, of which nobody can tell whether it is written to while it is read: start the machine", d.Name, d.Path)
		}
		if err := isFolder(e.overlays(PlannedDisk{Path: d.Path})); err != nil && m.State == virt.Running {
			return fmt.Errorf("the overlay of disk %s: %w", d.Name, err)
		}
		info, err := e.measure(ctx, m, d)
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
		p.Disks = append(p.Disks, PlannedDisk{d.Name, d.Path, d.Format, info.Capacity, info.Allocation, d.Type == "block"})
	}
	if len(p.Disks) == 0 {
		return errors.New("it has no disk that can be imaged")
	}
	_, err = e.state(*p)
	return err
}

func isFolder(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", name)
	}
	return err
}

// measure returns the size of a disk and how much an image of it takes, which is more than its
// file where that is compressed, shared, or has another beneath it. It opens the disk, so
// that one that cannot be read is refused before anything is touched, and reads where its data
// are, not the data. A machine that runs may change that meanwhile: then it may be all.
func (e *Engine) measure(ctx context.Context, m virt.Machine, d virt.Disk) (virt.BlockInfo, error) {
	running := m.State == virt.Running
	need := int64(0)
	s, err := e.c.Open(d.Path, d.Format)
	if err == nil {
		need, err = Need(s)
		if err != nil && running {
			need, err = s.Size(), nil
		}
		err = errors.Join(err, s.Close())
	}
	// QEMU closes the disk of a machine that runs when it is shut down, and when it gets an overlay.
	if err != nil && !(running && errors.Is(err, ErrUnclosed)) {
		return virt.BlockInfo{}, err
	}
	info, err := e.c.Host.BlockInfo(ctx, m.UUID, d.Name)
	info.Allocation = max(info.Allocation, need)
	return info, err
}

// forecast fills in what the images that are there say.
func (p *Planned) forecast() {
	var down, took []time.Duration
	for _, i := range p.images {
		if i.Down > 0 {
			down = append(down, i.Down)
		}
		if i.Took > 0 {
			took = append(took, i.Took)
		}
	}
	p.Down, p.Took = median(down), median(took)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}
