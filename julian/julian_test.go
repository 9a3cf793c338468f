package julian_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
)

// date is Parse for the constants of the tests.
func date(tb testing.TB, s string) julian.Date {
	tb.Helper()
	d, err := julian.Parse(s)
	require.NoError(tb, err)
	return d
}

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(tb, err)
	return loc
}

// shifted returns a location whose offset from UTC changes once. The format is
// TZif version 1 (RFC 9636, section 3).
func shifted(tb testing.TB, at time.Time, before, after time.Duration) *time.Location {
	tb.Helper()
	data := append([]byte("TZif"), make([]byte, 16)...)
	for _, count := range []uint32{0, 0, 0, 1, 2, 4} { // one change of time, two types, four characters
		data = binary.BigEndian.AppendUint32(data, count)
	}
	data = binary.BigEndian.AppendUint32(data, uint32(at.Unix()))
	data = append(data, 1)
	for _, offset := range []time.Duration{before, after} {
		data = binary.BigEndian.AppendUint32(data, uint32(int32(offset.Seconds())))
		data = append(data, 0, 0)
	}
	loc, err := time.LoadLocationFromTZData("shifted", append(data, "XXX\x00"...))
	require.NoError(tb, err)
	return loc
}

// needs skips the test if a program is missing, or fails it where the
// environment says that nothing may be skipped.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("%s is required: %v", program, err)
		}
		t.Skipf("%s is not installed: %v", program, err)
	}
}

// Day numbers and MJDs are those of GNU date, on each day of 1600 through 2400.
func TestDate_AgreesWithGNUDate(t *testing.T) {
	t.Parallel()
	needs(t, "date")
	if out, err := exec.Command("date", "--version").Output(); err != nil || !bytes.Contains(out, []byte("GNU")) {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal("GNU date is required")
		}
		t.Skip("date is not GNU date")
	}

	// Seconds since 1970 are all that date gets: the calendar is its own.
	const (
		first = -135140 // 1 January 1600, from the JD in Meeus, chapter 7
		days  = 2*146097 + 366
	)
	var in bytes.Buffer
	for n := range days {
		fmt.Fprintf(&in, "@%d\n", int64(first+n)*86400)
	}
	gnu := exec.CommandContext(t.Context(), "date", "-u", "-f", "-", "+%Y-%j is %Y-%m-%d, second %s")
	gnu.Env = append(os.Environ(), "LC_ALL=C")
	gnu.Stdin = &in
	out, err := gnu.Output()
	require.NoError(t, err)

	n := 0
	for want := range strings.Lines(string(out)) {
		d := julian.FromMJD(40587 + first + n)
		year, month, day := d.Civil()
		got := fmt.Sprintf("%v is %04d-%02d-%02d, second %d\n", d, year, month, day, int64(d.MJD()-40587)*86400)
		if got != want {
			t.Fatalf("date has %q; this package %q", want, got)
		}
		if back, err := julian.FromCivil(year, month, day); err != nil || back != d {
			t.Fatalf("FromCivil returns %v, %v for %s", back, err, want)
		}
		if next := d.AddDays(1); next.DaysSince(d) != 1 || d.Compare(next) != -1 {
			t.Fatalf("%v does not follow %v", next, d)
		}
		n++
	}
	require.Equal(t, days, n)
}

// Meeus, Astronomical Algorithms, 2nd edition, chapter 7, "Day of the Year".
func TestFromCivil_HasTheDayNumbersOfMeeus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule             string
		year, month, day int
		want             julian.Date
	}{
		{"example 7.f", 1978, 11, 14, julian.Date{Year: 1978, Day: 318}},
		{"example 7.g", 1988, 4, 22, julian.Date{Year: 1988, Day: 113}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got, err := julian.FromCivil(row.year, time.Month(row.month), row.day)
			require.NoError(t, err)
			require.Equal(t, row.want, got)
			year, month, day := got.Civil()
			require.Equal(t, []int{row.year, row.month, row.day}, []int{year, int(month), day})
		})
	}
}

