package iaga2002

import (
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Every is how far the rows of a file are apart. The zero Every is not known.
type Every uint8

const (
	Second Every = iota + 1
	Minute
	Hour
	Day
	Month
)

// String returns what a file name calls e: "sec", "min", "hor", "day", "mon".
func (e Every) String() string {
	return [...]string{"", "sec", "min", "hor", "day", "mon"}[e]
}

func (e Every) unit() string {
	return [...]string{"", "second", "minute", "hour", "day", "month"}[e]
}

// Duration returns the time between rows; zero for months, which differ.
func (e Every) Duration() time.Duration {
	return [...]time.Duration{0, time.Second, time.Minute, time.Hour, 24 * time.Hour, 0}[e]
}

// centre returns when after the beginning of its interval a row is stamped, in
// milliseconds: minutes and seconds at the beginning, hours at 29:30 and days at
// 11:59:30 (INTERMAGNET Technical Reference Manual, 2.3).
func (e Every) centre() int64 {
	return [...]int64{Hour: 1_770_000, Day: 43_170_000, Month: 0}[e]
}

// Span is what the date in a file name stands for: all of a year, month or day,
// or what begins at a minute or second.
type Span uint8

const (
	YearSpan   Span = iota + 1 // 2024
	MonthSpan                  // 202412
	DaySpan                    // 20241231
	MinuteSpan                 // 202412312355
	SecondSpan                 // 20241231235500
)

func (s Span) layout() string {
	const layout = "20060102150405"
	return layout[:[...]int{0, 4, 6, 8, 12, 14}[s]]
}

// truncate returns the beginning of the span that contains t. Formatting drops
// what the span does not name.
func (s Span) truncate(t time.Time) time.Time {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	switch s {
	case YearSpan:
		month, day, hour, minute, second = 1, 1, 0, 0, 0
	case MonthSpan:
		day, hour, minute, second = 1, 0, 0, 0
	case DaySpan:
		hour, minute, second = 0, 0, 0
	case MinuteSpan:
		second = 0
	}
	return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
}

// Name is a file name: the station's code, when its data begin, their type and
// their interval. The zero Name is none.
type Name struct {
	Code  string    // "TST"
	Start time.Time // UTC
	Span  Span
	Type  byte // v, p, q, d; also a, r and t, for tests
	Every Every
}

// String returns the name in lower case, "tst202412312355vmin.min".
func (n Name) String() string {
	every := n.Every.String()
	return strings.ToLower(n.Code) + n.Start.Format(n.Span.layout()) + string(n.Type) + every + "." + every
}

// ParseName reads a file name, without folders, in any case of letters. The
// error is a [*sample.Fault] of [NameForm], [NameDate] or [NameEnd].
func ParseName(s string) (Name, error) {
	low := strings.ToLower(s)
	fault := func(r *sample.Rule, column int) (Name, error) {
		return Name{}, &sample.Fault{Rule: r, File: s, Line: 1, Column: column, Offset: int64(column - 1), Found: s}
	}
	digits := strings.IndexFunc(low, func(c rune) bool { return c < 'a' || 'z' < c })
	if digits != 3 && digits != 4 {
		return fault(NameForm, 1)
	}
	end := digits + len(low[digits:]) - len(strings.TrimLeft(low[digits:], "0123456789"))
	n := Name{Code: strings.ToUpper(low[:digits])}
	for n.Span = YearSpan; n.Span <= SecondSpan && len(n.Span.layout()) != end-digits; n.Span++ {
	}
	if n.Span > SecondSpan {
		return fault(NameForm, digits+1)
	}
	if len(low) != end+len("vmin.min") || !strings.ContainsRune("vpqdart", rune(low[end])) || low[end+4] != '.' {
		return fault(NameForm, end+1)
	}
	n.Type = low[end]
	for n.Every = Second; n.Every <= Month && n.Every.String() != low[end+1:end+4]; n.Every++ {
	}
	if n.Every > Month {
		return fault(NameForm, end+2)
	}
	start, err := time.Parse(n.Span.layout(), low[digits:end])
	if err != nil {
		return fault(NameDate, digits+1)
	}
	n.Start = start
	if low[end+5:] != n.Every.String() {
		return fault(NameEnd, end+6)
	}
	return n, nil
}
