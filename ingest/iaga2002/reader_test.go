package iaga2002_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// Missing, not observed and measured values are kept apart.
func TestReader_KeepsMissingAndNotObservedApart(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/minutes_with_missing_and_not_observed.min")
	require.NoError(t, err)
	defer file.Close()
	r := iaga2002.NewReader(file, &sample.Options{Name: "tst202412312357pmin.min"})
	h, err := r.Header()
	require.NoError(t, err)
	want := header()
	want.Comments = []string{"Start Time 23:57:00", "Duration-in-seconds 180", "  indented, as the one before it"}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	nT := func(name string) sample.Element { return sample.Element{Name: name, Unit: "nT", Decimals: 2} }
	require.Equal(t, sample.Series{
		Station: "TST", Elements: []sample.Element{nT("X"), nT("Y"), nT("Z"), nT("F")},
		Cadence: time.Minute, Level: sample.Provisional,
	}, r.Series())
	rows, err := sampletest.ReadAll(r)
	require.NoError(t, err)
	const start = "2024-12-31T23:57:00Z"
	missing := int(sample.Missing)
	if diff := cmp.Diff([]sample.Row{
		row(start, 0, 3950010, -25025, 1730050, 4312270),
		row(start, 60_000, missing, missing, missing, int(sample.NotObserved)),
		row(start, 120_000, -1, 0, -9999999, 8888799),
	}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// D and I count hundredths of a minute of arc, relative to the DECBAS of a comment.
func TestReader_GivesTheBaselineOfDeclination(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/seconds_declination_and_publication_date.sec")
	require.NoError(t, err)
	defer file.Close()
	r := iaga2002.NewReader(file, nil)
	h, err := r.Header()
	require.NoError(t, err)
	tenths, ok := h.DecBas()
	require.True(t, ok)
	require.Equal(t, 5527, tenths)
	require.Equal(t, sample.Element{Name: "D", Unit: "arcmin", Decimals: 2}, r.Series().Elements[1])
}

// A torn last row is no fault while the file grows, and no row.
func TestReader_LeavesATornRowForLater(t *testing.T) {
	t.Parallel()
	whole := strings.LastIndex(minutes[:len(minutes)-1], "\n") + 1 // where the last row begins
	for n := whole; n < len(minutes); n++ {
		p := iaga2002.NewParser("")
		r := sample.NewReader(strings.NewReader(minutes[:n]), p, &sample.Options{Growing: true})
		rows, err := sampletest.ReadAll(r)
		require.NoError(t, err)
		require.Len(t, rows, 4)
		require.Equal(t, sample.Position{Lines: 18, Offset: int64(whole)}, r.Position())
		require.EqualValues(t, n-whole, r.Torn())

		// Later the file is whole, and is read from where its whole lines ended.
		opts := &sample.Options{Growing: true, Start: r.Position()}
		r.Reset(strings.NewReader(minutes[whole:]), p, opts)
		rows, err = sampletest.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, []sample.Row{row("2024-12-31T23:02:00Z", 0, 3950050, -25025, 1730050, 4312270)}, rows)
	}
}

// No part of a torn row is ever a value, neither when the file is finished nor
// when the rows go on behind it.
func TestReader_TakesNoPartOfATornRowForAValue(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter(minutes, "\n")
	head, torn, next := strings.Join(lines[:15], ""), lines[15], lines[16]
	intact, err := sampletest.ReadAll(iaga2002.NewReader(strings.NewReader(head+next), &sample.Options{Mode: sample.Lenient}))
	require.NoError(t, err)
	require.Len(t, intact, 2)
	for n := range 70 {
		for _, behind := range []string{"", "\n", "\n" + next, "\r\n" + next, next} {
			want := intact[:1]
			if strings.Contains(behind, "\n2024") || n == 0 && behind == next {
				want = intact
			}
			rows, err := sampletest.ReadAll(iaga2002.NewReader(strings.NewReader(head+torn[:n]+behind), &sample.Options{Mode: sample.Lenient}))
			require.NoError(t, err)
			require.Equal(t, want, rows, "%d characters, then %q", n, behind)
		}
	}
}

// Ten states of a growing file, read as they are, give the rows that are whole.
func TestReader_ReadsARealFileThatGrows(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(sampletest.RealFiles(t), "derived", "growth-bou20141102")
	for name, want := range map[string]struct{ rows, torn int }{
		"01_0600.min": {360, 0}, "02_0605.min": {365, 0}, "03_0605_torn.min": {365, 33}, "04_0610.min": {370, 0},
		"05_0625_gap.min": {375, 0}, "06_0625_backfilled.min": {385, 0}, "07_0630_corrected.min": {390, 0},
		"08_0630_unchanged.min": {390, 0}, "09_truncated.min": {200, 0}, "10_restored.min": {395, 0},
	} {
		file, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		faults := 0
		r := iaga2002.NewReader(bytes.NewReader(file), &sample.Options{
			Mode: sample.Lenient, Growing: true, Report: func(*sample.Fault) { faults++ },
		})
		rows, err := sampletest.ReadAll(r)
		require.NoError(t, err)
		require.Len(t, rows, want.rows, name)
		require.EqualValues(t, want.torn, r.Torn(), name)
		require.EqualValues(t, len(file)-want.torn, r.Position().Offset, name)
		require.Equal(t, strings.Contains(name, "gap"), faults == 1, name)
	}
}

// A header names the file it stands in.
func TestHeader_NamesItsFile(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 12, 31, 23, 55, 7, 0, time.UTC)
	for _, tt := range []struct {
		interval, kind string
		fragment       bool
		want           string
	}{
		{"1-minute (00:30-01:29)", "variation", false, "tst20241231vmin.min"},
		{"filtered 1-minute (00:15-01:45)", "provisional", true, "tst202412312355pmin.min"},
		{"Average 1-Second", "quasi-definitive", false, "tst20241231qsec.sec"},
		{"1-second (501-1500)", "definitive", true, "tst20241231235507dsec.sec"},
		{"1-hour (00-59)", "definitive", false, "tst202412dhor.hor"},
		{"1-day", "definitive", false, "tst2024dday.day"},
		{"1-month", "definitive", false, "tst2024dmon.mon"},
	} {
		h := header()
		h.Interval, h.Type = tt.interval, tt.kind
		require.Equal(t, tt.want, h.Name(at.In(time.FixedZone("", 3600)), tt.fragment).String())
	}
}

