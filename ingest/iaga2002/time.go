package iaga2002

import (
	"time"

	"github.com/obskeep/obskeep/ingest/internal/fixed"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

const (
	minuteMs = 60_000
	hourMs   = 60 * minuteMs
	dayMs    = 24 * hourMs
)

// clock reads the times of rows. It knows the hour of the row before.
type clock struct {
	hour [21]byte // "2024-12-31 23:" and " 366   ", the columns of the day of the year
	ms   int64    // when that hour begins
}

// same reads the time of a row in the hour that the clock knows.
func (c *clock) same(b *[recordLen]byte) (t int64, ok bool) {
	if string(b[:14]) != string(c.hour[:14]) || string(b[23:30]) != string(c.hour[14:]) {
		return 0, false
	}
	past, ok := pastHour((*[9]byte)(b[14:]))
	return c.ms + past, ok
}

// pastHour reads mm:ss.sss in milliseconds.
func pastHour(b *[9]byte) (int64, bool) {
	m1, m0 := uint32(b[0])-'0', uint32(b[1])-'0'
	s1, s0 := uint32(b[3])-'0', uint32(b[4])-'0'
	f2, f1, f0 := uint32(b[6])-'0', uint32(b[7])-'0', uint32(b[8])-'0'
	if b[2] != ':' || b[5] != '.' || m1 > 5 || s1 > 5 || m0 > 9 || s0 > 9 || f2 > 9 || f1 > 9 || f0 > 9 {
		return 0, false
	}
	return int64((m1*10+m0)*minuteMs + (s1*10+s0)*1000 + f2*100 + f1*10 + f0), true
}

// read reads the date, the time and the day of the year of a row. A leap second
// has the time of the second after it, and is not good for a row.
func (c *clock) read(date, of, doy fixed.Field, out *sample.Out) (t int64, ok, good bool) {
	year, month, day, ok := ymd(date.Text)
	if !ok {
		out.Fault(TimeParse, date.Column, date.Text)
		return 0, false, false
	}
	hour, past, leap, ok := hms(of.Text)
	if !ok {
		out.Fault(TimeParse, of.Column, of.Text)
		return 0, false, false
	}
	civil, err := julian.FromCivil(year, time.Month(month), day)
	if err != nil {
		out.Fault(TimeDay, date.Column, date.Text)
		return 0, false, false
	}
	if hour == 24 {
		out.Fault(TimeDay, of.Column, of.Text)
	}
	if leap {
		out.Fault(TimeLeap, of.Column, of.Text)
	}
	t = civil.In(time.UTC).UnixMilli() + int64(hour)*hourMs
	if d, ok := number(doy.Text, 3); !ok || d != civil.Day {
		out.Fault(DOY, doy.Column, doy.Text)
	} else if hour < 24 {
		c.ms = t
		copy(c.hour[:], date.Text)
		copy(c.hour[10:], " ")
		copy(c.hour[11:], of.Text[:3])
		copy(c.hour[14:], " ")
		copy(c.hour[15:], doy.Text)
		copy(c.hour[18:], "   ")
	}
	return t + past, true, !leap
}

func ymd(b []byte) (year, month, day int, ok bool) {
	if len(b) != len("2024-12-31") || b[4] != '-' || b[7] != '-' {
		return 0, 0, 0, false
	}
	year, ok1 := number(b[:4], 4)
	month, ok2 := number(b[5:7], 2)
	day, ok3 := number(b[8:], 2)
	return year, month, day, ok1 && ok2 && ok3
}

// hms reads hh:mm:ss.sss, up to 24:00:00.000, as the hour and the milliseconds
// that follow it.
func hms(b []byte) (hour int, past int64, leap, ok bool) {
	if len(b) != len("23:58:00.000") || b[2] != ':' {
		return 0, 0, false, false
	}
	rest := [9]byte(b[3:])
	if leap = string(rest[3:5]) == "60"; leap {
		copy(rest[3:], "59")
	}
	hour, ok1 := number(b[:2], 2)
	past, ok2 := pastHour(&rest)
	if leap {
		past += 1000
	}
	return hour, past, leap, ok1 && ok2 && (hour < 24 || hour == 24 && past == 0)
}

// number reads exactly n digits.
func number(b []byte, n int) (v int, ok bool) {
	if len(b) != n {
		return 0, false
	}
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}
