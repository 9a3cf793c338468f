package julian

import (
	"math"
	"time"
)

// JD returns the Julian Date of t: the days, with their fraction, since noon
// UTC of 24 November −4713 (1 January −4712 in the Julian calendar). It is
// 2440587.5 for the Unix epoch. Days have 86400 seconds, as in [time.Time]:
// leap seconds are not counted. A float64 near today is good to about 40 µs.
//
// Source: Meeus, Astronomical Algorithms, 2nd edition, chapter 7.
func JD(t time.Time) float64 {
	const epoch = 2440587.5
	seconds := t.Unix()
	fraction := (float64(seconds%86400) + float64(t.Nanosecond())/1e9) / 86400
	// Whole and half days add up exactly, so that the sum is rounded once.
	return epoch + float64(seconds/86400) + fraction
}

// FromJD returns the instant of the Julian Date jd in UTC, to the nanosecond
// nearest to the float64. It returns the zero Time if jd is not a number or
// lies more than 1e9 days from zero.
func FromJD(jd float64) time.Time {
	if !(math.Abs(jd) <= 1e9) { // also true of NaN
		return time.Time{}
	}
	days, fraction := math.Modf(jd)
	noon := time.Date(-4713, time.November, 24+int(days), 12, 0, 0, 0, time.UTC)
	return noon.Add(time.Duration(math.Round(fraction * 86400e9)))
}
