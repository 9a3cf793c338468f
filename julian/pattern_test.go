package julian_test

import (
	"encoding"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
)

var (
	_ encoding.TextMarshaler   = julian.Pattern{}
	_ encoding.TextUnmarshaler = (*julian.Pattern)(nil)
)

func TestParsePattern(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, text string
		err        error
	}{
		{"every verb", "%Y%y%j%m%d%H%%", nil},
		{"no verb", "/data/supim", nil},
		{"empty", "", nil},
		{"an unknown verb", "/data/%Q", julian.ErrPattern},
		{"an unknown verb that is no ascii letter", "/data/%é", julian.ErrPattern},
		{"a slash is no verb", "/data/%/%j", julian.ErrPattern},
		{"case matters", "/data/%J", julian.ErrPattern},
		{"no width", "/data/%3j", julian.ErrPattern},
		{"a percent sign at the end", "/data/%Y/%", julian.ErrPattern},
		{"a percent sign after an escaped one", "/data/%%%", julian.ErrPattern},
	} {
		t.Run(row.rule, func(t *testing.T) {
			p, err := julian.ParsePattern(row.text)
			require.ErrorIs(t, err, row.err)
			if err == nil {
				require.Equal(t, row.text, p.String())
			} else {
				require.Zero(t, p)
				require.Panics(t, func() { julian.MustParsePattern(row.text) })
			}
		})
	}
}

// The person who wrote a configuration is told what to change, and where.
func TestParsePattern_NamesTheVerbAndItsOffset(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"/data/%Y/%Q": {`"%Q"`, "offset 9"},
		"/dàta/%é":    {`"%é"`, "offset 7"},
		"%Y/%":        {"offset 3"},
	} {
		_, err := julian.ParsePattern(text)
		for _, part := range append(want, fmt.Sprintf("%q", text)) {
			require.ErrorContains(t, err, part)
		}
	}
}

func TestPattern_Format(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, pattern, date, want string }{
		{"year and day", "/data/supim/%Y/%j", "2026-268", "/data/supim/2026/268"},
		{"year of the century", "%y%j", "2007-006", "07006"},
		{"month and day", "%Y-%m-%d", "2026-268", "2026-09-25"},
		{"29 february", "%m%d", "2024-060", "0229"},
		{"the hour is 00", "%Y%j%H", "2026-268", "202626800"},
		{"a percent sign", "100%%/%Y%%%j", "2026-268", "100%/2026%268"},
		{"no verb", "latest", "2026-268", "latest"},
		{"what is not ascii is kept", "dados/módulo-%Y", "2026-268", "dados/módulo-2026"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			p := julian.MustParsePattern(row.pattern)
			require.Equal(t, row.want, p.Format(date(t, row.date)))
			require.Equal(t, ">"+row.want, string(p.AppendFormat([]byte(">"), date(t, row.date))))
		})
	}
}

func TestPattern_NamesDay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, pattern string
		want          bool
	}{
		{"year and day of the year", "%Y/%j", true},
		{"year of the century and day of the year", "%y%j", true},
		{"year, month and day", "%Y/%m/%d", true},
		{"in any order", "%d.%m.%y", true},
		{"not without a year", "%j/%m/%d", false},
		{"not without a day", "%Y/%m/%H", false},
		{"not without a month", "%Y/%d", false},
		{"an escaped verb is none", "%%Y/%j", false},
		{"not the empty pattern", "", false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, julian.MustParsePattern(row.pattern).NamesDay())
		})
	}
}

