package fetch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// Plan is what a run would do. Nothing was touched for it.
type Plan struct {
	Fetch    []Planned // oldest first
	Machines []Machine // all that the source or the target knows, by name

	// Damaged are images that cannot be relied on. Those of the source are not fetched.
	Damaged []*DamagedError

	// Remove are the images here that go as the policy says when all is fetched.
	Remove []vmimage.Image

	// Need is the most room that is taken at any moment, and MakeRoom what is
	// removed before anything is fetched because there is less. Short says what
	// is lacking although all went that may go, or that it cannot be told; then
	// nothing is done.
	Need     diskspace.Need
	MakeRoom []vmimage.Image
	Short    error
}

// Planned is an image to be fetched.
type Planned struct {
	vmimage.Image
	Staged int64 // bytes of it that an earlier run has fetched
}

// need is what it takes yet, in bytes.
func (p *Planned) need() int64 { return max(0, p.Allocated()-p.Staged) }

// Bytes is what all that is to be fetched takes, and the size of it with holes.
func (p *Plan) Bytes() (allocated, size int64) {
	for _, i := range p.Fetch {
		allocated += i.Allocated()
		for _, f := range i.Files {
			size += f.Size
		}
	}
	return allocated, size
}

// Machine is how a machine stands.
type Machine struct {
	Name   string
	Images int // at the source, verified there
	Fetch  int // of these, to be fetched

	// Newest is the newest of the images at the source that are verified there, or
	// if there are none, of those here; Age is how old it is. Zero: there is none.
	Newest vmimage.Image
	Age    time.Duration

	Late bool // there is none at the source, or it is older than is expected
}

// Plan looks at both sides and says what Run would do.
func (f *Fetcher) Plan(ctx context.Context) (*Plan, error) {
	theirs, damaged, err := f.atSource(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	ours, damagedHere, err := f.here(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	p := &Plan{Damaged: append(damaged, damagedHere...)}
	taken := make(map[string]bool) // names here
	for _, i := range ours {
		taken[plain.Name(i.Machine, i.ID)] = true
	}
	for _, d := range damagedHere {
		taken[plain.Name(d.Machine, d.ID)] = true
	}
	all := slices.Clone(ours)
	for _, i := range theirs {
		if !taken[plain.Name(i.Machine, i.ID)] {
			all = append(all, i)
		}
	}
	retention := f.c.Keeper.Policy.Plan(all)
	for _, k := range retention.Keep {
		if taken[plain.Name(k.Machine, k.ID)] {
			continue
		}
		staged, err := f.target.Staged(k.Image)
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", err)
		}
		p.Fetch = append(p.Fetch, Planned{k.Image, staged})
	}
	slices.SortFunc(p.Fetch, func(a, b Planned) int {
		return cmp.Or(a.Taken.Compare(b.Taken), cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.ID, b.ID))
	})
	for _, i := range retention.Remove {
		if taken[plain.Name(i.Machine, i.ID)] {
			p.Remove = append(p.Remove, i)
		}
	}
	p.Machines = f.machines(p, theirs, ours)
	f.room(p, ours)
	return p, nil
}

// machines says how each machine stands.
func (f *Fetcher) machines(p *Plan, theirs, ours []vmimage.Image) []Machine {
	byName := make(map[string]*Machine)
	get := func(name string) *Machine {
		if byName[name] == nil {
			byName[name] = &Machine{Name: name}
		}
		return byName[name]
	}
	for _, d := range p.Damaged {
		get(d.Machine)
	}
	for _, i := range theirs {
		m := get(i.Machine)
		m.Images++
		if m.Newest.ID == "" || i.Taken.After(m.Newest.Taken) {
			m.Newest = i
		}
	}
	for _, i := range ours {
		if m := get(i.Machine); m.Images == 0 && !i.Verified.IsZero() && (m.Newest.ID == "" || i.Taken.After(m.Newest.Taken)) {
			m.Newest = i
		}
	}
	for _, i := range p.Fetch {
		get(i.Machine).Fetch++
	}
	var machines []Machine
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		m := byName[name]
		if m.Newest.ID != "" {
			m.Age = f.c.Now().Sub(m.Newest.Taken)
		}
		m.Late = m.Images == 0 || f.c.Expect > 0 && m.Age > f.c.Expect
		machines = append(machines, *m)
	}
	return machines
}

// room fills in what the plan needs, and what has to go for it.
func (f *Fetcher) room(p *Plan, ours []vmimage.Image) {
	p.Need.Path = f.target.Dir()
	for _, i := range p.Fetch {
		p.Need.Inodes += uint64(len(plain.FileNames(i.Image))) + 1
	}
	for {
		// What goes first does not go later, when it would have made room too.
		left := slices.DeleteFunc(slices.Clone(ours), func(i vmimage.Image) bool {
			return slices.ContainsFunc(p.MakeRoom, func(j vmimage.Image) bool { return i.Machine == j.Machine && i.ID == j.ID })
		})
		p.Need.Bytes = uint64(f.peak(p.Fetch, left))
		remove, err := f.c.Keeper.Room(ours, p.Need)
		if err != nil {
			p.MakeRoom, p.Short = nil, err
			return
		}
		if len(remove) <= len(p.MakeRoom) {
			return
		}
		p.MakeRoom = remove
	}
}

// peak is the most room, in bytes, that is taken at any moment when images are fetched one
// after the other, and others go after each as the policy says.
func (f *Fetcher) peak(fetch []Planned, have []vmimage.Image) (peak int64) {
	now := int64(0)
	for _, p := range fetch {
		now += p.need()
		peak = max(peak, now)
		have = append(have, p.Image)
		of := slices.DeleteFunc(slices.Clone(have), func(i vmimage.Image) bool { return i.Machine != p.Machine })
		plan := f.c.Keeper.Policy.Plan(of)
		if plan.Check(cmp.Or(f.c.Keeper.Share, 0.5)) != nil {
			continue
		}
		for _, gone := range plan.Remove {
			now -= gone.Allocated()
			have = slices.DeleteFunc(have, func(i vmimage.Image) bool { return i.Machine == gone.Machine && i.ID == gone.ID })
		}
	}
	return peak
}
