package ingest

import (
	"maps"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// Span are consecutive rows of a stream.
type Span struct {
	First, Last time.Time
	Rows        int
}

// Status is how far a feed has come.
type Status struct {
	At      time.Time // when it was so
	Streams []StreamStatus
	Counts  Counts

	UnderWay int         // batches that were offered and are not settled
	InDoubt  int         // of these, those that may have arrived
	Until    time.Time   // the sink is left alone until then; zero: it is not
	Trouble  string      // why the sink did not take the last batch, in its words; empty: it did
	Refusal  string      // what it said of the last batch that it refused
	Offered  int         // batches offered on this day of UTC
	PerDay   int         // of so many; zero: of any number
	Closed   julian.Date // the last day of which nothing is waited for any more; zero if there is none
}

// StreamStatus is how far a stream has come.
type StreamStatus struct {
	Stream string
	Newest time.Time   // the newest row that was accepted; zero if there is none on the days
	Days   []DayStatus // that are not closed, the newest first
}

// DayStatus is how far a day of a stream has come.
type DayStatus struct {
	Day      julian.Date
	Expected int            // rows of the day whose time has come
	Accepted int            // rows that the sink has
	Waiting  int            // rows that were read and are not settled
	Refused  int            // rows that the sink has refused; they are offered again after a day
	Holes    []Span         // rows before the newest one that the sink does not have; none of a day before the feed was begun
	Faults   int            // lines of its file at fault
	SetAside map[string]int // values that the filter has set aside, by its rules
}

// Counts returns what the feed has done since it was opened.
func (f *Feed) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

// Status tells how far the feed has come. It reads the state, not the sources.
func (f *Feed) Status() (Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.config.Now().UTC()
	s := Status{At: now, Counts: f.counts, UnderWay: len(f.under), PerDay: f.config.PerDay, Closed: f.closed}
	s.Trouble, s.Refusal = f.trouble, f.refusal
	if f.wait.After(now) {
		s.Until = f.wait
	}
	for _, b := range f.under {
		if !b.offer.Doubt.IsZero() {
			s.InDoubt++
		}
	}
	first, today := f.window()
	if f.budget.Day == today {
		s.Offered = f.budget.All
	}
	if next := f.closed.AddDays(1); f.closed.IsValid() && next.Compare(first) > 0 && next.Compare(today) <= 0 {
		first = next
	}
	for _, stream := range f.config.Streams {
		of := StreamStatus{Stream: stream.Name}
		for day := today; day.Compare(first) >= 0; day = day.AddDays(-1) {
			d, err := f.status(dayAt(stream, day), now, &of.Newest)
			if err != nil {
				return s, err
			}
			of.Days = append(of.Days, d)
		}
		s.Streams = append(s.Streams, of)
	}
	return s, nil
}

func (f *Feed) status(d dayOf, now time.Time, newest *time.Time) (DayStatus, error) {
	s := DayStatus{Day: d.date, Expected: d.expected(now)}
	rows, err := f.mirror.read(d, span{0, d.slots()})
	if err != nil {
		return s, err
	}
	end := 0
	for slot, r := range rows {
		if measured(r) {
			s.Accepted++
			end = slot + 1
		}
	}
	if end > 0 && newest.IsZero() {
		*newest = rows[end-1].UTC()
	}
	if newest.After(rows[len(rows)-1].UTC()) {
		end = len(rows) // a later day has rows
	}
	if d.date.Compare(f.since) >= 0 {
		s.Holes, _ = d.absent(rows[:end])
	}
	for _, c := range f.refused {
		if c.Stream == d.Name && c.Day == d.date && now.Sub(c.At) < refusedFor {
			s.Refused += len(c.Rows)
		}
	}
	if fl := f.files[d]; fl != nil {
		s.Waiting, s.Faults, s.SetAside = fl.open, fl.faults, maps.Clone(fl.aside)
	}
	return s, nil
}

// expected is how many rows of a day have been due by now.
func (d dayOf) expected(now time.Time) int {
	since := now.UnixMilli() - d.start
	if since < 0 {
		return 0
	}
	return min(int(since/d.Cadence.Milliseconds())+1, d.slots())
}

// absent returns which of the first rows of a day have no values, and their number.
func (d dayOf) absent(rows []sample.Row) (spans []Span, n int) {
	var slots []int
	for slot, r := range rows {
		if !measured(r) {
			slots = append(slots, slot)
		}
	}
	return d.spans(slots), len(slots)
}

// spans are the consecutive ones of slots, which are sorted.
func (d dayOf) spans(slots []int) []Span {
	var spans []Span
	for len(slots) > 0 {
		n := 1
		for n < len(slots) && slots[n] == slots[0]+n {
			n++
		}
		spans = append(spans, Span{
			First: time.UnixMilli(d.time(slots[0])).UTC(), Last: time.UnixMilli(d.time(slots[n-1])).UTC(), Rows: n,
		})
		slots = slots[n:]
	}
	return spans
}
