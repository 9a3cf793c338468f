package julian

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Pattern is a path with verbs in the place of a day:
//
//	%Y  year, 0000 through 9999
//	%y  year of the century, 69 through 99 for 1969 to 1999 and
//	    00 through 68 for 2000 to 2068, as in POSIX strptime
//	%j  day of the year, 001 through 366
//	%m  month, 01 through 12
//	%d  day of the month, 01 through 31
//	%H  hour, 00 through 23
//	%%  a percent sign
//
// Every verb has a fixed number of digits. A path is separated by slashes on
// every system, as in [io/fs].
//
// The zero Pattern is the empty path. It names no day and matches nothing.
type Pattern struct {
	text string // every % is followed by a verb
}

// ParsePattern reads a Pattern. The error wraps [ErrPattern] and gives the
// verb that is unknown, or incomplete at the end, and its offset in bytes.
func ParsePattern(s string) (Pattern, error) {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i+1 == len(s) {
			return Pattern{}, fmt.Errorf("%w: %q at offset %d: %% without a verb", ErrPattern, s, i)
		}
		if !strings.Contains("YyjmdH%", s[i+1:i+2]) {
			_, size := utf8.DecodeRuneInString(s[i+1:])
			return Pattern{}, fmt.Errorf("%w: %q at offset %d: unknown verb %q", ErrPattern, s, i, s[i:i+1+size])
		}
		i++
	}
	return Pattern{s}, nil
}

// MustParsePattern returns the Pattern that ParsePattern reads, and panics if
// there is an error. It is meant for patterns written in the source.
func MustParsePattern(s string) Pattern {
	p, err := ParsePattern(s)
	if err != nil {
		panic(err)
	}
	return p
}

// NamesDay reports whether the verbs of p determine a day: a year together
// with a day of the year or a month and its day.
func (p Pattern) NamesDay() bool {
	return (p.has('Y') || p.has('y')) && (p.has('j') || p.has('m') && p.has('d'))
}

// Format returns the path of d, which must be valid. %H becomes 00.
func (p Pattern) Format(d Date) string {
	return string(p.AppendFormat(make([]byte, 0, len(p.text)+8), d))
}

// AppendFormat appends what Format returns to b.
func (p Pattern) AppendFormat(b []byte, d Date) []byte {
	for i := 0; i < len(p.text); i++ {
		if p.text[i] != '%' {
			b = append(b, p.text[i])
			continue
		}
		i++
		switch p.text[i] {
		case 'Y':
			b = appendDigits(b, d.Year, 4)
		case 'y':
			b = appendDigits(b, d.Year%100, 2)
		case 'j':
			b = appendDigits(b, d.Day, 3)
		case 'm':
			_, month, _ := d.Civil()
			b = appendDigits(b, int(month), 2)
		case 'd':
			_, _, day := d.Civil()
			b = appendDigits(b, day, 2)
		case 'H':
			b = append(b, "00"...)
		case '%':
			b = append(b, '%')
		}
	}
	return b
}

// Match returns the day that path names, and whether it names one. All of path
// must fit all of p, byte for byte: neither is cleaned, so that a Pattern with
// a slash at its end matches only paths that have one. There is no match if
// verbs contradict each other (a month against a day of the year, a century, a
// verb that occurs twice), if there is no such day, or if p names no day.
//
// %y gives the century only where there is no %Y. %H may be any hour of the day.
func (p Pattern) Match(path string) (Date, bool) {
	f, ok := scan(p.text, path)
	if !ok || !p.NamesDay() {
		return Date{}, false
	}
	year := f.year
	if year < 0 {
		year = 2000 + f.short
		if f.short >= 69 {
			year = 1900 + f.short
		}
	}
	return f.dayIn(year)
}

// MatchPrefix reports whether path could be a parent directory, near or far,
// of a path that matches: whether a walk should look inside. The top is "" or
// "." for a relative Pattern and "/" for an absolute one. Like Match it cleans
// neither path nor p; [Pattern.Split] gives a p that is clean.
func (p Pattern) MatchPrefix(path string) bool {
	if !p.NamesDay() {
		return false
	}
	absolute := strings.HasPrefix(p.text, "/")
	switch path {
	case "", ".":
		return !absolute
	case "/":
		return absolute
	}
	end := 0
	for range strings.Count(path, "/") + 1 {
		n := strings.IndexByte(p.text[end:], '/')
		if n < 0 {
			return false
		}
		end += n + 1
	}
	f, ok := scan(p.text[:end-1], path)
	if !ok {
		return false
	}
	if f.year >= 0 {
		_, ok := f.dayIn(f.year)
		return ok
	}
	// The years that %y can mean alone; where a %Y may yet follow, also 1900,
	// the common year among those that end in 00.
	first, last := 1969, 2068
	if p.has('Y') {
		first = 1900
	}
	for year := first; year <= last; year++ {
		if _, ok := f.dayIn(year); ok {
			return true
		}
	}
	return false
}