func TestFromCivil(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule             string
		year, month, day int
		err              error
	}{
		{"29 february in a leap year", 2024, 2, 29, nil},
		{"no 29 february in a common year", 2026, 2, 29, julian.ErrRange},
		{"no 29 february in a century that 400 does not divide", 1900, 2, 29, julian.ErrRange},
		{"no 31 april", 2026, 4, 31, julian.ErrRange},
		{"no month 0", 2026, 0, 1, julian.ErrRange},
		{"no month 13", 2026, 13, 1, julian.ErrRange},
		{"no day 0", 2026, 1, 0, julian.ErrRange},
		{"the first day", 0, 1, 1, nil},
		{"the last day", 9999, 12, 31, nil},
		{"no year before 0", -1, 12, 31, julian.ErrRange},
		{"no year after 9999", 10000, 1, 1, julian.ErrRange},
	} {
		t.Run(row.rule, func(t *testing.T) {
			_, err := julian.FromCivil(row.year, time.Month(row.month), row.day)
			require.ErrorIs(t, err, row.err)
		})
	}
}

func TestDaysIn(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		year int
		want int
	}{
		{"a common year", 2026, 365},
		{"every fourth year is a leap year", 2028, 366},
		{"not the centuries", 1900, 365},
		{"except every fourth century", 2000, 366},
		{"before 1582 as after", 1500, 365},
		{"year 0 is a leap year", 0, 366},
		{"and so is year -4", -4, 366},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, julian.DaysIn(row.year))
		})
	}
}

func TestDate_IsValid(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		date julian.Date
		want bool
	}{
		{"the zero date stands for no day", julian.Date{}, false},
		{"the first day", julian.Date{Year: 0, Day: 1}, true},
		{"the last day", julian.Date{Year: 9999, Day: 365}, true},
		{"no year before 0", julian.Date{Year: -1, Day: 1}, false},
		{"no year after 9999", julian.Date{Year: 10000, Day: 1}, false},
		{"day 366 in a leap year", julian.Date{Year: 2024, Day: 366}, true},
		{"no day 366 in a common year", julian.Date{Year: 2026, Day: 366}, false},
		{"no day 367", julian.Date{Year: 2024, Day: 367}, false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, row.date.IsValid())
		})
	}
}

func TestDate_AddDays(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		from julian.Date
		n    int
		want julian.Date
	}{
		{"december to january", julian.Date{Year: 2026, Day: 365}, 1, julian.Date{Year: 2027, Day: 1}},
		{"january to december of a leap year", julian.Date{Year: 2025, Day: 1}, -1, julian.Date{Year: 2024, Day: 366}},
		{"four hundred years are 146097 days", julian.Date{Year: 2026, Day: 268}, 146097, julian.Date{Year: 2426, Day: 268}},
		{"before year 0", julian.Date{Year: 0, Day: 1}, -1, julian.Date{Year: -1, Day: 365}},
		{"after year 9999", julian.Date{Year: 9999, Day: 365}, 1, julian.Date{Year: 10000, Day: 1}},
		{"a day past the end of its year is counted on", julian.Date{Year: 2026, Day: 400}, 0, julian.Date{Year: 2027, Day: 35}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, row.from.AddDays(row.n))
		})
	}
}

// Day numbers come from t's own location, whatever day it is elsewhere.
func TestDateOf_UsesTheLocationOfItsTime(t *testing.T) {
	t.Parallel()
	evening := time.Date(2026, time.December, 31, 22, 0, 0, 0, zone(t, "America/Sao_Paulo"))
	require.Equal(t, "2026-365", julian.DateOf(evening).String())
	require.Equal(t, "2027-001", julian.DateOf(evening.UTC()).String())
}

