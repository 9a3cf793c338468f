package filter

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// ErrRule is returned for a rule that does not fit the series it is given.
var ErrRule = errors.New("filter: a rule does not fit")

// Rule says what is done to the rows of a series. Rules are those of this package.
type Rule interface {
	fmt.Stringer // by which errors and counts name it

	// on returns what is done to rows of a series, or why nothing can be.
	on(in sample.Series) (stage, error)
}

// stage is a rule made for a series.
type stage struct {
	series sample.Series // that comes out
	reach  time.Duration

	// apply may change the rows it is given. Nil: they stay as they are.
	apply func(rows []sample.Row, setAside func(rule string, values int)) []sample.Row
}

// Filter makes the rows of one series from those of another. It never changes, and is
// safe for concurrent use.
type Filter struct {
	series sample.Series
	reach  time.Duration
	stages []stage
}

// maxReach is how far before and after a day a feed can look.
const maxReach = 24 * time.Hour

// New returns the filter that applies the rules to rows of the series, one after the
// other. The error is an [ErrRule].
func New(in sample.Series, rules ...Rule) (*Filter, error) {
	if err := valid(in); err != nil {
		return nil, fmt.Errorf("%w: the series of the source: %w", ErrRule, err)
	}
	f := &Filter{series: in}
	for i, r := range rules {
		s, err := r.on(f.series)
		if err == nil {
			err = valid(s.series)
		}
		if err == nil && f.reach+s.reach > maxReach {
			err = fmt.Errorf("it and those before it reach over %v, which is more than a day", f.reach+s.reach)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: rule %d, %v: %w", ErrRule, i+1, r, err)
		}
		f.series, f.reach = s.series, f.reach+s.reach
		f.stages = append(f.stages, s)
	}
	return f, nil
}

// Series returns that of the rows that come out. The caller does not change its Elements.
func (f *Filter) Series() sample.Series { return f.series }

// Reach is how much time before and after a row the rows are that it is made from. Zero:
// from one row.
func (f *Filter) Reach() time.Duration { return f.reach }

// Apply makes rows from those of the source, which are in the order of their times, each
// once, and are neither kept nor changed. It tells by which rule how many values were
// set aside.
func (f *Filter) Apply(rows []sample.Row, setAside func(rule string, values int)) []sample.Row {
	rows = slices.Clone(rows)
	for _, s := range f.stages {
		if s.apply != nil {
			rows = s.apply(rows, setAside)
		}
	}
	return rows
}

// valid returns why rows cannot be of a series.
func valid(s sample.Series) error {
	if len(s.Elements) > sample.MaxElements {
		return fmt.Errorf("there are %d elements, and at most %d can be", len(s.Elements), sample.MaxElements)
	}
	for i, e := range s.Elements {
		if e.Decimals < 0 || e.Decimals > 9 {
			return fmt.Errorf("%s has %d decimals; there may be 0 to 9", e.Name, e.Decimals)
		}
		if e.Name != "" && slices.ContainsFunc(s.Elements[:i], func(o sample.Element) bool { return o.Name == e.Name }) {
			return fmt.Errorf("there are two elements %s", e.Name)
		}
	}
	return nil
}

// find returns which element of a series has a name, and one of these units if there are any.
func find(s sample.Series, name string, units ...string) (int, error) {
	i := slices.IndexFunc(s.Elements, func(e sample.Element) bool { return e.Name == name })
	if i < 0 || name == "" {
		var names []string
		for _, e := range s.Elements {
			names = append(names, e.Name)
		}
		return 0, fmt.Errorf("there is no element %q, but %q", name, names)
	}
	if unit := s.Elements[i].Unit; len(units) > 0 && !slices.Contains(units, unit) {
		return 0, fmt.Errorf("%s is in %q, and has to be in %s", name, unit, strings.Join(units, " or "))
	}
	return i, nil
}

// counts returns a quantity in the last decimal of an element.
func counts(x float64, e sample.Element) (int64, error) {
	n := math.Round(x * float64(power10(e.Decimals)))
	if !(math.Abs(n) <= math.MaxInt32) { // nor NaN
		return 0, fmt.Errorf("%v is too much for %s, which has %d decimals", x, e.Name, e.Decimals)
	}
	return int64(n), nil
}

func power10(decimals int) int64 {
	n := int64(1)
	for range decimals {
		n *= 10
	}
	return n
}