// Depth returns the number of elements in the path: 4 for
// "/data/supim/%Y/%j". Empty elements and "." do not count.
func (p Pattern) Depth() int {
	return len(p.elements())
}

// Split cuts p before the first element that has a verb other than %%. Dir is
// the path of the folder that holds everything p can name: "/" or "." if that
// is the root or the working directory. Rest is the Pattern inside it, without
// empty and "." elements; it is empty if p has no verbs. Joining dir and what
// rest formats gives the path that p formats, cleaned.
func (p Pattern) Split() (dir string, rest Pattern) {
	elements := p.elements()
	n := 0
	for n < len(elements) && !strings.Contains(strings.ReplaceAll(elements[n], "%%", ""), "%") {
		n++
	}
	dir = strings.ReplaceAll(strings.Join(elements[:n], "/"), "%%", "%")
	if strings.HasPrefix(p.text, "/") {
		dir = "/" + dir
	} else if dir == "" {
		dir = "."
	}
	return dir, Pattern{strings.Join(elements[n:], "/")}
}

// String returns p as it was parsed.
func (p Pattern) String() string {
	return p.text
}

// MarshalText returns p as it was parsed; the error is always nil. It
// implements [encoding.TextMarshaler].
func (p Pattern) MarshalText() ([]byte, error) {
	return []byte(p.text), nil
}

// UnmarshalText sets p to the Pattern that [ParsePattern] reads from text, and
// leaves it as it was if there is an error. It implements
// [encoding.TextUnmarshaler].
func (p *Pattern) UnmarshalText(text []byte) error {
	parsed, err := ParsePattern(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

func (p Pattern) has(verb byte) bool {
	for i := 0; i < len(p.text); i++ {
		if p.text[i] == '%' {
			i++
			if p.text[i] == verb {
				return true
			}
		}
	}
	return false
}

func (p Pattern) elements() []string {
	var elements []string
	for e := range strings.SplitSeq(p.text, "/") {
		if e != "" && e != "." {
			elements = append(elements, e)
		}
	}
	return elements
}

// fields holds what the verbs of a pattern read, -1 for what none has.
type fields struct {
	year, short, yday, month, mday, hour int
}

// scan reads all of s as the pattern says, and reports whether it fits.
func scan(pattern, s string) (fields, bool) {
	f := fields{-1, -1, -1, -1, -1, -1}
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '%' {
			i++
			if pattern[i] != '%' {
				field, width := f.field(pattern[i])
				v, n := leadingDigits(s, width)
				if n < width || *field >= 0 && *field != v {
					return f, false
				}
				*field = v
				s = s[width:]
				continue
			}
		}
		if s == "" || s[0] != pattern[i] {
			return f, false
		}
		s = s[1:]
	}
	return f, s == "" && f.hour <= 23
}

func (f *fields) field(verb byte) (field *int, width int) {
	switch verb {
	case 'Y':
		return &f.year, 4
	case 'y':
		return &f.short, 2
	case 'j':
		return &f.yday, 3
	case 'm':
		return &f.month, 2
	case 'd':
		return &f.mday, 2
	default:
		return &f.hour, 2
	}
}

// dayIn returns a day of the year that agrees with all fields that were read.
func (f fields) dayIn(year int) (Date, bool) {
	if f.short >= 0 && f.short != year%100 {
		return Date{}, false
	}
	if f.yday < 0 {
		// 1 stands for what was not read: every month has a day 1, and
		// January has every day.
		month, mday := f.month, f.mday
		if month < 0 {
			month = 1
		}
		if mday < 0 {
			mday = 1
		}
		return fromCivil(year, time.Month(month), mday)
	}
	d := Date{year, f.yday}
	if !d.IsValid() {
		return Date{}, false
	}
	_, month, mday := d.Civil()
	if f.month >= 0 && f.month != int(month) || f.mday >= 0 && f.mday != mday {
		return Date{}, false
	}
	return d, true
}
