package keep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer"
)

// State is how a day stands at the source and in the target.
type State uint8

const (
	Absent     State = iota // not at the source, not kept
	Unfinished              // at the source, but not complete yet
	Ready                   // complete, to be kept
	Held                    // kept, and the source is as it was or gone
	Changed                 // kept, but the source is another now: a revision is to be kept
	Unknown                 // could not be looked at
)

var stateNames = [...]string{"absent", "unfinished", "ready", "held", "changed", "unknown"}

func (s State) String() string { return stateNames[s] }

// Day is what a plan says of one day.
type Day struct {
	Date    julian.Date
	State   State
	Why     string // in words, where the state alone does not say it
	Err     error  // of an Unknown day
	Source  string // folder in the source
	Target  string // folder in the target that it will have
	Files   int    // at the source
	Bytes   int64  // of these files
	Fetch   int64  // bytes to be fetched
	Inodes  int    // files, folders and links to be made
	Before  Kept   // how it was kept before; zero if it was not
	Skipped []transfer.Skip
	Failed  []*transfer.FileError // folders at the source that cannot be listed

	need    int64                    // bytes it takes on a disk, all of it
	room    int64                    // and what is to be fetched of it
	clash   bool                     // a file where there was a folder, or the reverse
	touched bool                     // Changed by times alone, it may be
	closed  []string                 // what its owner could not read with the mode it has at the source, folders first
	files   map[string]transfer.Info // regular files, by their names in the folder
}

// Plan is what a run would do.
type Plan struct {
	Today   julian.Date
	Days    []Day         // oldest first
	GivenUp []julian.Date // missed, but further back than CatchUp
	Remove  []Kept        // that go when all that is ready is kept
	Stalled []string      // folders of days that were begun and are not in Days
	Trash   []string      // folders of days half removed

	surplus []Kept // beyond the number to keep already
}

// Fetch is what all days to be kept take.
func (p *Plan) Fetch() (bytes int64, inodes int) {
	for _, d := range p.Days {
		if d.State == Ready || d.State == Changed {
			bytes, inodes = bytes+d.Fetch, inodes+d.Inodes
		}
	}
	return bytes, inodes
}

// Notes are what a reader of a report wants to know beside the days. removed
// are the days that went, or would.
func (p *Plan) Notes(removed []Kept) []string {
	var notes []string
	if n := len(p.GivenUp); n > 0 {
		notes = append(notes, fmt.Sprintf("%s from %v to %v were missed too long ago to be looked for", count(n, "day", "days"), p.GivenUp[0], p.GivenUp[n-1]))
	}
	for _, d := range removed {
		notes = append(notes, fmt.Sprintf("beyond the number of days to keep: %v", d.Date))
	}
	for _, dir := range p.Stalled {
		notes = append(notes, fmt.Sprintf("a day was begun and not finished, and is no longer looked for: %s", dir))
	}
	return notes
}

// Plan looks at the day last and the n days before, at those missed since the
// last day kept, and at older gaps within CatchUp, which are filled if they can
// be but not complained of. Days before today should be there and complete.
// A day that cannot be looked at does not keep the plan from being made. A
// target with the days of another source does: [*OriginError].
func (k *Keeper) Plan(ctx context.Context, today, last julian.Date, n int) (*Plan, error) {
	if !today.IsValid() || !last.IsValid() || n < 0 {
		return nil, fmt.Errorf("keep: no plan for %v and %d days before", last, n)
	}
	if _, err := k.c.Source.Stat(ctx, "."); err != nil {
		return nil, fmt.Errorf("keep: source: %w", err)
	}
	if err := k.checkOrigin(ctx); err != nil {
		return nil, fmt.Errorf("keep: target: %w", err)
	}
	now, err := k.sourceNow(ctx)
	if err != nil {
		return nil, fmt.Errorf("keep: clock of the source: %w", err)
	}
	f, err := k.find(ctx)
	if err != nil {
		return nil, fmt.Errorf("keep: target: %w", err)
	}
	p := &Plan{Today: today, Trash: f.trash}
	p.surplus = k.surplus(f.kept, today)

	window := julian.Window(last, n)
	days := make(map[julian.Date]bool) // and whether it is wanted
	for _, d := range window {
		days[d] = true
	}
	if len(f.kept) > 0 {
		var kept []julian.Date
		var newest julian.Date // before the window
		for _, d := range f.kept {
			kept = append(kept, d.Date)
			if d.Date.Compare(window[0]) < 0 {
				newest = d.Date
			}
		}
		first := window[0].AddDays(-k.c.CatchUp)
		for _, d := range julian.Missing(kept, kept[0], window[0].AddDays(-1)) {
			since := d.Compare(newest) > 0
			switch {
			case d.Compare(first) >= 0:
				days[d] = since
			case since && k.c.CatchUp > 0:
				p.GivenUp = append(p.GivenUp, d)
			}
		}
	}
	held := make(map[julian.Date]Kept)
	for _, d := range f.kept {
		held[d.Date] = d
	}
	stages := make(map[string]bool)
	for d := range julian.Days(window[0].AddDays(-k.c.CatchUp), last) {
		wanted, ok := days[d]
		if !ok {
			continue
		}
		day := k.look(ctx, d, held[d], f.inTheWay, now)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(day.Err, transfer.ErrLost) {
			return nil, fmt.Errorf("keep: %v: %w", d, day.Err)
		}
		stages[beside(day.Target, stagePrefix)] = true
		if wanted || day.State != Absent {
			p.Days = append(p.Days, day)
		}
	}
	for _, dir := range f.stage {
		if !stages[dir] {
			p.Stalled = append(p.Stalled, dir)
		}
	}
	after := slices.Clone(f.kept)
	for _, d := range p.Days {
		if d.State == Ready {
			after = append(after, Kept{Date: d.Date, Sealed: true})
		}
	}
	slices.SortFunc(after, func(a, b Kept) int { return a.Date.Compare(b.Date) })
	p.Remove = slices.DeleteFunc(k.surplus(after, today), func(d Kept) bool { return d.Dirs == nil })
	return p, nil
}

