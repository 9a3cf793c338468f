package filter_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/sample"
)

var _ ingest.Filter = (*filter.Filter)(nil)

// hdzf is what a variometer and a scalar magnetometer measure.
var hdzf = sample.Series{Station: "TST", Cadence: time.Second, Level: sample.Variation, Elements: []sample.Element{
	{Name: "H", Unit: "nT", Decimals: 2}, {Name: "D", Unit: "arcmin", Decimals: 2},
	{Name: "Z", Unit: "nT", Decimals: 2}, {Name: "F", Unit: "nT", Decimals: 2},
}}

// all are rules of every kind for hdzf.
var all = []filter.Rule{
	filter.Range{Element: "F", Min: 20_000, Max: 70_000},
	filter.Step{Element: "H", Max: 5, Within: 20 * time.Second},
	filter.HDZ{DECBAS: 5527, H0: 39_000, Z0: 12.5},
	filter.Minutes{},
	filter.Rename{Element: "F", To: "S"},
	filter.Choose{"X", "Y", "Z", "S"},
}

var midnight = time.Date(2026, 9, 25, 0, 0, 0, 0, time.UTC).UnixMilli()

// at is a row so many milliseconds after midnight, with these values.
func at(after int64, values ...sample.Value) sample.Row {
	row := sample.RowAt(midnight + after)
	copy(row.Values[:], values)
	return row
}

// seconds are rows of hdzf after midnight, with holes, spikes, and values that are
// missing or not observed.
func seconds(n int, r *rand.Rand) []sample.Row {
	var rows []sample.Row
	for i := range n {
		if r.IntN(50) == 0 {
			continue
		}
		row := at(int64(i)*1000, sample.Value(10_000+r.IntN(300)), sample.Value(-2000+r.IntN(500)), sample.Value(17_000_00+r.IntN(1000)), 43_000_00)
		switch r.IntN(20) {
		case 0:
			row.Values[r.IntN(4)] = sample.Missing
		case 1:
			row.Values[r.IntN(4)] = sample.NotObserved
		case 2:
			row.Values[r.IntN(4)] += sample.Value(r.IntN(100_000_00) - 50_000_00)
		}
		rows = append(rows, row)
	}
	return rows
}

func make1(t testing.TB, in sample.Series, rules ...filter.Rule) *filter.Filter {
	t.Helper()
	f, err := filter.New(in, rules...)
	require.NoError(t, err)
	return f
}

// apply applies rules, and also returns what was set aside.
func apply(t testing.TB, in sample.Series, rows []sample.Row, rules ...filter.Rule) ([]sample.Row, map[string]int) {
	t.Helper()
	aside := map[string]int{}
	return make1(t, in, rules...).Apply(rows, func(rule string, n int) { aside[rule] += n }), aside
}

func drop(string, int) {}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// The same rows make the same rows, on every machine; those given are not changed. The
// hash is that of the rows an amd64 has made.
func TestApply_OfTheSameRowsIsTheSame(t *testing.T) {
	t.Parallel()
	rows := seconds(7200, random(1))
	given := slices.Clone(rows)
	f := make1(t, hdzf, all...)
	want := f.Apply(rows, drop)
	require.Len(t, want, 120) // the second hour ends before 02:00:45
	var side sync.WaitGroup
	for range 4 {
		side.Go(func() {
			if got := f.Apply(rows, drop); !slices.Equal(want, got) {
				t.Error("other rows beside others")
			}
		})
	}
	side.Wait()
	require.True(t, slices.Equal(given, rows), "the rows given were changed")
	turned, _ := apply(t, hdzf, rows, all[2])
	sum := sha256.Sum256(fmt.Append(nil, want, turned))
	require.Equal(t, "0b2492fe9d80d95f", hex.EncodeToString(sum[:8]))
}

// A row is made from rows within Reach of it, and of no others.
func TestApply_LooksNoFurtherThanItsReach(t *testing.T) {
	t.Parallel()
	f := make1(t, hdzf, all...)
	require.Equal(t, 85*time.Second, f.Reach())
	reach := f.Reach().Milliseconds()
	rapid.Check(t, func(t *rapid.T) {
		rows := seconds(1800, random(rapid.Uint64().Draw(t, "seed")))
		from := midnight + 1000*rapid.Int64Range(0, 1800).Draw(t, "from")
		to := from + 1000*rapid.Int64Range(0, 900).Draw(t, "seconds")
		within := func(rows []sample.Row, reach int64) []sample.Row {
			return slices.DeleteFunc(slices.Clone(rows), func(r sample.Row) bool { return r.Time < from-reach || r.Time >= to+reach })
		}
		want := within(f.Apply(rows, drop), 0)
		got := within(f.Apply(within(rows, reach), drop), 0)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("a part makes other rows than the whole: %d, %d", len(want), len(got))
		}
	})
}

