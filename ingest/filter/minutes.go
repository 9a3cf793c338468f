package filter

import (
	"fmt"
	"math"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Minutes makes minutes of rows of 1 or 5 seconds, by the Gaussian of INTERMAGNET's
// Technical Reference Manual. A minute is made of the rows up to 45 seconds before and
// after hh:mm:00, which it is stamped with, each element by itself. Where samples are
// not there, those that are stand for all, as long as they have 90 % of the weight; with
// less it is missing. Samples that are not at a whole 1 or 5 seconds are left out.
//
// A minute is made when there is a row at hh:mm:45 or later, and one of its samples. So
// the last minute before a pause is made when the pause is over, and not at all if that
// is more than 45 seconds into another day.
type Minutes struct{}

func (Minutes) String() string { return "minutes" }

const (
	half   = 45_000 // milliseconds of samples on each side of a minute
	minute = 60_000
)

func (Minutes) on(in sample.Series) (stage, error) {
	if in.Cadence != time.Second && in.Cadence != 5*time.Second {
		return stage{}, fmt.Errorf("there is a row every %v, and has to be every 1s or 5s", in.Cadence)
	}
	out := in
	out.Cadence = time.Minute
	g := gaussian{elements: len(in.Elements), step: in.Cadence.Milliseconds()}
	for t := int64(-half); t <= half; t += g.step {
		w := weight(t / 1000)
		g.taps = append(g.taps, w)
		g.all += w
	}
	return stage{series: out, reach: half * time.Millisecond, apply: g.minutes}, nil
}

// The manual's tables are exp(-decay t²), t in seconds, that passes half the power at a
// period of two minutes, the shortest that minutes can tell: its standard deviation is
// 15.9006 s.
const (
	decay = 2 * math.Pi * math.Pi / (120 * 120 * math.Ln2)
	// exp(-decay) by its series, of which the next term is below 1e-19
	ratio = 1 - decay*(1-decay/2*(1-decay/3*(1-decay/4*(1-decay/5))))
)

// weight is that of a sample t seconds away, a whole number, so that sums are exact: 91
// of them have 32 bits together, and 63 with a value.
func weight(t int64) int64 {
	w := float64(1 << 26)
	for range t * t {
		w *= ratio
	}
	return int64(math.Round(w))
}

type gaussian struct {
	elements int
	step     int64 // milliseconds between taps
	taps     []int64
	all      int64 // the sum of taps
}

func (g *gaussian) minutes(rows []sample.Row, _ func(string, int)) []sample.Row {
	if len(rows) == 0 {
		return nil
	}
	last := rows[len(rows)-1].Time
	made := make([]sample.Row, 0, len(rows)*int(g.step)/minute+2)
	for next := int64(math.MinInt64); len(rows) > 0; next += minute {
		next = max(next, minute*floor(rows[0].Time-half+minute-1, minute))
		if last < next+half {
			break
		}
		if row, ok := g.at(next, rows); ok {
			made = append(made, row)
		}
		for len(rows) > 0 && rows[0].Time < next+minute-half {
			rows = rows[1:]
		}
	}
	return made
}

// at makes the minute at t of the first rows; false if none of them is of it.
func (g *gaussian) at(t int64, rows []sample.Row) (made sample.Row, ok bool) {
	var sum, weight [sample.MaxElements]int64
	made = sample.RowAt(t)
	for i := range rows {
		since := rows[i].Time - (t - half)
		if since > 2*half {
			break
		}
		if since%g.step != 0 {
			continue
		}
		ok = true
		tap := g.taps[since/g.step]
		for e, v := range rows[i].Values[:g.elements] {
			switch {
			case v.Measured():
				sum[e] += tap * int64(v)
				weight[e] += tap
			case v == sample.Missing:
				made.Values[e] = sample.Missing
			}
		}
	}
	for e := range g.elements {
		switch {
		case 10*weight[e] >= 9*g.all:
			made.Values[e] = quotient(sum[e], weight[e])
		case weight[e] > 0:
			made.Values[e] = sample.Missing
		}
	}
	return made, ok
}

// quotient rounds half away from zero. It lies between the values that it is of.
func quotient(sum, weight int64) sample.Value {
	q, r := sum/weight, sum%weight
	switch {
	case 2*r >= weight:
		q++
	case -2*r >= weight:
		q--
	}
	return sample.Value(q)
}

// floor is the integer quotient, rounded down.
func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
