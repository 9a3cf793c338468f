package filter

import (
	"cmp"
	"fmt"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Range sets aside the values of an element that are less than Min or greater than Max,
// in its unit. They are then missing.
type Range struct {
	Element  string
	Min, Max float64
}

func (r Range) String() string { return "range of " + r.Element }

func (r Range) on(in sample.Series) (stage, error) {
	e, err := find(in, r.Element)
	if err != nil {
		return stage{}, err
	}
	least, err := counts(r.Min, in.Elements[e])
	most, err2 := counts(r.Max, in.Elements[e])
	if err := cmp.Or(err, err2); err != nil {
		return stage{}, err
	}
	if least >= most {
		return stage{}, fmt.Errorf("no value is from %v to %v", r.Min, r.Max)
	}
	return stage{series: in, apply: each(r, e, func(_ int64, v sample.Value) bool {
		return least <= int64(v) && int64(v) <= most
	})}, nil
}

// Step sets aside the values of an element that differ by more than Max, in its unit,
// from the last one that was not, if that is less than Within before. They are then
// missing.
//
// So a step that is real costs the values of at most Within: after that nothing is left
// to compare with, and the next value is taken. Time is divided into stretches of Within,
// counted from 1970, and a value is judged as if the first one of the stretch before its
// own were known to be good. So it does not matter where reading begins, and what was
// wrong there is forgotten.
type Step struct {
	Element string
	Max     float64
	Within  time.Duration // from a millisecond to 12 hours
}

func (r Step) String() string { return "step of " + r.Element }

func (r Step) on(in sample.Series) (stage, error) {
	e, err := find(in, r.Element)
	if err != nil {
		return stage{}, err
	}
	most, err := counts(r.Max, in.Elements[e])
	if err != nil {
		return stage{}, err
	}
	if most <= 0 || r.Within < time.Millisecond || r.Within > maxReach/2 {
		return stage{}, fmt.Errorf("steps of more than %v within %v cannot be told", r.Max, r.Within)
	}
	within := r.Within.Milliseconds()
	return stage{series: in, reach: 2 * r.Within, apply: func(rows []sample.Row, setAside func(string, int)) []sample.Row {
		var stretch int64
		var since, own level // what was taken since the stretch before began, and since this one did
		return each(r, e, func(t int64, v sample.Value) bool {
			switch now := floor(t, within); {
			case now == stretch+1:
				stretch, since, own = now, own, level{}
			case now != stretch:
				stretch, since, own = now, level{}, level{}
			}
			own.takes(t, v, most, within)
			return since.takes(t, v, most, within)
		})(rows, setAside)
	}}, nil
}

// level is the last value that was taken.
type level struct {
	known bool
	time  int64
	value sample.Value
}

func (l *level) takes(t int64, v sample.Value, most, within int64) bool {
	if step := int64(v) - int64(l.value); l.known && t-l.time < within && (step > most || -step > most) {
		return false
	}
	*l = level{true, t, v}
	return true
}

// each sets aside the values of an element that are not good, as it is told of them in
// the order of their times.
func each(r Rule, element int, good func(t int64, v sample.Value) bool) func([]sample.Row, func(string, int)) []sample.Row {
	return func(rows []sample.Row, setAside func(rule string, values int)) []sample.Row {
		n := 0
		for i := range rows {
			if v := &rows[i].Values[element]; v.Measured() && !good(rows[i].Time, *v) {
				*v = sample.Missing
				n++
			}
		}
		if n > 0 {
			setAside(r.String(), n)
		}
		return rows
	}
}