// A rule that does not fit the series is an error of New that names it.
func TestNew_RefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	with := func(change func(s *sample.Series)) sample.Series {
		s := hdzf
		s.Elements = slices.Clone(hdzf.Elements)
		change(&s)
		return s
	}
	hez := with(func(s *sample.Series) { s.Elements[1] = sample.Element{Name: "E", Unit: "nT", Decimals: 2} })
	for name, c := range map[string]struct {
		in   sample.Series
		rule filter.Rule
	}{
		"an element that is not there is chosen":           {hdzf, filter.Choose{"H", "X"}},
		"an element is chosen twice":                       {hdzf, filter.Choose{"H", "H"}},
		"nothing is chosen":                                {hdzf, filter.Choose{}},
		"an element that is not there is renamed":          {hdzf, filter.Rename{Element: "X", To: "Y"}},
		"an element gets the name of another":              {hdzf, filter.Rename{Element: "H", To: "D"}},
		"an element gets no name":                          {hdzf, filter.Rename{Element: "H"}},
		"a column without a title is renamed":              {with(func(s *sample.Series) { s.Elements[0].Name = "" }), filter.Rename{To: "H"}},
		"there is no D":                                    {hez, filter.HDZ{}},
		"there is no E":                                    {hdzf, filter.HEZ{}},
		"H is not in nT":                                   {with(func(s *sample.Series) { s.Elements[0].Unit = "V" }), filter.HDZ{}},
		"D is not an angle":                                {with(func(s *sample.Series) { s.Elements[1].Unit = "nT" }), filter.HDZ{}},
		"Z has a baseline and is not there":                {with(func(s *sample.Series) { s.Elements[2].Name = "V" }), filter.HDZ{Z0: 1}},
		"there is an X before":                             {with(func(s *sample.Series) { s.Elements[2].Name = "X" }), filter.HDZ{}},
		"a baseline is beyond all values":                  {hdzf, filter.HDZ{H0: 1e9}},
		"a baseline is no number":                          {hez, filter.HEZ{E0: nan()}},
		"DECBAS is more than a turn":                       {hdzf, filter.HDZ{DECBAS: 216_001}},
		"D0 is more than a turn":                           {hez, filter.HEZ{D0: -21_601}},
		"D0 is no number":                                  {hez, filter.HEZ{D0: nan()}},
		"H and E have not the same decimals":               {with(func(s *sample.Series) { s.Elements[1] = sample.Element{Name: "E", Unit: "nT", Decimals: 1} }), filter.HEZ{}},
		"there is a row every minute":                      {with(func(s *sample.Series) { s.Cadence = time.Minute }), filter.Minutes{}},
		"it is not known how far apart the rows are":       {with(func(s *sample.Series) { s.Cadence = 0 }), filter.Minutes{}},
		"a range is of an element that is not there":       {hdzf, filter.Range{Element: "X", Max: 1}},
		"a range has nothing in it":                        {hdzf, filter.Range{Element: "F"}},
		"a range ends beyond all values":                   {hdzf, filter.Range{Element: "F", Max: 1e9}},
		"a step is of an element that is not there":        {hdzf, filter.Step{Element: "X", Max: 1, Within: time.Minute}},
		"a step of nothing is too much":                    {hdzf, filter.Step{Element: "F", Within: time.Minute}},
		"a step within no time":                            {hdzf, filter.Step{Element: "F", Max: 1}},
		"a step within more than a feed looks at":          {hdzf, filter.Step{Element: "F", Max: 1, Within: 1 << 62}},
		"an element has more decimals than a value digits": {with(func(s *sample.Series) { s.Elements[3].Decimals = 10 }), filter.Choose{"H"}},
	} {
		_, err := filter.New(c.in, c.rule)
		require.ErrorIs(t, err, filter.ErrRule, name)
		require.NotContains(t, err.Error(), "\n", name)
	}
	day := filter.Step{Element: "F", Max: 1, Within: 12 * time.Hour}
	make1(t, hdzf, day)
	_, err := filter.New(hdzf, day, filter.Minutes{})
	require.ErrorIs(t, err, filter.ErrRule)
	require.ErrorContains(t, err, "rule 2, minutes")
	_, err = filter.New(sample.Series{Elements: make([]sample.Element, 9)})
	require.ErrorIs(t, err, filter.ErrRule)
}

// Elements are left, ordered and named as the rules say, and so is the series.
func TestChoose_OrdersAndRenameNames(t *testing.T) {
	t.Parallel()
	f := make1(t, hdzf, filter.Choose{"F", "H"}, filter.Rename{Element: "F", To: "S"})
	require.Zero(t, f.Reach())
	want := hdzf
	want.Elements = []sample.Element{{Name: "S", Unit: "nT", Decimals: 2}, hdzf.Elements[0]}
	require.Empty(t, cmp.Diff(want, f.Series()))
	make1(t, hdzf, filter.Rename{Element: "F", To: "S"})
	require.Equal(t, "F", hdzf.Elements[3].Name, "the series of the source was changed")
	got := f.Apply([]sample.Row{at(0, 1, 2, 3, 4), at(1000, sample.Missing, 6, 7, sample.NotObserved)}, drop)
	require.Empty(t, cmp.Diff([]sample.Row{at(0, 4, 1), at(1000, sample.NotObserved, sample.Missing)}, got))
}
