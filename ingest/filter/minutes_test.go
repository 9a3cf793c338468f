package filter_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/sample"
)

// one is a series of one element.
func one(cadence time.Duration) sample.Series {
	return sample.Series{Station: "TST", Cadence: cadence, Elements: []sample.Element{{Name: "X", Unit: "nT", Decimals: 2}}}
}

// around are samples from 45 s before 00:01 to 45 s after it, with which 00:00 is missing.
func around(cadence int, value func(t int) sample.Value) []sample.Row {
	var rows []sample.Row
	for t := -45; t <= 45; t += cadence {
		rows = append(rows, at(int64(60+t)*1000, value(t)))
	}
	return rows
}

// alone applies Minutes to rows of one minute and a half, and returns the whole one.
func alone(t require.TestingT, f *filter.Filter, rows []sample.Row) sample.Row {
	got := f.Apply(rows, drop)
	require.Len(t, got, 2)
	for e, v := range got[0].Values {
		require.False(t, v.Measured(), "element %d has a value of half a minute", e)
	}
	return got[1]
}

// taps are the weights of the samples, as far as a value can tell: those of an impulse.
func taps(t *testing.T, cadence int) map[int]float64 {
	t.Helper()
	const impulse = 2e9
	f := make1(t, one(time.Duration(cadence)*time.Second), filter.Minutes{})
	of := map[int]float64{}
	for at := -45; at <= 45; at += cadence {
		got := alone(t, f, around(cadence, func(t int) sample.Value {
			if t == at {
				return impulse
			}
			return 0
		}))
		of[at] = float64(got.Values[0]) / impulse
	}
	return of
}

// The weights are those of the tables of INTERMAGNET's Technical Reference Manual
// (appendix on filters): of the table for 5 seconds all, whose numbers are eight digits
// times five, of that for 1 second the first and the last as far as they are printed.
func TestMinutes_HaveTheWeightsOfTheManual(t *testing.T) {
	t.Parallel()
	manual := []float64{0.12578865, 0.11972085, 0.10321785, 0.08061140, 0.05702885, 0.03654680, 0.02121585, 0.01115655, 0.00531440, 0.00229315}
	of5, of1 := taps(t, 5), taps(t, 1)
	for i, want := range manual {
		for _, at := range []int{5 * i, -5 * i} {
			require.InDelta(t, want/5, of5[at]/5, 0.51e-8, at)
			require.InDelta(t, of5[at]/of5[0], of1[at]/of1[0], 1e-7, at)
		}
	}
	require.InDelta(t, 0.0251958, of1[0], 0.5e-7)
	require.InDelta(t, 0.000459, of1[45], 0.5e-6)
	require.InDelta(t, 0.000459, of1[-45], 0.5e-6)
}

// A minute is the weighted mean of its samples.
func TestMinutes_AreTheWeightedMean(t *testing.T) {
	t.Parallel()
	sigma := 120 * math.Sqrt(math.Ln2) / (2 * math.Pi)
	for _, cadence := range []int{1, 5} {
		f := make1(t, one(time.Duration(cadence)*time.Second), filter.Minutes{})
		rapid.Check(t, func(t *rapid.T) {
			var sum, weight float64
			rows := around(cadence, func(at int) sample.Value {
				v := rapid.Int32Range(3_000_000, 3_010_000).Draw(t, "value")
				w := math.Exp(-float64(at*at) / (2 * sigma * sigma))
				sum, weight = sum+w*float64(v), weight+w
				return sample.Value(v)
			})
			got := alone(t, f, rows)
			require.Equal(t, midnight+60_000, got.Time)
			require.InDelta(t, sum/weight, float64(got.Values[0]), 0.501)
		})
	}
}

// A constant passes through the Gaussian unchanged, whatever is missing, to the greatest
// and the least of values.
func TestMinutes_KeepAConstant(t *testing.T) {
	t.Parallel()
	f := make1(t, one(time.Second), filter.Minutes{})
	rapid.Check(t, func(t *rapid.T) {
		v := sample.Value(rapid.Int32Range(math.MinInt32+2, math.MaxInt32).Draw(t, "value"))
		rows := around(1, func(int) sample.Value { return v })
		for range rapid.IntRange(0, 3).Draw(t, "missing") {
			rows[rapid.IntRange(0, 90).Draw(t, "which")].Values[0] = sample.Missing
		}
		require.Empty(t, cmp.Diff(at(60_000, v), alone(t, f, rows)))
	})
}

// Means are rounded half away from zero.
func TestMinutes_RoundHalfAwayFromZero(t *testing.T) {
	t.Parallel()
	f := make1(t, one(time.Second), filter.Minutes{})
	for _, c := range [][3]sample.Value{{4, 5, 5}, {-4, -5, -5}, {0, 1, 1}, {0, -1, -1}, {4, 6, 5}} {
		rows := around(1, func(t int) sample.Value {
			if t < 0 {
				return c[0]
			}
			return c[1]
		})
		rows[45].Values[0] = sample.Missing // both sides have the same weight
		require.Equal(t, c[2], alone(t, f, rows).Values[0])
	}
}