// A path that contradicts itself matches nothing, nor does one that fits only
// in part.
func TestPattern_Match(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, pattern, path, want string }{
		{"year and day", "/data/%Y/%j", "/data/2026/268", "2026-268"},
		{"month and day", "%Y%m%d", "20240229", "2024-060"},
		{"69 is 1969", "%y%j", "69001", "1969-001"},
		{"99 is 1999", "%y%j", "99001", "1999-001"},
		{"00 is 2000", "%y%j", "00366", "2000-366"},
		{"68 is 2068", "%y%j", "68001", "2068-001"},
		{"the full year has the century", "%Y/%y%j", "1926/26001", "1926-001"},
		{"the last hour", "%Y%j.%H", "2026268.23", "2026-268"},
		{"no hour 24", "%Y%j.%H", "2026268.24", ""},
		{"a percent sign", "%%%Y%%%j", "%2026%268", "2026-268"},
		{"a percent sign is not a digit", "%%%Y%j", "12026268", ""},
		{"verbs that agree", "%Y/%j/%y%m%d", "2026/268/260925", "2026-268"},
		{"day of the year against month", "%Y/%j/%m%d", "2026/268/0825", ""},
		{"day of the year against day", "%Y/%j/%m%d", "2026/268/0926", ""},
		{"day of the year against month alone", "%Y/%m/%j", "2026/08/268", ""},
		{"day of the year against day alone", "%Y/%d/%j", "2026/26/268", ""},
		{"year against year of the century", "%Y/%y%j", "2026/25268", ""},
		{"a verb against itself", "%Y/%j/%Y%j", "2026/268/2026267", ""},
		{"an hour against itself", "%Y%j%H/%H", "202626800/01", ""},
		{"a verb that agrees with itself", "%Y/%j/%Y%j", "2026/268/2026268", "2026-268"},
		{"no day 366 in a common year", "%Y/%j", "2026/366", ""},
		{"no day 0", "%Y/%j", "2026/000", ""},
		{"no 29 february in a common year", "%Y%m%d", "20260229", ""},
		{"no month 13", "%Y%m%d", "20261301", ""},
		{"no month 0", "%Y%m%d", "20260001", ""},
		{"no day of the month 0", "%Y%m%d", "20260100", ""},
		{"not a part of the path", "%Y/%j", "2026/268/out.nc", ""},
		{"not a path within", "%Y/%j", "/data/2026/268", ""},
		{"not with a slash at its end", "%Y/%j", "2026/268/", ""},
		{"not too few digits", "%Y/%j", "2026/68", ""},
		{"not too many digits", "%Y/%j", "2026/0268", ""},
		{"no sign for a digit", "%Y/%j", "2026/+68", ""},
		{"case matters", "SUPIM%Y%j", "supim2026268", ""},
		{"not the empty path", "%Y/%j", "", ""},
		{"a pattern that names no day", "%Y/%m", "2026/09", ""},
		{"the empty pattern", "", "", ""},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got, ok := julian.MustParsePattern(row.pattern).Match(row.path)
			require.Equal(t, row.want != "", ok)
			if ok {
				require.Equal(t, row.want, got.String())
			} else {
				require.Zero(t, got)
			}
		})
	}
}

// p.Match(p.Format(d)) returns d for every valid Date d and every Pattern p
// that names a day; where %y is its only verb for the year, for the years 1969
// through 2068.
func TestPattern_MatchUndoesFormat(t *testing.T) {
	t.Parallel()
	for text, years := range map[string][2]string{
		"/data/supim/%Y/%j":    {"1600-001", "2400-366"},
		"%Y/%m/%d":             {"1600-001", "2400-366"},
		"%Y/%y/%j-%m%d%%T%H":   {"0000-001", "9999-365"},
		"%y%j":                 {"1969-001", "2068-366"},
		"%H/%d.%m.%y/%%y%%/%j": {"1969-001", "2068-366"},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			p := julian.MustParsePattern(text)
			for d := range julian.Days(date(t, years[0]), date(t, years[1])) {
				if got, ok := p.Match(p.Format(d)); !ok || got != d {
					t.Fatalf("Match(%q) = %v, %v, want %v", p.Format(d), got, ok, d)
				}
			}
		})
	}
}

