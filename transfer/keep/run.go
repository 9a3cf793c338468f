package keep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"syscall"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
)

// Result is what became of one day of a plan.
type Result struct {
	Day
	Outcome    report.Outcome
	Kept       bool // whether it was kept by this run
	Stats      transfer.Stats
	Unverified int // files in folders without a manifest
	Start, End time.Time
	Err        error
	Notes      []string

	damaged bool                         // the latest state that was kept before
	sent    map[string][sha256.Size]byte // into the stage by this run
}

// Job is the result as a line of a report.
func (r Result) Job() report.Job {
	job := report.Job{
		Name: r.Date.String(), Day: r.Date, Outcome: r.Outcome, Start: r.Start, End: r.End,
		Literal: r.Stats.Literal, Err: r.Err, Notes: r.Notes,
	}
	switch {
	case r.Kept || len(r.Before.Dirs) > 0:
		job.Files, job.Bytes = r.Files, r.Bytes
		job.Verified, job.Unverified = r.Stats.Verified, r.Unverified
	case r.Outcome == report.OK:
		job.Name += ", not yet"
	}
	return job
}

// Run carries out a plan: keeps each day that is ready, oldest first, verifies
// those that were kept before, and removes what is beyond the number to keep;
// if the new days do not fit otherwise, what is beyond it already goes first.
// each is called with every result. Run returns the days removed; the error is
// for what no single day has to do with.
func (k *Keeper) Run(ctx context.Context, p *Plan, each func(Result)) (removed []Kept, err error) {
	err = k.claim(ctx)
	for _, dir := range p.Trash {
		err = errors.Join(err, transfer.RemoveAll(ctx, k.c.Target, dir))
	}
	remove := func(days []Kept) {
		for _, day := range days {
			e := k.remove(ctx, day)
			if e == nil {
				removed = append(removed, day)
			}
			err = errors.Join(err, e)
		}
	}
	if len(p.surplus) > 0 && errors.Is(k.Fits(ctx, p), syscall.ENOSPC) {
		remove(p.surplus)
	}
	failed := false
	for _, day := range p.Days {
		if ctx.Err() != nil {
			return removed, errors.Join(err, context.Cause(ctx))
		}
		r := k.day(ctx, day, p.Today)
		failed = failed || r.Outcome == report.Failed
		each(r)
	}
	if !failed && k.c.Keep > 0 {
		kept, e := k.Kept(ctx)
		err = errors.Join(err, e)
		remove(k.surplus(kept, p.Today))
	}
	return removed, err
}

// remove takes a day out of sight, then away.
func (k *Keeper) remove(ctx context.Context, day Kept) error {
	for _, dir := range slices.Backward(day.Dirs) {
		trash := beside(dir, trashPrefix)
		err := transfer.RemoveAll(ctx, k.c.Target, trash)
		if err == nil {
			err = k.c.Target.Rename(ctx, dir, trash)
		}
		if err == nil {
			err = transfer.RemoveAll(ctx, k.c.Target, trash)
		}
		if err != nil {
			return fmt.Errorf("keep: remove %s: %w", k.place(dir), err)
		}
	}
	k.c.Logger.Info("removed", "day", day.Date)
	return nil
}

// day does what is to be done with one day.
func (k *Keeper) day(ctx context.Context, day Day, today julian.Date) (r Result) {
	r = Result{Day: day, Start: k.c.Now()}
	defer func() {
		r.End = k.c.Now()
		if ctx.Err() != nil && r.Err != nil {
			r.Outcome, r.Err = report.Failed, fmt.Errorf("stopped: %w; the next run goes on", context.Cause(ctx))
		}
	}()
	if day.Why != "" {
		r.Notes = append(r.Notes, day.Why)
	}
	reserved := false
	for _, s := range day.Skipped {
		if transfer.IsReserved(s.Name) {
			reserved = true
			s.Reason = "names that begin with " + transfer.ReservedPrefix + " are this program's own; rename it at the source to have it kept"
		}
		r.Notes = append(r.Notes, fmt.Sprintf("left out %q: %s", s.Name, s.Reason))
	}
	for _, f := range day.Failed {
		r.Notes = append(r.Notes, f.Error())
	}
	past := day.Date.Compare(today) < 0
	level, damage := k.verify(ctx, &r)
	switch day.State {
	case Absent:
		if past {
			r.Outcome = report.Missed
		}
	case Unfinished:
		if past {
			r.Outcome = report.Warning
		}
	case Unknown:
		r.Outcome, r.Err = report.Failed, day.Err
	case Held:
		if r.damaged {
			// The source still has it: it is fetched whole, beside the damage.
			k.keep(ctx, &r)
		}
	case Ready, Changed:
		k.keep(ctx, &r)
	}
	if len(day.Failed) > 0 || r.Unverified > 0 || reserved {
		r.Outcome = max(r.Outcome, report.Warning)
	}
	r.Outcome, r.Err = max(r.Outcome, level), errors.Join(damage, r.Err)
	return r
}