// A day begins at the first instant that bears its date, also where clocks
// skip or repeat midnight.
func TestDateIn_IsTheFirstInstantOfTheDay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, zone string
		date, want string
	}{
		{"midnight", "UTC", "2026-268", "2026-09-25T00:00:00Z"},
		{"after the gap where clocks skip midnight, west of Greenwich", "America/Sao_Paulo", "2018-308", "2018-11-04T01:00:00-02:00"},
		{"after the gap where clocks skip midnight, east of Greenwich", "Asia/Beirut", "2021-087", "2021-03-28T01:00:00+03:00"},
		{"the only midnight where clocks go back at it", "America/Sao_Paulo", "2019-048", "2019-02-17T00:00:00-03:00"},
		{"the first of two midnights", "America/Havana", "2020-306", "2020-11-01T00:00:00-04:00"},
		{"the first midnight where the day is left again", "America/St_Johns", "2006-302", "2006-10-29T00:00:00-02:30"},
		{"the day after one that was skipped", "Pacific/Apia", "2011-364", "2011-12-31T00:00:00+14:00"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			got := date(t, row.date).In(zone(t, row.zone))
			require.Equal(t, row.want, got.Format(time.RFC3339))
		})
	}

	// No zone has had this gap yet.
	t.Run("after a gap that began the day before, east of Greenwich", func(t *testing.T) {
		t.Parallel()
		gap := time.Date(2026, time.September, 24, 21, 30, 0, 0, time.UTC)
		got := date(t, "2026-268").In(shifted(t, gap, 2*time.Hour, 3*time.Hour))
		require.Equal(t, "2026-09-25T00:30:00+03:00", got.Format(time.RFC3339))
	})

	skipped := map[string]julian.Date{
		"Asia/Manila":       {Year: 1844, Day: 366},
		"Pacific/Kwajalein": {Year: 1993, Day: 233},
	}
	for _, name := range []string{
		"America/Havana", "America/Sao_Paulo", "America/St_Johns", "Asia/Amman", "Asia/Beirut",
		"Asia/Manila", "Asia/Tehran", "Europe/London", "Pacific/Kwajalein", "Africa/Monrovia",
	} {
		t.Run("every day of 1840 through 2029 in "+name, func(t *testing.T) {
			t.Parallel()
			loc := zone(t, name)
			for d := range julian.Days(date(t, "1840-001"), date(t, "2029-365")) {
				start := d.In(loc)
				if before := julian.DateOf(start.Add(-1)); before.Compare(d) >= 0 {
					t.Errorf("%v begins at %v, but it was %v already", d, start, before)
				}
				if got := julian.DateOf(start); got != d && (d != skipped[name] || got != d.AddDays(1)) {
					t.Errorf("%v begins at %v, which is %v", d, start, got)
				}
			}
		})
	}
}

// Dates of the years 0000 through 9999 sort as their strings do.
func TestDate_SortsAsItsString(t *testing.T) {
	t.Parallel()
	previous := date(t, "1600-001")
	for d := range julian.Days(date(t, "1600-002"), date(t, "2400-366")) {
		if previous.Compare(d) != -1 || previous.String() >= d.String() {
			t.Fatalf("%v does not sort before %v in both orders", previous, d)
		}
		previous = d
	}
	for _, a := range []string{"0000-001", "0999-365", "1999-365", "2000-001", "2026-099", "2026-100", "9999-365"} {
		for _, b := range []string{"0000-001", "1000-001", "2000-366", "2026-100", "9999-001"} {
			require.Equal(t, strings.Compare(a, b), date(t, a).Compare(date(t, b)), "%s against %s", a, b)
		}
	}
}

// FromMJD and MJD undo each other, and agree with JD.
func FuzzFromMJD_RoundTrips(f *testing.F) {
	for _, mjd := range []int{0, -1, 40587, 61308, -678941, -678942, 1 << 30} {
		f.Add(mjd)
	}
	f.Fuzz(func(t *testing.T, mjd int) {
		mjd %= 1 << 30
		d := julian.FromMJD(mjd)
		if got := d.MJD(); got != mjd {
			t.Errorf("%v has MJD %d, want %d", d, got, mjd)
		}
		if got := julian.JD(d.In(time.UTC)) - 2400000.5; got != float64(mjd) {
			t.Errorf("%v begins at MJD %v, want %d", d, got, mjd)
		}
	})
}