// MatchPrefix is true of the parents of matches and of no other path.
func TestMatchPrefix_IsTrueOfExactlyTheParents(t *testing.T) {
	t.Parallel()
	var (
		years  = []string{"1899", "1900", "1968", "1969", "1999", "2000", "2024", "2026", "2068", "2069", "202", "20260"}
		short  = []string{"00", "01", "24", "26", "68", "69", "96", "99", "+1"}
		days   = []string{"000", "001", "058", "059", "060", "061", "244", "268", "335", "365", "366", "367", "999", "1"}
		months = []string{"00", "01", "02", "03", "09", "12", "13", "99", "9"}
		mdays  = []string{"00", "01", "24", "25", "28", "29", "30", "31", "32", "99"}
		hours  = []string{"00", "24", "99"} // Format writes 00 alone
		words  = []string{"data", "%", "", ".", "Data", "%%", "data%", "dat"}
	)
	// All combinations of what a row tries at each depth are compared with the
	// parents of what is formatted for every day of all years that are tried.
	for _, row := range []struct {
		pattern string
		try     [][]string
	}{
		{"%Y/%j", [][]string{years, days}},
		{"/data/%Y/%j", [][]string{words, years, days}},
		{"data%%/%y/%j", [][]string{words, short, days}},
		{"%Y/%y/%m/%d", [][]string{years, short, months, mdays}},
		{"%m/%d/%Y", [][]string{months, mdays, years}},
		{"%m/%d/%y", [][]string{months, mdays, short}},
		{"%d/%m/%Y", [][]string{mdays, months, years}},
		{"%j/%m/%Y/%d", [][]string{days, months, years, mdays}},
		{"%j/%d/%y", [][]string{days, mdays, short}},
		{"%y/%j/%m/%d/%Y", [][]string{short, days, months, mdays, years}},
		{"%y/%j/%m/%d/%H", [][]string{short, days, months, mdays, hours}},
		{"%H/%Y/%j", [][]string{hours, years, days}},
		{"%Y%j", [][]string{years, days}},
	} {
		t.Run(row.pattern, func(t *testing.T) {
			t.Parallel()
			p := julian.MustParsePattern(row.pattern)
			first, last := "1899-001", "2069-365"
			if !strings.Contains(row.pattern, "%Y") {
				first, last = "1969-001", "2068-366"
			}
			parents := map[string]bool{}
			for d := range julian.Days(date(t, first), date(t, last)) {
				for dir := path.Dir(p.Format(d)); !parents[dir]; dir = path.Dir(dir) {
					parents[dir] = true
				}
			}
			prefixes := []string{""}
			for depth, elements := range row.try {
				var longer []string
				for _, prefix := range prefixes {
					for _, e := range elements {
						if depth > 0 || path.IsAbs(row.pattern) {
							e = prefix + "/" + e
						}
						longer = append(longer, e)
					}
				}
				prefixes = longer
				for _, prefix := range prefixes {
					if prefix == "" || prefix == "." || prefix == "/" {
						continue // the top: see TestPattern_MatchPrefix
					}
					if got, want := p.MatchPrefix(prefix), parents[prefix]; got != want {
						t.Errorf("MatchPrefix(%q) = %v, want %v", prefix, got, want)
					}
				}
			}
		})
	}
}

func TestPattern_MatchPrefix(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, pattern, path string
		want                bool
	}{
		{"a parent", "/data/%Y/%j", "/data/2026", true},
		{"a parent of a parent", "/data/%Y/%j", "/data", true},
		{"the root of an absolute pattern", "/data/%Y/%j", "/", true},
		{"the working directory of a relative pattern", "%Y/%j", ".", true},
		{"which may be left unsaid", "%Y/%j", "", true},
		{"not the root of a relative pattern", "%Y/%j", "/", false},
		{"not the working directory of an absolute pattern", "/data/%Y/%j", ".", false},
		{"any hour", "%Y%H/%j", "202623", true},
		{"not a match itself", "%Y/%j", "2026/268", false},
		{"not a path below a match", "%Y/%j", "2026/268/out", false},
		{"whole elements only", "/data/%Y/%j", "/dat", false},
		{"no slash at its end", "/data/%Y/%j", "/data/", false},
		{"nothing if the pattern names no day", "%Y/%H", "2026", false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, julian.MustParsePattern(row.pattern).MatchPrefix(row.path))
		})
	}
}