// A minute has a value if the weight of its samples is 90 % of all or more, and none if
// it is less; what counts is the weight, not how many samples there are.
func TestMinutes_NeedNineTenthsOfTheWeight(t *testing.T) {
	t.Parallel()
	f := make1(t, one(time.Second), filter.Minutes{})
	of := taps(t, 1)
	for _, c := range []struct {
		first, last int // the samples that are not there
		measured    bool
	}{
		{0, 2, true}, {0, 3, false}, {1, 4, true}, {1, 5, false}, {-1, 1, true}, {-1, 2, false},
		{-45, -21, true}, {-45, -20, false}, {21, 44, true}, {20, 44, false},
	} {
		lost := 0.0
		for t := c.first; t <= c.last; t++ {
			lost += of[t]
		}
		require.Equal(t, c.measured, lost <= 0.1, "%d to %d weigh %.4f", c.first, c.last, lost)
		gone := func(r sample.Row) bool {
			t := int(r.Time-midnight)/1000 - 60
			return c.first <= t && t <= c.last
		}
		rows := around(1, func(int) sample.Value { return 500 })
		missing := slices.Clone(rows)
		for i := range missing {
			if gone(missing[i]) {
				missing[i].Values[0] = sample.Missing
			}
		}
		want := at(60_000, 500)
		if !c.measured {
			want.Values[0] = sample.Missing
		}
		require.Empty(t, cmp.Diff(want, last(f.Apply(missing, drop))), "missing from %d to %d", c.first, c.last)
		require.Empty(t, cmp.Diff(want, last(f.Apply(slices.DeleteFunc(rows, gone), drop))), "not there from %d to %d", c.first, c.last)
	}
}

// Each element has its own minutes; what is not observed stays so.
func TestMinutes_TakeEachElementByItself(t *testing.T) {
	t.Parallel()
	rows := around(1, func(int) sample.Value { return 1 })
	for i := range rows {
		rows[i].Values[1] = sample.Missing
		rows[i].Values[2] = sample.NotObserved
		rows[i].Values[3] = sample.NotObserved
		if i%2 == 0 {
			rows[i].Values[3] = 7
		}
	}
	got, _ := apply(t, hdzf, rows, filter.Minutes{})
	require.Empty(t, cmp.Diff(at(60_000, 1, sample.Missing, sample.NotObserved, sample.Missing), last(got)))
}

// A minute that was made of a growing file is not changed by later rows.
func TestMinutes_DoNotChangeAsTheFileGrows(t *testing.T) {
	t.Parallel()
	f := make1(t, hdzf, all...)
	rows := seconds(600, random(3))
	want := f.Apply(rows, drop)
	made := 0
	for n := range rows {
		got := f.Apply(rows[:n], drop)
		require.True(t, slices.Equal(want[:len(got)], got), "after %d rows", n)
		require.GreaterOrEqual(t, len(got), made)
		made = len(got)
	}
	require.Equal(t, len(want), made)
}

// A minute waits for its last sample, or for one after it, and is not made of rows that
// are not near it.
func TestMinutes_WaitForTheirLastSample(t *testing.T) {
	t.Parallel()
	rows := around(1, func(int) sample.Value { return 500 })
	half, whole := at(0, sample.Missing), at(60_000, 500)
	for name, c := range map[string]struct{ rows, want []sample.Row }{
		"the last one is there":           {rows, []sample.Row{half, whole}},
		"the last one is not there":       {rows[:90], []sample.Row{half}},
		"a later one is there":            {append(rows[:90:90], at(106_000, 500)), []sample.Row{half, whole}},
		"a much later one is there":       {append(rows[:90:90], at(7200_000, 500)), []sample.Row{half, whole, at(120_000, sample.Missing)}},
		"there is nothing":                {nil, nil},
		"not one is at a whole second":    {[]sample.Row{at(60_500, 500), at(106_500, 500)}, nil},
		"some are not at a whole second":  {slices.Insert(slices.Clone(rows), 50, at(64_500, 9999)), []sample.Row{half, whole}},
		"one is of another time entirely": {append([]sample.Row{sample.RowAt(-60_000)}, rows...), []sample.Row{sample.RowAt(-60_000), half, whole}},
	} {
		got, _ := apply(t, one(time.Second), c.rows, filter.Minutes{})
		require.True(t, slices.Equal(c.want, got), "%s: %v", name, got)
	}
	f := make1(t, one(time.Second), filter.Minutes{})
	require.Equal(t, 45*time.Second, f.Reach())
	require.Equal(t, time.Minute, f.Series().Cadence)
}

func last(rows []sample.Row) sample.Row { return rows[len(rows)-1] }
