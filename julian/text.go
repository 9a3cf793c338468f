package julian

import (
	"fmt"
	"strconv"
)

// Parse reads a day written as String writes it, 2026-060, or without the
// hyphen, 2026060: four digits, then three. The error wraps [ErrSyntax] and
// gives the offset in bytes of what is wrong, or [ErrRange] if the year has no
// such day.
func Parse(s string) (Date, error) {
	year, n := leadingDigits(s, 4)
	if n < 4 {
		return Date{}, syntaxError(s, n)
	}
	at := 4
	if len(s) > at && s[at] == '-' {
		at++
	}
	day, n := leadingDigits(s[at:], 3)
	if n < 3 || len(s) > at+3 {
		return Date{}, syntaxError(s, at+n)
	}
	d := Date{year, day}
	if !d.IsValid() {
		return Date{}, rangeError(d)
	}
	return d, nil
}

// String returns d as "2026-060". Only what it returns for a valid Date can be
// parsed again; for the zero Date it returns "0000-000".
func (d Date) String() string {
	return string(d.append(make([]byte, 0, len("2026-060"))))
}

// AppendText appends what String returns to b. The error wraps [ErrRange] if d
// is not valid; b is then returned as it was. It implements
// [encoding.TextAppender].
func (d Date) AppendText(b []byte) ([]byte, error) {
	if !d.IsValid() {
		return b, rangeError(d)
	}
	return d.append(b), nil
}

// MarshalText returns what String returns. The error wraps [ErrRange] if d is
// not valid. It implements [encoding.TextMarshaler].
func (d Date) MarshalText() ([]byte, error) {
	return d.AppendText(nil)
}

// UnmarshalText sets d to the day that [Parse] reads from text, and leaves it
// as it was if there is an error. It implements [encoding.TextUnmarshaler].
func (d *Date) UnmarshalText(text []byte) error {
	return d.Set(string(text))
}

// Set does what UnmarshalText does, for a string. It implements [flag.Value].
func (d *Date) Set(s string) error {
	parsed, err := Parse(s)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

func (d Date) append(b []byte) []byte {
	b = appendDigits(b, d.Year, 4)
	b = append(b, '-')
	return appendDigits(b, d.Day, 3)
}

func syntaxError(s string, offset int) error {
	return fmt.Errorf("%w: %q at offset %d: want a day like 2026-060 or 2026060", ErrSyntax, s, offset)
}

func rangeError(d Date) error {
	if d.Year < 0 || d.Year > 9999 {
		return fmt.Errorf("%w: %v: want a year from 0000 to 9999", ErrRange, d)
	}
	return fmt.Errorf("%w: %v: the year has %d days", ErrRange, d, DaysIn(d.Year))
}

// leadingDigits reads up to width decimal digits from the beginning of s and
// returns their value and how many there were.
func leadingDigits(s string, width int) (v, n int) {
	for n < width && n < len(s) && '0' <= s[n] && s[n] <= '9' {
		v = v*10 + int(s[n]-'0')
		n++
	}
	return v, n
}

// appendDigits appends v with at least width digits.
func appendDigits(b []byte, v, width int) []byte {
	if v < 0 {
		b, v = append(b, '-'), -v
	}
	least := 1
	for range width - 1 {
		least *= 10
	}
	for ; v < least && least > 1; least /= 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, int64(v), 10)
}