func TestPattern_Split(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, pattern, dir, rest string
		depth                    int
	}{
		{"before the first verb", "/data/supim/%Y/%j", "/data/supim", "%Y/%j", 4},
		{"relative", "data/supim/%Y/%j", "data/supim", "%Y/%j", 4},
		{"whole elements only", "/data/supim-%Y/%j", "/data", "supim-%Y/%j", 3},
		{"what follows a verb stays", "%Y/supim/%j", ".", "%Y/supim/%j", 3},
		{"from the root", "/%Y/%j", "/", "%Y/%j", 2},
		{"from the working directory", "%Y/%j", ".", "%Y/%j", 2},
		{"from the working directory by name", "./%Y/%j", ".", "%Y/%j", 2},
		{"a percent sign is unescaped in dir", "100%%/%%Y/%Y%%/%j", "100%/%Y", "%Y%%/%j", 4},
		{"no verb", "/data/supim", "/data/supim", "", 2},
		{"empty", "", ".", "", 0},
		{"the working directory", ".", ".", "", 0},
		{"the root", "/", "/", "", 0},
		{"slashes at the end and twice are dropped", "/data//supim/%Y//%j/", "/data/supim", "%Y/%j", 4},
		{"a parent directory is kept", "../supim/%Y/../%j", "../supim", "%Y/../%j", 5},
	} {
		t.Run(row.rule, func(t *testing.T) {
			p := julian.MustParsePattern(row.pattern)
			dir, rest := p.Split()
			require.Equal(t, row.dir, dir)
			require.Equal(t, row.rest, rest.String())
			require.Equal(t, row.depth, p.Depth())
		})
	}
}

// The laws of Pattern for any text: Match undoes Format; its parents are
// prefixes; the parts that Split returns join to what the whole formats.
func FuzzPattern_MatchUndoesFormat(f *testing.F) {
	f.Add("/data/supim/%Y/%j", 61308)
	f.Add("%y/%m%d/%%%H", 40586)
	f.Add("./%%Y//%Y-%y/%j/%m/%d/", 61308)
	f.Add("%j", 0)
	f.Add("", -678941)
	f.Add("/../%Y%m%d/.", 2973483)
	f.Fuzz(func(t *testing.T, text string, mjd int) {
		p, err := julian.ParsePattern(text)
		if err != nil {
			require.ErrorIs(t, err, julian.ErrPattern)
			return
		}
		first, last := date(t, "0000-001"), date(t, "9999-365")
		if !strings.Contains(strings.ReplaceAll(text, "%%", ""), "%Y") {
			first, last = date(t, "1969-001"), date(t, "2068-366")
		}
		days := last.DaysSince(first) + 1
		d := first.AddDays((mjd%days + days) % days)
		formatted := p.Format(d)

		got, ok := p.Match(formatted)
		require.Equal(t, p.NamesDay(), ok, "%q", formatted)
		if ok {
			require.Equal(t, d, got, "%q", formatted)
		}

		dir, rest := p.Split()
		require.Equal(t, p.NamesDay(), rest.NamesDay())
		require.Equal(t, path.Clean(formatted), path.Join(dir, rest.Format(d)))
		below := rest.Format(d)
		for below != "" && ok {
			below = below[:max(strings.LastIndexByte(below, '/'), 0)]
			require.True(t, rest.MatchPrefix(below), "%q of %v", below, rest)
		}
	})
}