// verify reads a day that was kept before, and counts what its latest state
// holds. It returns how bad what it found is.
func (k *Keeper) verify(ctx context.Context, r *Result) (level report.Outcome, err error) {
	if len(r.Before.Dirs) == 0 {
		return report.OK, nil
	}
	for _, dir := range r.Before.Dirs {
		n, e := k.verifyDir(ctx, dir)
		err = errors.Join(err, e)
		switch {
		case errors.Is(e, ErrNoManifest):
			level = max(level, report.Warning)
		case e != nil:
			level = report.Failed
		}
		if dir == r.Before.Latest() {
			r.Stats.Verified = n
			r.damaged = e != nil && !errors.Is(e, ErrNoManifest)
		}
	}
	r.Files, r.Bytes = 0, 0
	for info, e := range transfer.Walk(ctx, k.c.Target, k.options(r.Before.Latest(), "")) {
		if e != nil {
			return report.Failed, errors.Join(err, e)
		}
		if info.Mode.IsRegular() {
			r.Files, r.Bytes = r.Files+1, r.Bytes+info.Size
		}
	}
	r.Unverified = max(r.Files-r.Stats.Verified, 0)
	if err == nil && r.Unverified > 0 {
		r.Notes = append(r.Notes, count(r.Unverified, "file is", "files are")+" not in its manifest")
	}
	return level, err
}

// keep fetches a day into its stage and gives it its name.
func (k *Keeper) keep(ctx context.Context, r *Result) {
	stage := beside(r.Target, stagePrefix)
	unreadable, err := k.fetch(ctx, r, stage)
	if err == nil {
		err = k.unchanged(ctx, r, stage, unreadable)
	}
	if err == nil {
		err = k.seal(ctx, r, stage)
	}
	switch {
	case errors.Is(err, transfer.ErrChanged):
		r.Outcome, r.Err = report.Warning, fmt.Errorf("not kept: %w; the next run goes on", err)
	case err != nil:
		r.Outcome, r.Err = report.Failed, fmt.Errorf("not kept: %w", err)
	case len(unreadable) > 0:
		r.Outcome, r.Err = report.Warning, unreadable[0]
		r.Notes = append(r.Notes, fmt.Sprintf("%d could not be read at the source; the others are kept", len(unreadable)))
		for _, f := range unreadable[1:] {
			r.Notes = append(r.Notes, f.Error())
		}
	}
}

// fetch brings the stage up to date. It returns what the source would not let
// it read; what changed meanwhile is an ErrChanged.
func (k *Keeper) fetch(ctx context.Context, r *Result, stage string) ([]*transfer.FileError, error) {
	day := r.Day
	if r.damaged {
		day.State = Changed // all of it is fetched
	}
	if err := k.fits(ctx, day); err != nil {
		return nil, err
	}
	r.sent = make(map[string][sha256.Size]byte)
	o := k.options(r.Source, stage)
	switch _, err := k.c.Target.Stat(ctx, stage); {
	case err == nil:
		// Nobody knows what has become of it since an earlier run was cut.
		o.Verify = transfer.VerifyAll
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case r.State == Changed && r.Before.Sealed && !r.damaged && !r.clash:
		if err := k.seed(ctx, r, stage); err != nil {
			return nil, err
		}
	}
	if err := k.open(ctx, r, stage); err != nil {
		return nil, err
	}
	res, err := transfer.Mirror(ctx, k.c.Target, k.c.Source, o)
	if res != nil {
		held := r.Stats.Verified // of the state before, until there is a new one
		r.Stats = res.Stats
		r.Stats.Verified = held
		maps.Copy(r.sent, res.Sent)
	}
	incomplete, ok := errors.AsType[*transfer.IncompleteError](err)
	if err == nil || ok {
		if err := k.open(ctx, r, stage); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, err
	}
	for _, f := range incomplete.Failed {
		switch {
		case errors.Is(f, fs.ErrNotExist):
			return nil, fmt.Errorf("%w: gone is %q", transfer.ErrChanged, f.Name)
		case errors.Is(f, transfer.ErrChanged):
			return nil, f
		case f.Op == "write":
			return nil, fmt.Errorf("%w; if it stays so, remove %s to start over", f, k.place(stage))
		}
	}
	return incomplete.Failed, nil
}

