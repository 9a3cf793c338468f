package julian_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
)

// Julian Dates are those of Meeus, Astronomical Algorithms, 2nd edition,
// chapter 7. Its rows before 1582 are dates of the Julian calendar; this
// package counts in the Gregorian calendar throughout, so they do not apply.
func TestJD_IsThatOfMeeus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule  string
		year  int
		month time.Month
		day   float64
		want  float64
	}{
		{"example 7.a, Sputnik 1", 1957, 10, 4.81, 2436116.31},
		{"example 7.d, Halley in 1910", 1910, 4, 20, 2418781.5},
		{"example 7.d, Halley in 1986", 1986, 2, 9, 2446470.5},
		{"list, 2000 January 1.5", 2000, 1, 1.5, 2451545},
		{"list, 1999 January 1.0", 1999, 1, 1, 2451179.5},
		{"list, 1987 January 27.0", 1987, 1, 27, 2446822.5},
		{"list, 1987 June 19.5", 1987, 6, 19.5, 2446966},
		{"list, 1988 January 27.0", 1988, 1, 27, 2447187.5},
		{"list, 1988 June 19.5", 1988, 6, 19.5, 2447332},
		{"list, 1900 January 1.0", 1900, 1, 1, 2415020.5},
		{"list, 1600 January 1.0", 1600, 1, 1, 2305447.5},
		{"list, 1600 December 31.0", 1600, 12, 31, 2305812.5},
		{"definition of the MJD, 1858 November 17.0", 1858, 11, 17, 2400000.5},
	} {
		t.Run(row.rule, func(t *testing.T) {
			day, fraction := math.Modf(row.day)
			at := time.Date(row.year, row.month, int(day), 0, 0, 0, 0, time.UTC).
				Add(time.Duration(fraction * 24 * float64(time.Hour)))
			require.InDelta(t, row.want, julian.JD(at), 1e-9)
			require.WithinDuration(t, at, julian.FromJD(row.want), 40*time.Microsecond)
			require.Equal(t, int(math.Floor(row.want-2400000.5)), julian.DateOf(at).MJD())
		})
	}
}

func TestFromJD(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		jd   float64
		want string
	}{
		{"the Unix epoch", 2440587.5, "1970-01-01T00:00:00Z"},
		{"before the Unix epoch", 2440587.25, "1969-12-31T18:00:00Z"},
		{"day 0 begins at noon of 24 november -4713", 0, "-4713-11-24T12:00:00Z"},
		{"before day 0", -0.75, "-4713-11-23T18:00:00Z"},
		{"not a number is the zero time", math.NaN(), "0001-01-01T00:00:00Z"},
		{"too far to count is the zero time", math.Inf(-1), "0001-01-01T00:00:00Z"},
		{"one day too far is the zero time", 1e9 + 1, "0001-01-01T00:00:00Z"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, julian.FromJD(row.jd).Format(time.RFC3339))
		})
	}
}

// A JD counts the nanoseconds, as far as a float64 can hold them.
func TestJD_CountsTheNanoseconds(t *testing.T) {
	t.Parallel()
	at := time.Date(1957, 10, 4, 19, 26, 23, 999_999_999, time.FixedZone("", -3*3600))
	require.WithinDuration(t, at, julian.FromJD(julian.JD(at)), 40*time.Microsecond)
	require.Equal(t, time.UTC, julian.FromJD(julian.JD(at)).Location())
	require.Less(t, julian.JD(at), julian.JD(at.Add(time.Millisecond)))
}

// JD(FromJD(x)) returns x for every Julian Date of the years 0000 through 9999.
func FuzzJD_RoundTrips(f *testing.F) {
	for _, jd := range []float64{2436116.31, 2440587.5, 2451545, 1721059.5, 5373484.499, 2461308.123456} {
		f.Add(jd)
	}
	f.Fuzz(func(t *testing.T, jd float64) {
		const first, end = 1721059.5, 5373484.5 // 0000-001 and 10000-001
		if !(first <= jd && jd < end) {
			jd = first + math.Mod(math.Abs(jd), end-first)
		}
		if math.IsNaN(jd) || jd < first || jd >= end {
			t.Skip("no Julian Date of these years")
		}
		at := julian.FromJD(jd)
		if got := julian.JD(at); got != jd {
			t.Errorf("JD(%v) = %v, want %v", at, got, jd)
		}
		if got, want := julian.DateOf(at).MJD(), int(math.Floor(jd-2400000.5)); got != want {
			t.Errorf("%v is in MJD %d, want %d", at, got, want)
		}
	})
}
