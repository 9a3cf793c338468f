package julian

import (
	"iter"
	"slices"
)

// Days returns the days from first through last in order, both included, and
// none if last is before first.
func Days(first, last Date) iter.Seq[Date] {
	return func(yield func(Date) bool) {
		for mjd := first.MJD(); mjd <= last.MJD(); mjd++ {
			if !yield(FromMJD(mjd)) {
				return
			}
		}
	}
}

// Window returns the n days before today and today, oldest first: the days
// that a job looks at again each time it runs. It returns today alone if n is
// zero, and nil if n is negative.
func Window(today Date, n int) []Date {
	return slices.Collect(Days(today.AddDays(-n), today))
}

// Missing returns the days from first through last that are not among kept,
// oldest first. The order of kept is free, and days may stand in it twice or
// lie outside the range. The result is nil if none is missing.
func Missing(kept []Date, first, last Date) []Date {
	have := make(map[Date]bool, len(kept))
	for _, d := range kept {
		have[d] = true
	}
	var missing []Date
	for d := range Days(first, last) {
		if !have[d] {
			missing = append(missing, d)
		}
	}
	return missing
}
