package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// Run carries a plan out: it makes room, fetches each image, oldest first, verifies and
// adopts it, and removes what the policy says of its machine. each is called with what
// became of each image, and of each machine that has no new one or is late; then of what is
// damaged. What became of one image does not keep the others from being fetched, but for a
// connection that is lost. The error is about the whole: there is no room, or ctx has ended.
// After any error the next run goes on.
func (f *Fetcher) Run(ctx context.Context, p *Plan, each func(Result)) error {
	err := f.fetch(ctx, p, each)
	for _, d := range p.Damaged {
		now := f.c.Now()
		each(Result{Machine: d.Machine, ID: d.ID, Start: now, End: now, Err: d})
	}
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}

func (f *Fetcher) fetch(ctx context.Context, p *Plan, each func(Result)) error {
	made := make(map[string][]vmimage.Image) // room, by machines
	err := p.Short
	if err == nil {
		err = f.tidy(ctx, p)
	}
	if err == nil {
		var removed []vmimage.Image
		removed, err = f.c.Keeper.Remove(ctx, p.MakeRoom, f.c.Logger)
		for _, i := range removed {
			made[i.Machine] = append(made[i.Machine], i)
		}
		if err != nil {
			err = fmt.Errorf("make room: %w", err)
		}
	}
	if err == nil {
		err = f.images(ctx, p, func(r Result) {
			r.Removed = append(made[r.Machine], r.Removed...)
			delete(made, r.Machine)
			each(r)
		})
	}
	for _, m := range p.Machines {
		if m.Fetch == 0 || m.Late || made[m.Name] != nil {
			now := f.c.Now()
			each(Result{Machine: m.Name, Start: now, End: now, Removed: made[m.Name], Newest: m.Newest, Age: m.Age, Late: m.Late, Gone: m.Images == 0})
		}
	}
	return err
}

// tidy removes what earlier runs have left of images that are not to be fetched any more. What
// is damaged at the source may be mended.
func (f *Fetcher) tidy(ctx context.Context, p *Plan) error {
	var keep []vmimage.Image
	for _, i := range p.Fetch {
		keep = append(keep, i.Image)
	}
	for _, d := range p.Damaged {
		if !d.Here {
			keep = append(keep, vmimage.Image{Machine: d.Machine, ID: d.ID})
		}
	}
	removed, err := f.target.CleanStages(ctx, keep)
	for _, name := range removed {
		f.c.Logger.Info("removed what a run has left", "file", name)
	}
	return err
}

// images fetches all images.
func (f *Fetcher) images(ctx context.Context, p *Plan, each func(Result)) error {
	var lost error
	for _, i := range p.Fetch {
		r := Result{Machine: i.Machine, ID: i.ID, Start: f.c.Now(), alone: p.tellsOnce(i.Machine)}
		switch {
		case ctx.Err() != nil:
			r.Err = fmt.Errorf("not begun: %w", context.Cause(ctx))
		case lost != nil:
			r.Err = fmt.Errorf("not begun: %w", lost)
		default:
			f.image(ctx, p, i, &r)
		}
		if errors.Is(r.Err, transfer.ErrLost) && lost == nil {
			lost = r.Err
		}
		r.End = f.c.Now()
		each(r)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stopped: %w; the next run goes on", context.Cause(ctx))
	}
	return nil
}

// tellsOnce reports whether there will be one result for a machine.
func (p *Plan) tellsOnce(machine string) bool {
	return slices.ContainsFunc(p.Machines, func(m Machine) bool { return m.Name == machine && m.Fetch == 1 && !m.Late }) &&
		!slices.ContainsFunc(p.Damaged, func(d *DamagedError) bool { return d.Machine == machine })
}

// image fetches an image.
func (f *Fetcher) image(ctx context.Context, p *Plan, i Planned, r *Result) {
	adopted, err := f.adopt(ctx, i, r)
	switch {
	case err == nil:
		r.Image = adopted
		f.c.Logger.Info("fetched", "machine", i.Machine, "image", i.ID, "bytes", r.Stats.Literal)
		r.Removed, r.Err = f.c.Keeper.Retain(ctx, adopted, f.c.Logger)
	case ctx.Err() == nil && !errors.Is(err, transfer.ErrLost) && f.isGone(ctx, plain.Name(i.Machine, i.ID)):
		f.c.Logger.Warn("the source has removed it", "machine", i.Machine, "image", i.ID)
		r.Gone = true
		left := *p
		left.Fetch = slices.DeleteFunc(slices.Clone(p.Fetch), func(j Planned) bool { return j.Machine == i.Machine && j.ID == i.ID })
		r.Err = f.tidy(ctx, &left)
	default:
		r.Err = err
	}
}

// adopt brings the stage of an image up to date, and makes it an image.
func (f *Fetcher) adopt(ctx context.Context, i Planned, r *Result) (_ vmimage.Image, err error) {
	need := diskspace.Need{Path: f.target.Dir(), Bytes: uint64(i.need()), Inodes: uint64(len(i.Files)) + 3}
	if err := f.c.Keeper.Space.Fits(need); err != nil {
		return vmimage.Image{}, fmt.Errorf("not begun: %w", err)
	}
	release, err := f.target.Lock(i.Machine)
	if err != nil {
		return vmimage.Image{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	dir, err := f.target.Stage(i.Image)
	if err != nil {
		return vmimage.Image{}, err
	}
	if err := f.mirror(ctx, dir, i.Image, r); err != nil {
		return vmimage.Image{}, err
	}
	return f.target.Adopt(ctx, i.Image)
}

// mirror makes the stage of an image hold what the source has.
func (f *Fetcher) mirror(ctx context.Context, dir string, image vmimage.Image, r *Result) (err error) {
	stage, err := dirstore.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	var o transfer.Options
	if f.c.Transfer != nil {
		o = *f.c.Transfer
	}
	o.From, o.To, o.Include, o.Exclude, o.Logger = plain.Name(image.Machine, image.ID), ".", nil, nil, f.c.Logger
	for _, name := range plain.FileNames(image) {
		o.Include = append(o.Include, "/"+name)
	}
	o.Verify = transfer.VerifyNone // Adopt reads all of it
	plan, err := transfer.PlanMirror(ctx, stage, f.c.Source, &o)
	if err != nil {
		return err
	}
	linked, err := f.target.Linked(image)
	if err != nil {
		return err
	}
	for i, s := range plan.Steps {
		// A file of another image is nobody's to touch, and no proof that this one is the same.
		if s.Info.Mode.IsRegular() && slices.Contains(linked, s.Info.Name) {
			plan.Steps[i].Action = transfer.Send
		}
	}
	res, err := plan.Run(ctx)
	r.Stats = res.Stats
	return err
}
