package vmimage

import (
	"cmp"
	"path/filepath"
	"slices"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/vmimage/virt"
)

// room fills in the needs of a plan, and what has to go for them.
func (e *Engine) room(plan *Plan) {
	var images diskspace.Need
	overlays := make(map[string]uint64) // by folder: one machine is imaged at a time
	for _, p := range plan.Machines {
		if p.Refused != "" {
			continue
		}
		images.Bytes += uint64(p.Bytes())
		here := make(map[string]uint64)
		for _, d := range p.Disks {
			if p.State == virt.Running {
				here[e.overlays(d)] += uint64(e.overlay(d))
			}
		}
		for dir, bytes := range here {
			overlays[dir] = max(overlays[dir], bytes)
		}
	}
	if images.Path = e.c.Target.Dir(); images.Path != "" && images.Bytes > 0 {
		plan.Needs = append(plan.Needs, images)
	}
	for dir, bytes := range overlays {
		plan.Needs = append(plan.Needs, diskspace.Need{Path: dir, Bytes: bytes})
	}
	slices.SortFunc(plan.Needs, func(a, b diskspace.Need) int { return cmp.Compare(a.Path, b.Path) })
	var all []Image
	for _, p := range plan.Machines {
		all = append(all, p.images...)
	}
	plan.MakeRoom, plan.Short = e.c.Room(all, plan.Needs...)
}

func (e *Engine) overlay(d PlannedDisk) int64 {
	if e.c.Overlay > 0 {
		return e.c.Overlay
	}
	return d.Size / 10
}

// overlays is the folder of a disk's overlay.
func (e *Engine) overlays(d PlannedDisk) string {
	if e.c.Overlays != "" {
		return e.c.Overlays
	}
	return filepath.Dir(d.Path)
}
