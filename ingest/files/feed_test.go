package files_test

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/files"
	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/storetest"
)

func header(reported, interval, kind string) *iaga2002.Header {
	return &iaga2002.Header{
		Source: "Example Institute", Station: "Testville", Code: "TST", Latitude: "17.290", Longitude: "78.920", Elevation: "327",
		Reported: reported, Orientation: "HDZF", Sampling: "1 second", Interval: interval, Type: kind,
	}
}

// observatory writes a second of HDZF in a file for each day, and delivers minutes of XYZF.
type observatory struct {
	now    time.Time
	fs     fstest.MapFS
	rows   []sample.Row
	filter *filter.Filter
	stream *ingest.Stream
	dir    string
}

func newObservatory(t *testing.T) *observatory {
	t.Helper()
	nT := func(name string) sample.Element { return sample.Element{Name: name, Unit: "nT", Decimals: 2} }
	source := sample.Series{
		Station: "TST", Cadence: time.Second, Level: sample.Variation,
		Elements: []sample.Element{nT("H"), {Name: "D", Unit: "arcmin", Decimals: 2}, nT("Z"), nT("F")},
	}
	f, err := filter.New(source, filter.HDZ{DECBAS: -553}, filter.Minutes{})
	require.NoError(t, err)
	o := &observatory{fs: fstest.MapFS{}, filter: f, dir: t.TempDir()}
	series := f.Series()
	series.Level = sample.Provisional
	o.stream = &ingest.Stream{
		Name: "minutes", Series: series, Filter: f,
		Source: ingest.Source{
			FS: o.fs, File: julian.MustParsePattern("tst%Y%m%dvsec.sec").Format, Series: source,
			Parser: func(name string) sample.Parser { return iaga2002.NewParser(name) },
		},
		Format: header("XYZF", "1-minute (00:30-01:29)", "provisional").Fragment,
		Cut:    ingest.Cut{Every: 5 * time.Minute, Least: 2},
	}
	return o
}

// measure goes on to a time, and writes the files.
func (o *observatory) measure(t *testing.T, from, to time.Time) {
	t.Helper()
	for at := from; at.Before(to); at = at.Add(time.Second) {
		row := sample.RowAt(at.UnixMilli())
		n := sample.Value(at.Unix() % 1000)
		copy(row.Values[:], []sample.Value{39_500_00 + n, -250 + n/10, 17_300_50 - n, 43_122_70 + n})
		o.rows = append(o.rows, row)
	}
	o.now = to
	o.write(t)
}

func (o *observatory) write(t *testing.T) {
	t.Helper()
	days := map[julian.Date][]sample.Row{}
	for _, row := range o.rows {
		days[julian.DateOf(row.UTC())] = append(days[julian.DateOf(row.UTC())], row)
	}
	for day, rows := range days {
		_, data, err := header("HDZF", "1-second", "variation").Fragment(sample.Series{}, rows)
		require.NoError(t, err)
		o.fs[o.stream.Source.File(day)] = &fstest.MapFile{Data: data, ModTime: o.now}
	}
}

// sweep opens a feed to a store, as a new process does, and sweeps once.
func (o *observatory) sweep(t *testing.T, store transfer.Store) {
	t.Helper()
	feed, err := ingest.Open(ingest.Config{
		Dir: o.dir, Streams: []*ingest.Stream{o.stream}, Sink: &files.Sink{Store: store}, Now: func() time.Time { return o.now },
	})
	require.NoError(t, err)
	require.NoError(t, feed.Sweep(t.Context()))
	require.NoError(t, feed.Close())
}

// delivered are the rows with values of all files, those of later files over those of earlier ones.
func delivered(t *testing.T, store *storetest.Mem, order []string) []sample.Row {
	t.Helper()
	at := map[int64]sample.Row{}
	for _, name := range order {
		rows, err := sampletest.ReadAll(iaga2002.NewReader(bytes.NewReader(store.Data(name)), &sample.Options{Name: path.Base(name)}))
		require.NoError(t, err, name)
		for _, row := range rows {
			at[row.Time] = row
		}
	}
	var rows []sample.Row
	for _, row := range at {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b sample.Row) int { return int(a.Time - b.Time) })
	return measured(rows)
}

func measured(rows []sample.Row) []sample.Row {
	return slices.DeleteFunc(rows, func(r sample.Row) bool { return !r.Values[0].Measured() })
}

// What an observatory measures over midnight, and corrects, arrives as minutes: those
// that a filter makes of all of it.
func TestFeed_DeliversMinutesAsFiles(t *testing.T) {
	t.Parallel()
	o, store := newObservatory(t), &storetest.Mem{}
	var order []string
	store.Fault = func(op, name string) error {
		if op == "commit" {
			order = append(order, name)
		}
		return nil
	}
	for at := start; at.Before(start.Add(30 * time.Minute)); at = at.Add(3 * time.Minute) {
		o.measure(t, at, at.Add(3*time.Minute))
		o.sweep(t, store)
	}
	o.rows[600].Values[0] += 100_00
	o.now = o.now.Add(10 * time.Minute)
	o.write(t)
	o.sweep(t, store)

	want := measured(o.filter.Apply(o.rows, nil))
	require.Len(t, want, 29)
	require.Empty(t, cmp.Diff(want, delivered(t, store, order)))
	require.Equal(t, "TST/2026-268/tst202609252358pmin.min", order[0])
	require.True(t, slices.ContainsFunc(order, func(name string) bool { return strings.HasPrefix(name, "TST/2026-269/") }))
	require.Less(t, len(order), 12)
}

// A feed takes up after a fault at any step, and each file is written once.
func TestFeed_TakesUpAfterAFaultAtAnyStep(t *testing.T) {
	t.Parallel()
	lastRun := false
	for n := 1; !lastRun; n++ {
		for _, after := range []bool{false, true} { // the fault
			o, store := newObservatory(t), &storetest.Mem{}
			steps, order := 0, []string(nil)
			var late *applied
			store.Fault = func(op, name string) error {
				steps++
				if op == "commit" {
					order = append(order, name)
				}
				switch {
				case steps != n:
				case after && op == "commit":
					late.err = transfer.ErrLost
				case !after:
					if op == "commit" {
						order = order[:len(order)-1]
					}
					return transfer.ErrLost
				}
				return nil
			}
			late = &applied{store, nil}
			for i := range 3 {
				at := start.Add(time.Duration(i) * 8 * time.Minute)
				o.measure(t, at, at.Add(8*time.Minute))
				o.sweep(t, late)
			}
			lastRun = steps < n
			what := fmt.Sprintf("step %d, after it: %v", n, after)
			want := measured(o.filter.Apply(o.rows, nil))
			got := delivered(t, store, order)
			require.Empty(t, cmp.Diff(want[:len(got)], got), what)
			require.GreaterOrEqual(t, len(got), len(want)-8, what) // the newest may wait for the next sweep
			slices.Sort(order)
			require.Len(t, slices.Compact(slices.Clone(order)), len(order), "%s: written twice", what)
		}
	}
}