// open lets the owner read what is in the stage, whatever the modes at the
// source: before the mirror for what a crash has left just after it.
func (k *Keeper) open(ctx context.Context, r *Result, stage string) error {
	for _, name := range r.closed {
		info, err := k.c.Target.Stat(ctx, path.Join(stage, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if mode := opened(info.Mode); err == nil && mode != info.Mode {
			info.Mode = mode
			err = k.c.Target.SetInfo(ctx, info)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k.place(path.Join(stage, name)), err)
		}
	}
	return nil
}

// seed brings what is kept of the day into a new stage: what has not changed
// need not be fetched. What is copied must be what the manifest says.
func (k *Keeper) seed(ctx context.Context, r *Result, stage string) error {
	sums, err := k.readManifest(ctx, r.Before.Latest())
	if err != nil {
		return err
	}
	o := k.options(r.Before.Latest(), stage)
	o.Progress = nil
	res, err := transfer.Mirror(ctx, k.c.Target, k.c.Target, o)
	if err != nil {
		return err
	}
	for _, sum := range sums {
		if got := res.Sent[sum.Name]; !bytes.Equal(got[:], sum.Hash) {
			return errors.Join(fmt.Errorf("%s: %q: %w", k.place(r.Before.Latest()), sum.Name, transfer.ErrCorrupt),
				transfer.RemoveAll(ctx, k.c.Target, stage))
		}
	}
	maps.Copy(r.sent, res.Sent)
	return nil
}

// unchanged returns ErrChanged unless the source is still what it was when it
// was planned, and the stage holds it.
func (k *Keeper) unchanged(ctx context.Context, r *Result, stage string, unreadable []*transfer.FileError) error {
	c, err := transfer.Compare(ctx, k.c.Source, k.c.Target, k.options(r.Source, stage))
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(c.Differing, c.Missing) {
		if !slices.ContainsFunc(unreadable, func(f *transfer.FileError) bool { return f.Name == name }) {
			return fmt.Errorf("%w: %q", transfer.ErrChanged, name)
		}
	}
	// A file that came or changed and was then fetched whole was not settled
	// when the day was planned.
	entries := 0
	for info, err := range transfer.Walk(ctx, k.c.Target, k.options(stage, "")) {
		if err != nil {
			return err
		}
		if !info.Mode.IsDir() {
			entries++
		}
		was, ok := r.files[info.Name]
		_, same := slices.BinarySearch(c.Same, info.Name)
		if info.Mode.IsRegular() && same && (!ok || was.Size != info.Size || was.ModTime.Unix() != info.ModTime.Unix()) {
			return fmt.Errorf("%w: %q", transfer.ErrChanged, info.Name)
		}
	}
	if entries == 0 && len(unreadable) > 0 {
		return fmt.Errorf("nothing of it could be read: %w", unreadable[0])
	}
	for _, name := range c.Extra {
		r.Notes = append(r.Notes, fmt.Sprintf("no longer at the source, but fetched before and kept: %q", name))
	}
	return nil
}

// Fits returns nil if all that the plan would fetch fits into the target at
// once, else a [*diskspace.ShortfallError], joined.
func (k *Keeper) Fits(ctx context.Context, p *Plan) error { return k.fits(ctx, p.Days...) }

func (k *Keeper) fits(ctx context.Context, days ...Day) error {
	stater, ok := k.c.Target.(diskspace.Stater)
	if !ok {
		return nil
	}
	dirs := make(map[string]string) // by their places
	planner := diskspace.Planner{Reserve: k.c.Reserve, Stat: func(place string) (diskspace.Usage, error) {
		return stater.Usage(ctx, dirs[place])
	}}
	var needs []diskspace.Need
	for _, d := range days {
		need := diskspace.Need{Path: k.place(path.Dir(d.Target)), Bytes: uint64(d.room), Inodes: uint64(d.Inodes)}
		dirs[need.Path] = path.Dir(d.Target)
		switch d.State {
		case Held: // fetched only if it turns out to be damaged
			continue
		case Changed: // what has not changed is copied
			need.Bytes, need.Inodes = uint64(d.need), uint64(d.Files)
		}
		if need.Bytes > 0 {
			needs = append(needs, need)
		}
	}
	err := planner.Fits(needs...)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// seal writes the manifest and makes the stage the kept day.
func (k *Keeper) seal(ctx context.Context, r *Result, stage string) error {
	if s, ok := k.c.Target.(sweeper); ok {
		if err := s.RemoveReserved(ctx, stage); err != nil {
			return fmt.Errorf("%s: %w", k.place(stage), err)
		}
	}
	sums, err := k.sums(ctx, r, stage)
	if err != nil {
		return err
	}
	if r.State == Changed && r.touched && !r.damaged {
		before, err := k.readManifest(ctx, r.Before.Latest())
		if err == nil && slices.EqualFunc(before, sums, sameSum) {
			r.State = Held
			r.Notes = append(r.Notes, "other times than at the source, but the same bytes")
			return transfer.RemoveAll(ctx, k.c.Target, stage)
		}
	}
	var text bytes.Buffer
	err = transfer.WriteSums(&text, func(yield func(transfer.Sum, error) bool) {
		for _, s := range sums {
			if !yield(s, nil) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	top, err := k.c.Source.Stat(ctx, r.Source)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Source, err)
	}
	// Whoever may not write into the day must be able to until it is whole.
	top.Mode = opened(top.Mode)
	open := top
	open.Name, open.Mode = stage, top.Mode|0o700
	if err := k.c.Target.SetInfo(ctx, open); err != nil {
		return fmt.Errorf("%s: %w", k.place(stage), err)
	}
	info := transfer.Info{Name: path.Join(stage, ManifestName), Size: int64(text.Len()), Mode: 0o444, ModTime: k.c.Now()}
	if _, err := transfer.Push(ctx, k.c.Target, info, bytes.NewReader(text.Bytes()), nil); err != nil {
		return err
	}
	top.Name = stage
	if err = k.c.Target.SetInfo(ctx, top); err == nil {
		err = k.c.Target.Rename(ctx, stage, r.Target)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", k.place(r.Target), err)
	}
	r.Kept, r.Stats.Verified, r.Unverified = true, len(sums), 0
	switch {
	case r.damaged:
		r.Outcome = report.Warning
		r.Notes = append(r.Notes, "fetched again and kept as "+k.place(r.Target)+"; the folder before it can be removed once it has been looked at")
	case r.State == Changed:
		r.Outcome = report.Warning
		r.Notes = append(r.Notes, "the day as it was stays; its new state is kept beside it as "+k.place(r.Target))
	}
	k.c.Logger.Info("kept", "day", r.Date, "dir", r.Target, "files", len(sums))
	return nil
}

// sweeper is a target that can remove what has a reserved name, such as a file
// that was cut in the middle and is not at the source any more.
type sweeper interface {
	RemoveReserved(ctx context.Context, dir string) error
}

// sums are those of all files in the stage: of what this run fetched they are
// known, what an earlier one fetched is read.
func (k *Keeper) sums(ctx context.Context, r *Result, stage string) ([]transfer.Sum, error) {
	var sums []transfer.Sum
	r.Files, r.Bytes = 0, 0
	for info, err := range transfer.Walk(ctx, k.c.Target, k.options(stage, "")) {
		if err != nil {
			return nil, err
		}
		if !info.Mode.IsRegular() {
			continue
		}
		sum, ok := r.sent[info.Name]
		if !ok {
			if sum, err = transfer.Hash(ctx, k.c.Target, path.Join(stage, info.Name)); err != nil {
				return nil, err
			}
		}
		r.Files, r.Bytes = r.Files+1, r.Bytes+info.Size
		sums = append(sums, transfer.Sum{Name: info.Name, Hash: sum[:]})
	}
	return sums, nil
}

func sameSum(a, b transfer.Sum) bool { return a.Name == b.Name && bytes.Equal(a.Hash, b.Hash) }