// look finds out how one day stands.
func (k *Keeper) look(ctx context.Context, d julian.Date, kept Kept, inTheWay map[string]fs.FileMode, now time.Time) Day {
	day := Day{Date: d, Source: k.c.SourceDays.Format(d), Target: k.c.TargetDays.Format(d), Before: kept}
	isKept := len(kept.Dirs) > 0
	from := beside(day.Target, stagePrefix)
	if isKept {
		day.Target = revName(day.Target, kept.Revisions[len(kept.Revisions)-1]+1)
		from = kept.Latest()
	}
	for dir := day.Target; dir != "."; dir = path.Dir(dir) {
		if mode, ok := inTheWay[dir]; ok {
			day.State, day.Err = Unknown, &InTheWayError{Path: k.place(dir), Mode: mode}
			return day
		}
	}
	p, err := transfer.PlanMirror(ctx, k.c.Target, k.c.Source, k.options(day.Source, from))
	if err == nil && isKept && slices.ContainsFunc(p.Failed, clashes) {
		// Then it is fetched whole, and planned so.
		day.clash = true
		p, err = transfer.PlanMirror(ctx, k.c.Target, k.c.Source, k.options(day.Source, beside(day.Target, stagePrefix)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		day.State, day.Why = Absent, "not at the source"
		if isKept {
			day.State, day.Why = Held, "no longer at the source"
		}
		return day
	}
	if err != nil {
		day.State, day.Err = Unknown, err
		return day
	}
	day.Skipped = p.Skipped
	day.files = make(map[string]transfer.Info)
	var newest time.Time
	marked := k.c.Marker == ""
	changes, sends, entries := 0, 0, 0
	if day.clash {
		changes++
	}
	for _, f := range p.Failed {
		if !clashes(f) {
			day.Failed = append(day.Failed, f)
		}
	}
	for _, s := range p.Steps {
		day.need += roundUp(s.Info.Size)
		if opened(s.Info.Mode) != s.Info.Mode {
			day.closed = append(day.closed, s.Info.Name)
		}
		if !s.Info.Mode.IsDir() {
			entries++
		}
		if s.Info.ModTime.After(newest) {
			newest = s.Info.ModTime
		}
		if s.Info.Mode.IsRegular() {
			day.Files++
			day.files[s.Info.Name] = s.Info
			day.Bytes += s.Info.Size
		}
		if s.Info.Name == k.c.Marker {
			marked = true
		}
		switch s.Action {
		case transfer.Send:
			day.Fetch += s.Info.Size
			day.room += roundUp(s.Info.Size)
			day.Inodes++
			changes++
			sends++
		case transfer.MakeDir, transfer.Link:
			day.room += block
			day.Inodes++
			changes++
		}
	}
	for _, f := range day.Failed {
		day.closed = append(day.closed, f.Name) // in the stage, after a crash
	}
	day.touched = changes == sends
	age := now.Sub(newest)
	switch {
	case isKept && changes == 0:
		day.State = Held
	case entries == 0 && len(p.Failed) == 0 && !isKept:
		day.State, day.Why = Absent, "the folder is empty"
	case !marked:
		day.State, day.Why = Unfinished, "no "+k.c.Marker+" in it yet"
	case k.c.Settled > 0 && age < k.c.Settled:
		day.State, day.Why = Unfinished, fmt.Sprintf("last changed %v ago, %v is settled", age.Round(time.Second), k.c.Settled)
		if age < 0 {
			day.Why = fmt.Sprintf("stamped %v in the future: are the clocks right?", (-age).Round(time.Second))
		}
	case isKept:
		day.State, day.Why = Changed, fmt.Sprintf("not as at the source: %s", count(changes, "entry", "entries"))
	default:
		day.State = Ready
	}
	return day
}

// InTheWayError says that a file or a symbolic link has the name of a folder
// that is to hold a day or days. Links are not followed in the target.
type InTheWayError struct {
	Path string // as a person finds it
	Mode fs.FileMode
}

func (e *InTheWayError) Error() string {
	if e.Mode&fs.ModeSymlink != 0 {
		return fmt.Sprintf("%s is a symbolic link, which is not followed; put the folder itself in its place, or mount it there (mount --bind)", e.Path)
	}
	return fmt.Sprintf("%s is not a folder; rename it or move it away", e.Path)
}

// opened is a mode by which the owner can at least read. Without that nobody
// but root could verify a day, or even list it.
func opened(mode fs.FileMode) fs.FileMode {
	switch {
	case mode.IsDir():
		return mode | 0o500
	case mode.IsRegular():
		return mode | 0o400
	}
	return mode
}

// clashes reports whether a file is to be where a folder is, or the reverse.
func clashes(f *transfer.FileError) bool { return f.Op == "write" }

// block is what disks give space by.
const block = 4096

func roundUp(size int64) int64 { return (size + block) / block * block }

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// surplus are the oldest days beyond the number to keep: no more at once than
// a run can add, so that a slip in a configuration does not cost a year. Folders
// that this package has not kept neither count nor go.
func (k *Keeper) surplus(kept []Kept, today julian.Date) []Kept {
	kept = slices.DeleteFunc(slices.Clone(kept), func(d Kept) bool { return !d.Sealed || d.Date.Compare(today) > 0 })
	n := len(kept) - k.c.Keep
	if k.c.Keep <= 0 || n <= 0 {
		return nil
	}
	return kept[:min(n, k.c.CatchUp+1)]
}
