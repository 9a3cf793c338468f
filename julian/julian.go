package julian

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrSyntax means that a text does not have the form of a Date.
	ErrSyntax = errors.New("julian: invalid syntax")
	// ErrRange means that there is no such day in the years 0000 through 9999.
	ErrRange = errors.New("julian: day out of range")
	// ErrPattern means that a text is not a Pattern.
	ErrPattern = errors.New("julian: invalid pattern")
)

// Date is a day of the Gregorian calendar, without a time zone.
// The zero Date is not valid and stands for no day.
type Date struct {
	Year int // 0 through 9999
	Day  int // of the year; 1 is 1 January
}

// DateOf returns the day that the calendar shows at t in t's own location.
func DateOf(t time.Time) Date {
	return Date{t.Year(), t.YearDay()}
}

// FromMJD returns the day with the given Modified Julian Date:
// 0 is 17 November 1858 (Meeus, chapter 7).
func FromMJD(mjd int) Date {
	return DateOf(time.Date(1858, time.November, 17+mjd, 0, 0, 0, 0, time.UTC))
}

// FromCivil returns the day of a calendar date. The error wraps [ErrRange] if
// the calendar has no such day, or has it outside the years 0000 through 9999.
func FromCivil(year int, month time.Month, day int) (Date, error) {
	d, ok := fromCivil(year, month, day)
	if !ok {
		return Date{}, fmt.Errorf("%w: calendar date %04d-%02d-%02d", ErrRange, year, int(month), day)
	}
	return d, nil
}

func fromCivil(year int, month time.Month, day int) (Date, bool) {
	t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	d := DateOf(t)
	// time.Date takes 30 February for 2 March (or 1 March): the date is real
	// only if it comes back unchanged.
	if !d.IsValid() || d.Year != year || t.Month() != month || t.Day() != day {
		return Date{}, false
	}
	return d, true
}

// DaysIn returns the number of days in a year, 365 or 366.
func DaysIn(year int) int {
	if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 366
	}
	return 365
}

// IsValid reports whether d is a day of the years 0000 through 9999.
func (d Date) IsValid() bool {
	return 0 <= d.Year && d.Year <= 9999 && 1 <= d.Day && d.Day <= DaysIn(d.Year)
}

// Civil returns the calendar date of d. Like all arithmetic here it counts on
// past the ends of a year: day 0 is 31 December of the year before.
func (d Date) Civil() (year int, month time.Month, day int) {
	return d.midnight(time.UTC).Date()
}

// MJD returns the Modified Julian Date at which d begins in UTC, the Julian
// Date less 2400000.5; 40587 for 1970-001.
func (d Date) MJD() int {
	return int(d.midnight(time.UTC).Unix()/86400) + 40587
}

// AddDays returns the day n days after d, or before d if n is negative. The
// result is not valid if it lies outside the years 0000 through 9999.
func (d Date) AddDays(n int) Date {
	return FromMJD(d.MJD() + n)
}

// DaysSince returns the number of days from e to d, negative if d is earlier.
func (d Date) DaysSince(e Date) int {
	return d.MJD() - e.MJD()
}

// Compare returns -1 if d is before e, 0 if they are equal and +1 if d is
// after e, by year and then by day. It is meant for [slices.SortFunc].
func (d Date) Compare(e Date) int {
	return cmp.Or(cmp.Compare(d.Year, e.Year), cmp.Compare(d.Day, e.Day))
}

// In returns the instant at which d begins in loc, which must not be nil. That
// is the first midnight if clocks show two, and the first instant after the
// gap if they skip midnight. Where a location skipped all of d to cross the
// date line, In returns the beginning of the day that followed.
func (d Date) In(loc *time.Location) time.Time {
	t := d.midnight(loc)
	start, end := t.ZoneBounds()
	if DateOf(t).MJD() < d.MJD() {
		return end // midnight is skipped, and time.Date answered before the gap
	}
	if start.IsZero() {
		return t
	}
	if hour, minute, second := t.Clock(); hour|minute|second != 0 {
		return start // midnight is skipped, and time.Date answered after the gap
	}
	_, before := start.Add(-1).Zone()
	_, now := t.Zone()
	if first := t.Add(time.Duration(now-before) * time.Second); first.Before(start) {
		return first
	}
	return t
}

// midnight returns 00:00 of d as time.Date understands it, which is the
// beginning of the day only where the clocks of loc do not change then.
func (d Date) midnight(loc *time.Location) time.Time {
	return time.Date(d.Year, time.January, d.Day, 0, 0, 0, 0, loc)
}
