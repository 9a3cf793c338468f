package columns

import (
	"time"

	"github.com/obskeep/obskeep/julian"
)

// stamp is what the fields of a line say of its time.
type stamp struct {
	year, month, day, doy             int
	hour, minute, second, millisecond int
}

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

// read reads a field by its description, which has been checked.
func (s *stamp) read(layout string, text []byte) bool {
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' || layout[i+1] == '%' {
			if layout[i] == '%' {
				i++
			}
			if len(text) == 0 || text[0] != layout[i] {
				return false
			}
			text = text[1:]
			continue
		}
		i++
		n := s.verb(layout[i], text)
		if n == 0 {
			return false
		}
		text = text[n:]
	}
	return len(text) == 0
}

// verb reads a part of the time and returns how many bytes it has; 0 if it is not there.
func (s *stamp) verb(verb byte, text []byte) (n int) {
	switch verb {
	case 'Y':
		return digits(text, 4, 4, 0, 9999, &s.year)
	case 'y':
		n = digits(text, 2, 2, 0, 99, &s.year)
		s.year += 1900
		if s.year < 1970 {
			s.year += 100
		}
		return n
	case 'm':
		return digits(text, 1, 2, 1, 12, &s.month)
	case 'b':
		if len(text) < 3 {
			return 0
		}
		for m := range 12 {
			if name := months[3*m:][:3]; text[0]|0x20 == name[0] && text[1]|0x20 == name[1] && text[2]|0x20 == name[2] {
				s.month = m + 1
				return 3
			}
		}
		return 0
	case 'd':
		return digits(text, 1, 2, 1, 31, &s.day)
	case 'j':
		return digits(text, 1, 3, 1, 366, &s.doy)
	case 'H':
		return digits(text, 1, 2, 0, 23, &s.hour)
	case 'M':
		return digits(text, 1, 2, 0, 59, &s.minute)
	case 'S':
		return digits(text, 1, 2, 0, 59, &s.second)
	}
	n = digits(text, 1, 3, 0, 999, &s.millisecond) // %f
	for range 3 - n {
		s.millisecond *= 10
	}
	for n > 0 && n < len(text) && text[n] == '0' { // finer than that only if it is nothing
		n++
	}
	return n
}

// digits reads from least to most digits of a number from low to high, and
// returns how many there are; 0 if there is no such number.
func digits(text []byte, least, most, low, high int, into *int) (n int) {
	v := 0
	for n < len(text) && n < most && '0' <= text[n] && text[n] <= '9' {
		v = v*10 + int(text[n]-'0')
		n++
	}
	if n < least || v < low || high < v {
		return 0
	}
	*into = v
	return n
}

// milliseconds returns the time since 1970, and reports whether the calendar has it.
func (s *stamp) milliseconds() (t int64, ok bool) {
	day := julian.Date{Year: s.year, Day: s.doy}
	if s.month > 0 && s.day > 0 {
		civil, err := julian.FromCivil(s.year, time.Month(s.month), s.day)
		if err != nil || s.doy > 0 && civil != day {
			return 0, false
		}
		day = civil
	}
	if !day.IsValid() {
		return 0, false
	}
	const dayMs = 86_400_000
	clock := ((s.hour*60+s.minute)*60+s.second)*1000 + s.millisecond
	return int64(day.MJD()-40587)*dayMs + int64(clock), true
}
