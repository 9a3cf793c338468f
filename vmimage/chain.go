package vmimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// chainState is what a disk consists of, by all who know: the description of the
// machine as it runs and as it will be started, and the hypervisor itself.
type chainState struct {
	chain
	live, inactive string   // "" if it has no such disk
	files          []string // none if the machine is off
	job            *virt.BlockJob
	there          bool // the file of the overlay is, perhaps
}

func (c *chainState) overlaid() bool { return c.live == c.Overlay }

// named reports whether anybody says that the overlay is in use.
func (c *chainState) named() bool {
	return c.live == c.Overlay || c.inactive == c.Overlay || slices.Contains(c.files, c.Overlay)
}

// settled reports whether a disk is what it was, or what somebody else has made of it, and
// nothing of it is in the overlay.
func (c *chainState) settled(merged bool) bool {
	onBase := c.live == c.Base && (len(c.files) == 0 || c.files[0] == c.Base)
	return c.job == nil && !c.named() && (onBase || merged || !c.there)
}

// domain is a machine as its description says.
func (e *Engine) domain(ctx context.Context, uuid string, inactive bool) (virt.Domain, error) {
	xml, err := e.c.Host.XML(ctx, uuid, inactive)
	if err != nil {
		return virt.Domain{}, err
	}
	return virt.Parse(xml)
}

// chains asks what the disks of the machine consist of.
func (j *job) chains(ctx context.Context) ([]chainState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := j.domain(ctx, j.UUID, false)
	if err != nil {
		return nil, err
	}
	inactive, err := j.domain(ctx, j.UUID, true)
	if err != nil {
		return nil, err
	}
	m, err := j.c.Host.Machine(ctx, j.UUID)
	if err != nil {
		return nil, err
	}
	var chains []chainState
	for _, d := range j.Disks {
		c := chainState{chain: d, live: pathOf(live, d.Disk), inactive: pathOf(inactive, d.Disk), there: there(d.Overlay)}
		if m.State != virt.Off && c.live != "" {
			if c.files, err = j.c.Host.Files(ctx, j.UUID, d.Disk); err != nil {
				return nil, fmt.Errorf("%s: %w", d.Disk, err)
			}
			job, err := j.c.Host.BlockJob(ctx, j.UUID, d.Disk)
			if err == nil {
				c.job = &job
			} else if !errors.Is(err, virt.ErrNotFound) {
				return nil, fmt.Errorf("%s: %w", d.Disk, err)
			}
		}
		chains = append(chains, c)
	}
	return chains, nil
}

func pathOf(d virt.Domain, disk string) string {
	for _, of := range d.Disks {
		if of.Name == disk {
			return of.Path
		}
	}
	return ""
}

// there reports whether a file may be there: only that it is not is believed.
func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// startsFrom returns the file that the machine, which is off, has to be started from, whatever its
// description names: an editor that was open for a while may have put back what it was
// before. Between the snapshot and the pivot that is the overlay, after it the base. Where
// the journal cannot tell, the description is right.
func (j *job) startsFrom(c chainState) (path string, err error) {
	pivoting, merged := j.ledger.pivot(c.Disk)
	path = c.inactive
	switch {
	case path != c.Base && path != c.Overlay:
		if merged || !c.there {
			return path, nil
		}
		return "", j.strayed(c, path)
	case merged || pivoting && !c.there:
		path = c.Base
	case !pivoting && c.there && j.ledger.did(stepSnapshot) && !j.ledger.damaged:
		path = c.Overlay
	}
	for _, needed := range []string{path, c.Base} {
		if j.Ran && !there(needed) {
			return "", j.missing(c, needed)
		}
	}
	return path, nil
}

// strayed is that somebody has put something else in the place of a disk, while its overlay holds what
// the machine wrote.
func (j *job) strayed(c chainState, found string) error {
	what := "is " + found + ", not " + c.Base
	if found == "" {
		what = "is not in the machine any more"
	}
	return fmt.Errorf("%w: disk %s %s, and its overlay %s holds what the machine wrote since %s: make the overlay the disk again and recover, or remove it if it is of no use",
		errGiveUp, c.Disk, what, c.Overlay, j.Image)
}

// missing is that a file which a disk consists of is gone.
func (j *job) missing(c chainState, path string) error {
	return fmt.Errorf("%w: disk %s needs %s, which is not there: put it back and recover; what the machine wrote since %s is in %s",
		errGiveUp, c.Disk, path, j.Image, c.Overlay)
}

// describe has the lasting description of the machine name a file of a disk, its base or its
// overlay.
func (j *job) describe(c chainState, path string) *act {
	return &act{step: stepDescribe, disk: c.Disk, do: func(ctx context.Context) error {
		return j.try(ctx, func(ctx context.Context, uuid string) error {
			to := virt.Source{Path: c.Base, Format: c.Format, Block: c.Block}
			if path == c.Overlay {
				base := to
				to = virt.Source{Path: c.Overlay, Format: "qcow2", Beneath: &base}
			}
			xml, err := j.c.Host.XML(ctx, uuid, true)
			if err != nil {
				return err
			}
			if xml, err = virt.Edit(xml, virt.Changes{Disks: map[string]virt.Source{c.Disk: to}}); err != nil {
				return err
			}
			if _, err = j.c.Host.Define(ctx, xml); err != nil {
				return err
			}
			syncAll()
			j.note("disk %s would have been %s when the machine is started again, and is %s: was its description edited meanwhile?", c.Disk, c.inactive, path)
			return nil
		})
	}}
}