// ParseName(n.String()) returns n for every name of the format.
func TestParseName_RoundTrips(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 12, 31, 23, 55, 7, 0, time.UTC)
	for span, start := range map[iaga2002.Span]time.Time{
		iaga2002.YearSpan: at.AddDate(0, -11, -30).Truncate(24 * time.Hour), iaga2002.MonthSpan: at.AddDate(0, 0, -30).Truncate(24 * time.Hour),
		iaga2002.DaySpan: at.Truncate(24 * time.Hour), iaga2002.MinuteSpan: at.Truncate(time.Minute), iaga2002.SecondSpan: at,
	} {
		for every := iaga2002.Second; every <= iaga2002.Month; every++ {
			for _, kind := range []byte("vpqdart") {
				for _, code := range []string{"TST", "TSTX"} {
					want := iaga2002.Name{Code: code, Start: start, Span: span, Type: kind, Every: every}
					got, err := iaga2002.ParseName(want.String())
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
			}
		}
	}
}

// What is parsed again from what a name says is the same name.
func FuzzParseName_RoundTrips(f *testing.F) {
	for _, s := range []string{"tst20241231vmin.min", "CLF200306121320VMIN.MIN", "tst2024dmon.mon", "x", "tst", "tstx2024", "tst20241231vmin.sec", "\xfftst"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := iaga2002.ParseName(s)
		if err != nil {
			var fault *sample.Fault
			require.True(t, errors.As(err, &fault))
			return
		}
		require.Equal(t, strings.ToLower(s), n.String())
		again, err := iaga2002.ParseName(n.String())
		require.NoError(t, err)
		require.Equal(t, n, again)
	})
}

// Reading a row allocates nothing, neither of a file of seconds nor of one of
// minutes, nor when the columns are shifted.
func TestReader_AllocatesNothingForARow(t *testing.T) {
	shifted := strings.ReplaceAll(minutes, "  -250.25 ", "   -250.25")
	for name, file := range map[string][]byte{
		"seconds": secondsOfADay(t), "minutes": []byte(minutes), "shifted": []byte(shifted),
	} {
		src := bytes.NewReader(file)
		r := sample.NewReader(src, nil, nil)
		read := func(file []byte) float64 {
			return testing.AllocsPerRun(5, func() {
				src.Reset(file)
				r.Reset(src, iaga2002.NewParser(""), &sample.Options{Mode: sample.Lenient})
				for {
					if _, err := r.Read(); err == io.EOF {
						return
					}
				}
			})
		}
		titles := bytes.Index(file, []byte("\n20")) + 1
		require.InDelta(t, read(file[:titles]), read(file), 0, name)
	}
}

// A header is kept in bounded memory.
func TestReader_KeepsAHeaderInBoundedMemory(t *testing.T) {
	t.Parallel()
	head := minutes[:strings.Index(minutes, " # ")]
	r := iaga2002.NewReader(io.MultiReader(strings.NewReader(head), &comments{lines: 100_000}), &sample.Options{Mode: sample.Lenient})
	_, err := sampletest.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, 100_012, r.Position().Lines)
	h, err := r.Header()
	require.NoError(t, err)
	require.Len(t, h.Comments, 1000)
}

// comments delivers comments.
type comments struct{ lines int }

func (c *comments) Read(b []byte) (int, error) {
	if c.lines == 0 {
		return 0, io.EOF
	}
	c.lines--
	return copy(b, " # "+strings.Repeat("x", 66)+"|\n"), nil
}
