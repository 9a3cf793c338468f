package vmimage

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/vmimage/virt"
)

// room fills in the needs of a plan, and what has to go for them.
func (e *Engine) room(plan *Plan) {
	var images diskspace.Need
	overlays := make(map[any][]diskspace.Need) // of each machine, by volume
	for _, p := range plan.Machines {
		if p.Refused != "" {
			continue
		}
		images.Bytes += uint64(p.Bytes())
		here := make(map[any]diskspace.Need)
		for _, d := range p.Disks {
			if p.State == virt.Running {
				dir := e.overlays(d)
				volume := e.volume(dir)
				here[volume] = diskspace.Need{Path: dir, Bytes: here[volume].Bytes + uint64(e.overlay(d))}
			}
		}
		for volume, need := range here {
			overlays[volume] = append(overlays[volume], need)
		}
	}
	if images.Path = e.c.Target.Dir(); images.Path != "" && images.Bytes > 0 {
		plan.Needs = append(plan.Needs, images)
	}
	for _, needs := range overlays {
		// So many machines have overlays at the same time: at worst the greatest.
		slices.SortFunc(needs, func(a, b diskspace.Need) int { return cmp.Compare(b.Bytes, a.Bytes) })
		most := diskspace.Need{Path: needs[0].Path}
		for _, need := range needs[:min(len(needs), e.c.Parallel)] {
			most.Bytes += need.Bytes
		}
		plan.Needs = append(plan.Needs, most)
	}
	slices.SortFunc(plan.Needs, func(a, b diskspace.Need) int { return cmp.Compare(a.Path, b.Path) })
	if plan.damaged { // so none goes
		plan.Short = e.c.Space.Fits(plan.Needs...)
		return
	}
	var all []Image
	for _, p := range plan.Machines {
		all = append(all, p.images...)
	}
	plan.MakeRoom, plan.Short = e.c.Room(all, plan.Needs...)
}

// volume tells apart on which volume a folder is. If that cannot be told, the folder itself
// stands for it, and the planner says why.
func (e *Engine) volume(dir string) any {
	usage, err := e.c.stat(dir)
	if err != nil {
		return dir
	}
	return usage.Volume
}

func (e *Engine) overlay(d PlannedDisk) int64 {
	if e.c.Overlay > 0 {
		return e.c.Overlay
	}
	return d.Size / 10
}

// overlayOf is the path of a disk's overlay. It tells apart who made it: several hosts may
// share a folder.
func (e *Engine) overlayOf(machine, image string, d PlannedDisk) string {
	return filepath.Join(e.overlays(d), fmt.Sprintf("%s-%s.%s.%.8s.overlay", machine, d.Name, image, e.c.Journal.owner))
}

// overlays is the folder of a disk's overlay.
func (e *Engine) overlays(d PlannedDisk) string {
	if e.c.Overlays != "" {
		return e.c.Overlays
	}
	return filepath.Dir(d.Path)
}
