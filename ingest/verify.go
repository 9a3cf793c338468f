package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/obskeep/obskeep/ingest/internal/disk"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// Check is what was found of a day of a stream.
type Check struct {
	Stream string
	Day    julian.Date

	Source   int    // rows with values that the source makes
	Accepted int    // rows that the sink has accepted
	Waiting  []Span // rows of the source that it has not, or has with other values

	Asked bool   // the sink is a [Holder], and has said what it holds
	Held  int    // rows with values that it holds
	Lost  []Span // rows that it has accepted, and does not hold, or with other values
}

// Verify compares a day of each stream: what its source has, what its sink has accepted, and
// what that says it holds, row by row. It changes nothing, and may be called while a
// feed is at work on the state. The order is that of the streams.
func Verify(ctx context.Context, c Config, day julian.Date) ([]Check, error) {
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("ingest: state: %w", err)
	}
	defer root.Close()
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.feed(disk.Dir(root)).verify(ctx, day)
}

func (f *Feed) verify(ctx context.Context, day julian.Date) ([]Check, error) {
	var checks []Check
	for _, s := range f.config.Streams {
		d := dayAt(s, day)
		c := Check{Stream: s.Name, Day: day}
		accepted, err := f.mirror.read(d, span{0, d.slots()})
		if err != nil {
			return nil, err
		}
		source, err := f.now(d)
		if err != nil {
			return nil, err
		}
		c.Accepted, c.Source = number(accepted), number(source)
		c.Waiting = d.differ(source, accepted)
		if holder, ok := f.config.Sink.(Holder); ok {
			rows, err := holder.Held(ctx, s, day)
			if err != nil {
				return nil, fmt.Errorf("what is held of %v: %w", d, err)
			}
			held := d.laidOut(rows)
			c.Asked, c.Held = true, number(held)
			c.Lost = d.differ(accepted, held)
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// now returns the rows of a day as its source makes them now.
func (f *Feed) now(d dayOf) ([]sample.Row, error) {
	fl := &file{dayOf: d}
	rows, err := f.all(d)
	if err == nil && d.Filter != nil {
		rows, err = f.filtered(fl, rows)
	}
	if err != nil {
		return nil, fl.wrong(err)
	}
	return d.laidOut(rows), nil
}

// laidOut puts rows in their slots, and leaves others out.
func (d dayOf) laidOut(rows []sample.Row) []sample.Row {
	all := make([]sample.Row, d.slots())
	for slot := range all {
		all[slot] = d.missing(slot)
	}
	for _, r := range rows {
		if slot, ok := d.slot(r.Time); ok {
			copy(all[slot].Values[:len(d.Elements)], r.Values[:])
		}
	}
	return all
}

func number(rows []sample.Row) (n int) {
	for _, r := range rows {
		if measured(r) {
			n++
		}
	}
	return n
}

// differ returns the rows that have values which others do not have.
func (d dayOf) differ(rows, others []sample.Row) []Span {
	var slots []int
	for slot, r := range rows {
		for e := range d.Elements {
			if r.Values[e].Measured() && r.Values[e] != others[slot].Values[e] {
				slots = append(slots, slot)
				break
			}
		}
	}
	return d.spans(slots)
}

// ErrClosed is returned for rows of a day that a feed does not look at any more.
var ErrClosed = errors.New("ingest: the day is not looked at any more")

// Resend makes rows be delivered again that the sink has lost, by the next sweep, if the
// source has them. When it returns nil that is durable.
func (f *Feed) Resend(stream string, lost []Span) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stream(stream)
	if s == nil {
		return fmt.Errorf("%w: there is no stream %q", ErrConfig, stream)
	}
	first, _ := f.window()
	var entries []entry
	for _, l := range lost {
		d := dayAt(s, julian.DateOf(l.First.UTC()))
		slot, ok := d.slot(l.First.UnixMilli())
		switch {
		case !ok || slot+l.Rows > d.slots():
			return fmt.Errorf("%w: %v has no %d rows from %s on", ErrConfig, d, l.Rows, l.First.UTC().Format(time.TimeOnly))
		case d.date.Compare(first) < 0:
			return fmt.Errorf("%w: %v; want Days to reach it", ErrClosed, d.date)
		}
		entries = append(entries, entry{Lost: &lostEntry{stream, d.date, slot, slot + l.Rows}})
	}
	if f.broken != nil || len(entries) == 0 {
		return f.broken
	}
	if err := f.journal.write(entries...); err != nil {
		return err
	}
	for _, e := range entries {
		if err := f.replay(e); err != nil {
			return f.fail(err)
		}
		if fl := f.files[dayAt(s, e.Lost.Day)]; fl != nil {
			fl.again()
		}
	}
	return nil
}
