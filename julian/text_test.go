package julian_test

import (
	"encoding"
	"encoding/json"
	"flag"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
)

var (
	_ encoding.TextAppender    = julian.Date{}
	_ encoding.TextMarshaler   = julian.Date{}
	_ encoding.TextUnmarshaler = (*julian.Date)(nil)
	_ flag.Value               = (*julian.Date)(nil)
)

// Parse accepts 2026-060 and 2026060 and no other spelling.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, text string
		want       julian.Date
		err        error
	}{
		{"with a hyphen", "2026-268", julian.Date{Year: 2026, Day: 268}, nil},
		{"without a hyphen", "2026268", julian.Date{Year: 2026, Day: 268}, nil},
		{"the first day of all", "0000-001", julian.Date{Year: 0, Day: 1}, nil},
		{"the last day of all", "9999-365", julian.Date{Year: 9999, Day: 365}, nil},
		{"day 366 in a leap year", "2024-366", julian.Date{Year: 2024, Day: 366}, nil},
		{"no day 366 in a common year", "2026-366", julian.Date{}, julian.ErrRange},
		{"no day 0", "2026-000", julian.Date{}, julian.ErrRange},
		{"no day 367", "2024-367", julian.Date{}, julian.ErrRange},
		{"not empty", "", julian.Date{}, julian.ErrSyntax},
		{"no short year", "26-268", julian.Date{}, julian.ErrSyntax},
		{"no year of three digits", "202-268", julian.Date{}, julian.ErrSyntax},
		{"no long year", "02026-268", julian.Date{}, julian.ErrSyntax},
		{"no year alone", "2026", julian.Date{}, julian.ErrSyntax},
		{"no year and hyphen alone", "2026-", julian.Date{}, julian.ErrSyntax},
		{"no short day", "2026-68", julian.Date{}, julian.ErrSyntax},
		{"no long day", "2026-0268", julian.Date{}, julian.ErrSyntax},
		{"no calendar date", "2026-09-25", julian.Date{}, julian.ErrSyntax},
		{"no sign", "-026-268", julian.Date{}, julian.ErrSyntax},
		{"no sign before the day", "2026+268", julian.Date{}, julian.ErrSyntax},
		{"no slash for a hyphen", "2026/268", julian.Date{}, julian.ErrSyntax},
		{"no second hyphen", "2026--68", julian.Date{}, julian.ErrSyntax},
		{"no space before", " 2026-268", julian.Date{}, julian.ErrSyntax},
		{"no space after", "2026-268 ", julian.Date{}, julian.ErrSyntax},
		{"no digits but ascii", "٢٠٢٦-268", julian.Date{}, julian.ErrSyntax},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got, err := julian.Parse(row.text)
			require.ErrorIs(t, err, row.err)
			require.Equal(t, row.want, got)
		})
	}
}

// A Date that is not valid has no text, so that none can be written that
// cannot be read again.
func TestMarshalText_RefusesADateThatIsNotValid(t *testing.T) {
	t.Parallel()
	for _, d := range []julian.Date{{}, {Year: 2026, Day: 366}, {Year: -1, Day: 1}, {Year: 10000, Day: 1}} {
		_, err := d.MarshalText()
		require.ErrorIs(t, err, julian.ErrRange)
		b, err := d.AppendText([]byte("day "))
		require.ErrorIs(t, err, julian.ErrRange)
		require.Equal(t, "day ", string(b))
	}
}

func TestDate_String(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		date julian.Date
		want string
	}{
		{"leading zeros are kept", julian.Date{Year: 7, Day: 6}, "0007-006"},
		{"the zero date shows that it is none", julian.Date{}, "0000-000"},
		{"a year before 0 has a sign", julian.Date{Year: -1, Day: 365}, "-0001-365"},
		{"a long year is not cut", julian.Date{Year: 10000, Day: 1}, "10000-001"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, row.date.String())
		})
	}
}

// What failed to parse leaves its target as it was.
func TestUnmarshalText_LeavesItsTargetOnError(t *testing.T) {
	t.Parallel()
	was := julian.Date{Year: 2026, Day: 268}
	d := was
	require.ErrorIs(t, d.UnmarshalText([]byte("2026-366")), julian.ErrRange)
	require.ErrorIs(t, d.Set("yesterday"), julian.ErrSyntax)
	require.Equal(t, was, d)

	pattern := julian.MustParsePattern("%Y/%j")
	p := pattern
	require.ErrorIs(t, p.UnmarshalText([]byte("%Y/%Q")), julian.ErrPattern)
	require.Equal(t, pattern, p)
}

// Dates and patterns go through JSON, also as keys.
func TestMarshalText_SurvivesJSON(t *testing.T) {
	t.Parallel()
	type config struct {
		Path julian.Pattern
		Last julian.Date
		None julian.Date `json:",omitzero"`
		Kept map[julian.Date]int
	}
	want := config{
		Path: julian.MustParsePattern("/data/%Y/%j"),
		Last: julian.Date{Year: 2026, Day: 268},
		Kept: map[julian.Date]int{{Year: 2024, Day: 366}: 7},
	}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	require.JSONEq(t, `{"Path": "/data/%Y/%j", "Last": "2026-268", "Kept": {"2024-366": 7}}`, string(text))
	var got config
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, want, got)
}

func TestSet_TakesTheValueOfAFlag(t *testing.T) {
	t.Parallel()
	day := julian.Date{Year: 2026, Day: 1}
	flags := flag.NewFlagSet("job", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Var(&day, "day", "the `day` to fetch")
	require.Error(t, flags.Parse([]string{"-day", "today"}))
	require.NoError(t, flags.Parse([]string{"-day", "2026268"}))
	require.Equal(t, julian.Date{Year: 2026, Day: 268}, day)
}

// Date.AppendText and Pattern.AppendFormat allocate nothing when the buffer is
// large enough.
func TestAppend_AllocatesNothing(t *testing.T) {
	d := julian.Date{Year: 2026, Day: 268}
	p := julian.MustParsePattern("/data/%%/%Y/%y/%j/%m/%d/%H")
	buf := make([]byte, 0, 64)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf, _ = d.AppendText(buf[:0]) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = p.AppendFormat(buf[:0], d) }))
}

// Parse(d.String()) returns d for every valid Date d.
func TestParse_ReturnsWhatStringWrote(t *testing.T) {
	t.Parallel()
	for d := range julian.Days(julian.Date{Year: 0, Day: 1}, julian.Date{Year: 9999, Day: 365}) {
		if got, err := julian.Parse(d.String()); err != nil || got != d {
			t.Fatalf("Parse(%q) = %v, %v", d.String(), got, err)
		}
	}
}

// What Parse accepts is a valid Date, and prints as the text but for the hyphen.
func FuzzParse_RoundTrips(f *testing.F) {
	for _, s := range []string{"2026-268", "2026268", "2024-366", "2026-366", "2026-000", "0000-001", "9999365", "2026-09-25", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := julian.Parse(s)
		if err != nil {
			require.Zero(t, d)
			return
		}
		require.True(t, d.IsValid())
		if len(s) == len("2026268") {
			s = s[:4] + "-" + s[4:]
		}
		require.Equal(t, s, d.String())
		text, err := d.MarshalText()
		require.NoError(t, err)
		require.Equal(t, s, string(text))
	})
}
