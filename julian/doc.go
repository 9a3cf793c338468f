// Package julian names days the way observatories and backup scripts do, by
// the day of the year, and finds them again in the names of folders. It also
// converts between instants and the Julian Date of astronomy.
//
// Two things share the name. A [Date] is a year and a day of that year, 001
// through 366, written 2026-060; ISO 8601-1:2019, 5.2.3 calls it an ordinal
// date. The Julian Date ([JD], [FromJD]) and the Modified Julian Date
// ([Date.MJD], [FromMJD]) are the astronomers' running counts of days.
//
// [DateOf], [FromCivil] and [Parse] make a Date. [Days], [Window] and
// [Missing] answer which days to work on. A [Pattern] such as "/data/%Y/%j"
// turns a Date into a path and a path into a Date.
//
// The calendar is proleptic Gregorian: the rules of 1582 hold in every year,
// there is a year 0, and it is a leap year. A Date is valid in the years 0000
// through 9999. Arithmetic goes on correctly outside them, as far as
// [time.Time] reaches; it wraps around beyond, as Go's integers do.
//
// Dates and Patterns may be copied and compared with ==. Functions, and methods
// that do not set their receiver, are safe for concurrent use.
//
// # Guarantees
//
//   - Day numbers and MJDs are those of GNU date.
//   - Julian Dates are those of Meeus, Astronomical Algorithms, chapter 7.
//   - Parse(d.String()) returns d for every valid Date d.
//   - Parse accepts 2026-060 and 2026060 and no other spelling.
//   - Dates of the years 0000 through 9999 sort as their strings do.
//   - What failed to parse leaves its target as it was.
//   - A day begins at the first instant that bears its date, also where clocks
//     skip or repeat midnight.
//   - Days and Window cross the end of a year without a gap.
//   - Missing returns exactly the days of the range that are not kept.
//   - JD(FromJD(x)) returns x for every Julian Date of the years 0000 through 9999.
//   - p.Match(p.Format(d)) returns d for every valid Date d and every Pattern
//     p that names a day; where %y is its only verb for the year, for the
//     years 1969 through 2068.
//   - A path that contradicts itself matches nothing.
//   - MatchPrefix is true of the parents of matches and of no other path.
//   - The parts that Split returns join to what the whole Pattern formats.
//   - Date.AppendText and Pattern.AppendFormat allocate nothing when the
//     buffer is large enough.
//   - No function reads the clock or the local time zone.
//   - The package imports the standard library only.
package julian
