package vmimage

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Policy says how many images of each machine stay. Each rule counts back from
// the newest verified image, not from today, and a period without an image does not
// count. The zero Policy keeps all.
type Policy struct {
	Last                           int // images
	Daily, Weekly, Monthly, Yearly int // periods, of which the newest image stays; weeks are those of ISO 8601

	// Least is how many verified images stay whatever the rules say. Less than
	// one means one.
	Least int

	In *time.Location // where days begin; nil means UTC
}

// Retention is what a policy says of some images.
type Retention struct {
	Keep   []Kept  // newest first, machine by machine
	Remove []Image // oldest first, machine by machine
}

// Kept is an image that stays.
type Kept struct {
	Image
	Reasons []string // such as "daily 3", counted from the newest
}

// Plan says which images stay and which may go. An image that is not verified fills
// no place of a rule; it stays if it is newer than all that are, since it may be
// verified yet.
func (p Policy) Plan(images []Image) Retention {
	var r Retention
	byMachine := make(map[string][]Image)
	for _, i := range images {
		byMachine[i.Machine] = append(byMachine[i.Machine], i)
	}
	names := make([]string, 0, len(byMachine))
	for name := range byMachine {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p.plan(byMachine[name], &r)
	}
	return r
}

// plan adds what is to become of one machine's images.
func (p Policy) plan(images []Image, r *Retention) {
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(b.Taken.Compare(a.Taken), cmp.Compare(b.ID, a.ID))
	})
	rules := p.rules()
	verified := 0
	var remove []Image
	for _, i := range images {
		var reasons []string
		switch {
		case p.keepsAll():
			reasons = []string{"no rule"}
		case i.Verified.IsZero() && verified == 0:
			reasons = []string{"newer than all that are verified"}
		case !i.Verified.IsZero():
			verified++
			for _, rule := range rules {
				if n, ok := rule.takes(i.Taken); ok {
					reasons = append(reasons, fmt.Sprintf("%s %d", rule.name, n))
				}
			}
			if len(reasons) == 0 && verified <= max(1, p.Least) {
				reasons = []string{fmt.Sprintf("least %d", verified)}
			}
		}
		if len(reasons) > 0 {
			r.Keep = append(r.Keep, Kept{i, reasons})
		} else {
			remove = append(remove, i)
		}
	}
	slices.Reverse(remove)
	r.Remove = append(r.Remove, remove...)
}

func (p Policy) keepsAll() bool {
	return p.Last <= 0 && p.Daily <= 0 && p.Weekly <= 0 && p.Monthly <= 0 && p.Yearly <= 0
}

// rule keeps the newest image of each of so many periods.
type rule struct {
	name   string
	count  int
	period func(t time.Time) [2]int
	taken  int
	last   [2]int // period
}

func (p Policy) rules() []*rule {
	in := cmp.Or(p.In, time.UTC)
	image := 0
	return []*rule{
		{name: "last", count: p.Last, period: func(time.Time) [2]int { image++; return [2]int{image} }},
		{name: "daily", count: p.Daily, period: func(t time.Time) [2]int { return [2]int{t.In(in).Year(), t.In(in).YearDay()} }},
		{name: "weekly", count: p.Weekly, period: func(t time.Time) [2]int { y, w := t.In(in).ISOWeek(); return [2]int{y, w} }},
		{name: "monthly", count: p.Monthly, period: func(t time.Time) [2]int { return [2]int{t.In(in).Year(), int(t.In(in).Month())} }},
		{name: "yearly", count: p.Yearly, period: func(t time.Time) [2]int { return [2]int{t.In(in).Year()} }},
	}
}

// takes reports whether the rule keeps the next older image, as which.
func (r *rule) takes(t time.Time) (n int, ok bool) {
	if r.taken >= r.count {
		return 0, false
	}
	period := r.period(t)
	if r.taken > 0 && period == r.last {
		return 0, false
	}
	r.taken++
	r.last = period
	return r.taken, true
}

// ShareError says that a plan removes more than is allowed at once.
type ShareError struct {
	Machine      string
	Remove, Have int     // images
	Share        float64 // allowed
}

func (e *ShareError) Error() string {
	return fmt.Sprintf("%s: %d of %d images would be removed, which is more than %.0f %%: is the policy right?", e.Machine, e.Remove, e.Have, 100*e.Share)
}

// Check returns a [*ShareError] for the first machine of which more than the share,
// from 0 to 1, is to be removed. One image may always go.
func (r Retention) Check(share float64) error {
	remove, have := make(map[string]int), make(map[string]int)
	for _, k := range r.Keep {
		have[k.Machine]++
	}
	for _, i := range r.Remove {
		have[i.Machine]++
		remove[i.Machine]++
	}
	for _, i := range r.Remove {
		if n := remove[i.Machine]; n > 1 && float64(n) > share*float64(have[i.Machine]) {
			return &ShareError{i.Machine, n, have[i.Machine], share}
		}
	}
	return nil
}
