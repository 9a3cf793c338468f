package filter_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/sample"
)

const gone = sample.Missing

// minutes are rows of one value a minute after midnight, from a minute on.
func minutes(from int, values ...sample.Value) []sample.Row {
	var rows []sample.Row
	for i, v := range values {
		rows = append(rows, at(int64(from+i)*60_000, v))
	}
	return rows
}

// A value is set aside if it is out of its range, and is counted under its rule.
func TestRange_SetsAsideWhatCannotBe(t *testing.T) {
	t.Parallel()
	got, aside := apply(t, one(time.Minute), minutes(0, 999, 1000, gone, sample.NotObserved, 2000, 2001, -2_000_000_000),
		filter.Range{Element: "X", Min: 10, Max: 20})
	require.Empty(t, cmp.Diff(minutes(0, gone, 1000, gone, sample.NotObserved, 2000, gone, gone), got))
	require.Equal(t, map[string]int{"range of X": 3}, aside)
	_, aside = apply(t, one(time.Minute), minutes(0, 1000), filter.Range{Element: "X", Min: 10, Max: 20})
	require.Empty(t, aside)
}

// A value is set aside if it is a step from the last one that was not, and is counted
// under its rule. A step that is real is believed when it has lasted for Within. The
// stretches of five minutes begin at midnight.
func TestStep_SetsAsideWhatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ given, want []sample.Row }{
		"a value may change slowly": {minutes(0, 0, 100, 200, 300, 400), minutes(0, 0, 100, 200, 300, 400)},
		"a spike is set aside":      {minutes(0, 0, 0, 101, 0, -101, 0), minutes(0, 0, 0, gone, 0, gone, 0)},
		"so is a long one":          {minutes(0, 0, 0, 900, 950, 900, 0), minutes(0, 0, 0, gone, gone, gone, 0)},
		"a step is believed after five minutes": {
			minutes(0, 0, 0, 0, 900, 900, 900, 900, 900, 900), minutes(0, 0, 0, 0, gone, gone, gone, gone, 900, 900),
		},
		"what is missing does not count": {minutes(0, 0, gone, sample.NotObserved, 900, 0), minutes(0, 0, gone, sample.NotObserved, gone, 0)},
		"after a gap nothing is known":   {append(minutes(0, 0, 0), minutes(6, 900, 900)...), append(minutes(0, 0, 0), minutes(6, 900, 900)...)},
		"a short gap is bridged":         {append(minutes(0, 0, 0), minutes(4, 900, 0)...), append(minutes(0, 0, 0), minutes(4, gone, 0)...)},
		"a spike after a gap is forgotten with the next stretch but one": {
			minutes(1, 900, 0, 0, 0, 0, 0, 0, 0, 0, 0), minutes(1, 900, gone, gone, gone, gone, 0, 0, 0, 0, 0),
		},
	} {
		got, aside := apply(t, one(time.Minute), c.given, filter.Step{Element: "X", Max: 1, Within: 5 * time.Minute})
		require.Empty(t, cmp.Diff(c.want, got), name)
		n := 0
		for i := range c.want {
			if c.want[i] != c.given[i] {
				n++
			}
		}
		require.Equal(t, n, aside["step of X"], name)
	}
}

// A step does not depend on where reading begins, beyond its Reach: what was taken there
// as the first value is forgotten.
func TestStep_ForgetsWhereReadingBegan(t *testing.T) {
	t.Parallel()
	r := random(9)
	var rows []sample.Row
	for i := range 600 {
		v := sample.Value(r.IntN(50))
		if r.IntN(4) == 0 {
			v += 1000 // in every stretch there is one, and often the first
		}
		rows = append(rows, at(int64(i)*60_000, v))
	}
	f := make1(t, one(time.Minute), filter.Step{Element: "X", Max: 1, Within: 7 * time.Minute})
	require.Equal(t, 14*time.Minute, f.Reach())
	want := f.Apply(rows, drop)
	for n := range 500 {
		got := f.Apply(rows[n:], drop)
		require.True(t, slices.Equal(want[n+14:], got[14:]), "begun at row %d", n)
	}
}
