package iaga2002

import (
	"math"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// sequence is where the rows have got to.
type sequence struct {
	every       Every
	first, last int64 // times
	period      int64 // between the first two rows, until it is seen to be too long
	limit       int64 // the first time that is one too many for a file
	named       int64 // the first time after the span of the file's name
}

func (s *sequence) start(every Every) {
	*s = sequence{every: every, limit: math.MaxInt64, named: math.MaxInt64}
}

// follow looks at a row's time beside those before it.
func (p *Parser) follow(t int64, record []byte, out *sample.Out) {
	s := &p.sequence
	step := t - s.last
	if p.rows == 1 {
		p.begin(t, record, out)
	} else if step != s.period || step == 0 {
		s.step(step, record, out)
		s.grid(t, record, out)
	}
	if t >= s.limit {
		out.Fault(DayLimit, 1, record)
		s.limit = math.MaxInt64
	}
	if t >= s.named {
		out.Fault(NameMatch, 1, record)
		s.named = math.MaxInt64
	}
	s.last = max(s.last, t)
}

// begin looks at the first row.
func (p *Parser) begin(t int64, record []byte, out *sample.Out) {
	s := &p.sequence
	s.first, s.last = t, t
	s.grid(t, record, out)
	if s.every == Second || s.every == Minute {
		s.limit = t + dayMs
	}
	if p.name.Span == 0 {
		return
	}
	want := p.header.Name(time.UnixMilli(t), p.name.Span >= MinuteSpan)
	want.Span, want.Start = p.name.Span, p.name.Span.truncate(time.UnixMilli(t).UTC())
	if p.name.Type == 't' {
		want.Type = 't'
	}
	if p.name != want {
		out.Fault(NameMatch, 0, []byte(p.fileName))
	}
	switch p.name.Span {
	case YearSpan:
		s.named = p.name.Start.AddDate(1, 0, 0).UnixMilli()
	case MonthSpan:
		s.named = p.name.Start.AddDate(0, 1, 0).UnixMilli()
	case DaySpan:
		s.named = p.name.Start.AddDate(0, 0, 1).UnixMilli()
	}
}

// step looks at a step between rows that is not the period.
func (s *sequence) step(step int64, record []byte, out *sample.Out) {
	switch cadence := s.every.Duration().Milliseconds(); {
	case step == 0:
		out.Fault(TimeDup, 1, record)
	case step < 0:
		out.Fault(TimeOrder, 1, record)
	case s.every == Month: // months differ
	case s.period == 0:
		s.period = step
		if s.every > 0 && step != cadence {
			out.Fault(Interval, 1, record)
		}
	case step > s.period:
		out.Fault(TimeGap, 1, record)
	default:
		out.Fault(TimeStep, 1, record)
		s.period = step
		if s.every > 0 {
			s.period = cadence // not that of one odd row
		}
	}
}

// grid looks whether a row is at the centre of its interval.
func (s *sequence) grid(t int64, record []byte, out *sample.Out) {
	cadence := s.every.Duration().Milliseconds()
	if cadence > 0 && (t-s.every.centre())%cadence != 0 {
		out.Fault(TimeGrid, 12, record[min(11, len(record)):])
	}
}
