package ingest

import (
	"cmp"
	"context"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

const (
	// journalMax and journalEach, of a stream, are from how many bytes on a journal is
	// begun anew.
	journalMax, journalEach = 256 << 10, 16 << 10
	// groupRows and groupBatches are how much is cut before it is sent.
	groupRows, groupBatches = 20_000, 100
	// olderEvery is how often the days before today are looked at.
	olderEvery = time.Minute
	// refusedFor is how long a refusal is believed: what the receiver has against a
	// batch may be mended there.
	refusedFor = 24 * time.Hour
	// early is how far ahead of this clock that of an instrument may be. Rows of up to
	// ahead wait for their time: it may be this clock that is wrong.
	early, ahead = 5 * time.Minute, 24 * time.Hour
	// pauseMin and pauseMax bound how long a sink is left alone that does not take a batch.
	pauseMin, pauseMax = time.Second, 5 * time.Minute
)

// Sweep looks at all files once, and delivers what is due: what is under way first, then
// the newest rows of all streams, then older ones, day by day. It returns when all of it
// is done, the sink does not take any more, or ctx ends. What it could not do the next
// sweep does. The error is the first of its own state, or of a source; a sink
// that does not take batches is none.
func (f *Feed) Sweep(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == errClosed {
		return errClosed
	}
	if f.broken != nil || f.journal.broken != nil {
		f.journal.close() // what is in it is read again
		if err := f.load(); err != nil {
			return err
		}
	}
	err := f.sweep(ctx)
	if f.journal.broken != nil {
		f.broken = f.journal.broken
	}
	return err
}

func (f *Feed) sweep(ctx context.Context) error {
	now := f.config.Now()
	if now.Before(f.swept) { // the clock was set back: no time is believed that it told
		clear(f.files)
		f.older, f.wait = time.Time{}, time.Time{}
	}
	f.swept = now
	if err := f.settleUnder(ctx); err != nil {
		return err
	}
	first, today := f.window()
	all := !now.Before(f.older) || now.UTC().Hour() == 0 // files of yesterday still grow
	failed := map[julian.Date]error{}
	for _, day := range newestFirst(first, today) {
		g := new(group)
		for _, s := range f.config.Streams {
			d := dayAt(s, day)
			if ctx.Err() != nil {
				break
			}
			if fl := f.files[d]; fl != nil && (fl.open == 0 && !all && day != today || fl.open > 0 && !f.awake(ctx) && now.Before(fl.due)) {
				continue
			}
			if err := f.visit(g, d, today); err != nil {
				failed[day] = cmp.Or(failed[day], err)
				f.config.Logger.Warn("source not read", "stream", s.Name, "day", day, "err", err)
			}
			if g.rows < groupRows && len(g.candidates) < groupBatches {
				continue
			}
			if err := f.deliver(ctx, g); err != nil {
				return err
			}
		}
		if err := f.deliver(ctx, g); err != nil {
			return err
		}
	}
	if f.awake(ctx) {
		if err := f.shut(failed); err != nil {
			return err
		}
		if all {
			f.older = now.Add(olderEvery)
		}
		maps.DeleteFunc(f.files, func(d dayOf, _ *file) bool { return d.date.Compare(first) < 0 })
	}
	if f.journal.size > int64(journalMax+journalEach*len(f.config.Streams)) {
		if err := f.restart(); err != nil {
			return err
		}
	}
	for _, day := range newestFirst(first, today) {
		if err := failed[day]; err != nil {
			return err
		}
	}
	return nil
}

// window returns the days that are looked at.
func (f *Feed) window() (first, today julian.Date) {
	today = julian.DateOf(f.config.Now().UTC())
	first = today.AddDays(-f.config.Days)
	if next := f.closed.AddDays(1); f.closed.IsValid() && next.Compare(first) < 0 {
		first = next
	}
	return first, today
}

// newestFirst returns the newest day, and then the others, the oldest first.
func newestFirst(first, newest julian.Date) []julian.Date {
	days := []julian.Date{newest}
	for day := first; day.Compare(newest) < 0; day = day.AddDays(1) {
		days = append(days, day)
	}
	return days
}

// shut closes the days that are due, unless something of them is left to be done.
func (f *Feed) shut(failed map[julian.Date]error) error {
	day, today := f.window()
	if f.closed.IsValid() && f.closed.Compare(today) < 0 { // the clock may have been set back
		day = f.closed.AddDays(1)
	}
	for ; !f.config.Now().Before(day.AddDays(1).In(time.UTC).Add(f.config.Deadline)); day = day.AddDays(1) {
		if failed[day] != nil || slices.ContainsFunc(f.under, func(b *batch) bool { return b.day.date == day }) {
			break
		}
		missing := 0
		for _, s := range f.config.Streams {
			d := dayAt(s, day)
			if fl := f.files[d]; fl != nil && fl.open > 0 {
				return nil
			}
			if day.Compare(f.since) < 0 {
				continue
			}
			rows, err := f.mirror.read(d, span{0, d.slots()})
			if err != nil {
				return err
			}
			if spans, n := d.absent(rows); n > 0 {
				missing += n
				f.config.Logger.Warn("declared missing", "stream", s.Name, "day", day, "rows", n, "spans", spans)
			}
		}
		if err := f.journal.write(entry{Closed: &closedEntry{day}}); err != nil {
			return err
		}
		f.counts.Missing += missing
		f.closed = day
	}
	return nil
}

// awake reports whether the sink is to be offered anything now.
func (f *Feed) awake(ctx context.Context) bool {
	return ctx.Err() == nil && !f.config.Now().Before(f.wait)
}

// group are batches that are cut, written down and sent together.
type group struct {
	candidates []candidate
	visits     []*visit
	rows       int
}

// candidate is a piece that is to be a batch.
type candidate struct {
	piece
	day   dayOf
	visit *visit
}

// visit is a look at a file, and what comes of it.
type visit struct {
	file    *file
	reading *reading
	rest    []sample.Row // those that are not settled
	left    bool         // something is to be done later
	due     time.Time
}

// visit looks at a file, and adds to the group what is to be sent.
func (f *Feed) visit(g *group, d dayOf, today julian.Date) error {
	fl := f.files[d]
	if fl == nil {
		fl = &file{dayOf: d}
		f.files[d] = fl
	}
	r, err := f.look(fl)
	if r == nil {
		return err
	}
	v := &visit{file: fl, reading: r}
	if err := f.cut(g, v, today); err != nil {
		fl.again() // its parser has read on
		return err
	}
	g.visits = append(g.visits, v)
	return nil
}

// cut adds to the group what a visit has found to be sent.
func (f *Feed) cut(g *group, v *visit, today julian.Date) error {
	d, now := v.file.dayOf, f.config.Now()
	days := map[julian.Date][]sample.Row{d.date: v.reading.rows}
	if slices.ContainsFunc(v.reading.rows, func(r sample.Row) bool { return !d.has(r.Time) }) {
		clear(days)
		for _, row := range v.reading.rows {
			date := julian.DateOf(row.UTC())
			days[date] = append(days[date], row)
		}
	}
	for _, date := range slices.SortedFunc(maps.Keys(days), julian.Date.Compare) {
		rows := days[date]
		if first, _ := f.window(); date.Compare(first) < 0 {
			f.counts.Quarantined += len(rows)
			continue
		}
		of := dayAt(d.Stream, date)
		view, err := f.view(of, rows, date != d.date, now)
		if err != nil {
			return err
		}
		if view == nil {
			continue
		}
		view.newest = date == today || date == today.AddDays(-1) && !exists(d.Source, today)
		pieces, left, due := d.Cut.pieces(view, now.UnixMilli())
		v.rest = append(v.rest, view.unsettled()...)
		for _, p := range pieces {
			g.candidates = append(g.candidates, candidate{p, of, v})
			g.rows += len(p.rows)
		}
		if left {
			if at := time.UnixMilli(due); !v.left || at.Before(v.due) {
				v.due = at
			}
			v.left = true
		}
	}
	return nil
}

func exists(s Source, date julian.Date) bool {
	_, err := fs.Stat(s.FS, s.File(date))
	return err == nil
}

// margin is how many rows around those that were read are looked at, too: a batch may
// take one of them in.
const margin = 2

// view is what is known of the part of a day that these rows are of; nil if there is none.
func (f *Feed) view(d dayOf, rows []sample.Row, foreign bool, now time.Time) (*view, error) {
	first, end := d.slots(), 0
	good := make([]sample.Row, 0, len(rows))
	for _, r := range rows {
		slot, ok := d.slot(r.Time)
		if !ok || r.Time > now.Add(ahead).UnixMilli() {
			f.counts.Quarantined++
			continue
		}
		first, end = min(first, slot), max(end, slot+1)
		good = append(good, r)
	}
	if len(good) == 0 {
		return nil, nil
	}
	first, end = max(0, first-margin), min(d.slots(), end+margin)
	v := &view{
		dayOf: d, foreign: foreign, from: first, source: make([]sample.Row, end-first),
		until: now.Add(-d.Cut.Age).UnixMilli(),
	}
	if d.Cut.Age == 0 {
		v.until = now.Add(early).UnixMilli()
	}
	for i := range v.source {
		v.source[i] = d.missing(first + i)
	}
	for _, r := range good {
		slot, _ := d.slot(r.Time)
		copy(v.source[slot-first].Values[:len(d.Elements)], r.Values[:])
	}
	var err error
	if v.accepted, err = f.mirror.read(d, span{first, end}); err != nil {
		return nil, err
	}
	if v.cut, err = f.mirror.spans(d); err != nil {
		return nil, err
	}
	for _, b := range f.under {
		if b.day == d {
			v.busy = append(v.busy, b.cut.span())
		}
	}
	for _, c := range f.refused {
		if c.Stream == d.Name && c.Day == d.date && now.Sub(c.At) < refusedFor {
			v.refused = append(v.refused, f.newBatch(c).offer.Rows...)
		}
	}
	v.judge()
	return v, nil
}

// deliver cuts what the budget allows of a group, writes it down, and sends it.
func (f *Feed) deliver(ctx context.Context, g *group) error {
	slices.SortStableFunc(g.candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.day.time(a.first), b.day.time(b.first)))
	})
	now := f.config.Now().UTC()
	var entries []entry
	var batches []*batch
	visits := map[*batch]*visit{}
	for i, c := range g.candidates {
		overlaps := slices.ContainsFunc(g.candidates[:i], func(o candidate) bool {
			return o.day == c.day && o.first < c.end && c.first < o.end
		})
		if !f.awake(ctx) { // what waits is known all the same
			c.visit.left, c.visit.due = true, f.wait
			continue
		}
		if overlaps || !f.budget.allows(f.config.PerDay, c.kind, now) {
			c.visit.left, c.visit.due = true, now
			continue
		}
		name, data, err := c.day.Format(c.day.Series, c.rows)
		if err != nil {
			c.visit.left, c.visit.due = true, now.Add(olderEvery)
			f.config.Logger.Warn("not cut", "stream", c.day.Name, "day", c.day.date, "err", err)
			continue
		}
		e := cutEntry{
			Batch: f.next, At: now, Stream: c.day.Name, Day: c.day.date, First: c.first, Repeat: c.repeat,
			Kind: c.kind, Name: name, Data: data,
		}
		for _, r := range c.rows {
			e.Rows = append(e.Rows, slices.Clone(r.Values[:len(c.day.Elements)]))
		}
		f.next++
		f.budget.count(c.kind, now)
		b := f.newBatch(e)
		batches = append(batches, b)
		visits[b] = c.visit
		entries = append(entries, entry{Cut: &b.cut}, entry{Try: &tryEntry{e.Batch, now}})
	}
	if len(entries) > 0 {
		if err := f.journal.write(entries...); err != nil {
			return err
		}
		f.under = append(f.under, batches...)
		for _, b := range batches {
			if err := f.mirror.cut(b.day, b.cut.span()); err != nil {
				return f.fail(err)
			}
		}
		if err := f.send(ctx, batches); err != nil {
			return err
		}
	}
	for b, v := range visits {
		if slices.Contains(f.under, b) {
			v.left, v.due = true, now
			continue
		}
		v.rest = slices.DeleteFunc(v.rest, func(r sample.Row) bool {
			slot, ok := b.day.slot(r.Time)
			return ok && b.cut.First <= slot && slot < b.cut.span().end
		})
	}
	for _, v := range g.visits {
		if !v.left {
			v.rest = nil
		}
		v.file.settle(v.reading, v.rest, v.due)
		if !f.awake(ctx) {
			v.file.forget() // nobody knows for how long they wait
		}
	}
	*g = group{}
	return nil
}

// fail remembers that the state has to be read again.
func (f *Feed) fail(err error) error {
	f.journal.broken = cmp.Or(f.journal.broken, err)
	return err
}

// send offers batches that are written down, and writes down what became of them.
func (f *Feed) send(ctx context.Context, batches []*batch) error {
	var entries []entry
	outcomes := map[*batch]Outcome{}
	for _, b := range batches {
		outcome := Later // it was not offered
		var r Receipt
		if f.awake(ctx) {
			r = f.offer(ctx, b)
			outcome = r.Outcome
		}
		outcomes[b] = outcome
		f.counts.Batches[outcome]++
		if outcome == Unknown {
			continue
		}
		entries = append(entries, entry{Outcome: &outcomeEntry{b.cut.Batch, f.config.Now().UTC(), outcome, r.ID, r.Text}})
	}
	if len(entries) == 0 {
		return nil
	}
	if err := f.journal.write(entries...); err != nil {
		return err
	}
	for _, b := range batches {
		if outcomes[b] == Stored {
			f.counts.Accepted += len(b.offer.Rows)
			f.counts.Repeated += b.cut.Repeat
			if b.cut.Kind == Correction {
				f.counts.Corrections += len(b.offer.Rows) - b.cut.Repeat
			}
		}
		if err := f.apply(b, outcomes[b]); err != nil {
			return f.fail(err)
		}
	}
	return nil
}

// offer offers a batch once, and finds out what became of it as far as the sink can tell.
func (f *Feed) offer(ctx context.Context, b *batch) Receipt {
	at := f.config.Now().UTC()
	r := f.config.Sink.Send(ctx, &b.offer)
	if r.Outcome == Unknown {
		b.offer.Doubt = at
	}
	if asker, ok := f.config.Sink.(Asker); ok && (r.Outcome == Unknown || r.Outcome == Refused) && ctx.Err() == nil {
		// What is refused may have come before, in a try whose answer was lost.
		f.counts.Asked++
		if asked := asker.Ask(ctx, &b.offer); asked.Outcome != Later || r.Outcome == Unknown {
			r = asked
		}
	}
	f.heard(ctx, r)
	f.config.Logger.Info("offered", "stream", b.cut.Stream, "batch", b.cut.Batch, "name", b.cut.Name, "outcome", r.Outcome, "id", r.ID, "text", r.Text)
	return r
}

// heard remembers an answer of the sink, and leaves it alone for a while if it does not take
// what it is offered.
func (f *Feed) heard(ctx context.Context, r Receipt) {
	switch {
	case r.Outcome == Stored:
		f.pause, f.trouble = 0, ""
	case r.Outcome == Refused:
		f.pause, f.trouble, f.refusal = 0, "", r.Text
	case ctx.Err() != nil: // it was not the sink that ended it
	default:
		f.pause = min(max(2*f.pause, pauseMin), pauseMax)
		f.wait = f.config.Now().Add(f.pause)
		f.trouble = r.Text
	}
}

// settleUnder sees to what an earlier sweep, or another process, has left under way.
func (f *Feed) settleUnder(ctx context.Context) error {
	asker, canAsk := f.config.Sink.(Asker)
	for _, b := range slices.Clone(f.under) {
		if !f.awake(ctx) {
			return nil
		}
		if !b.offer.Doubt.IsZero() && canAsk {
			f.counts.Asked++
			r := asker.Ask(ctx, &b.offer)
			if r.Outcome == Unknown {
				f.heard(ctx, r)
				return nil
			}
			if err := f.journal.write(entry{Outcome: &outcomeEntry{b.cut.Batch, f.config.Now().UTC(), r.Outcome, r.ID, r.Text}}); err != nil {
				return err
			}
			if err := f.apply(b, r.Outcome); err != nil {
				return f.fail(err)
			}
			if r.Outcome != Later {
				continue
			}
		}
		now := f.config.Now().UTC()
		if !f.budget.allows(f.config.PerDay, b.cut.Kind, now) {
			continue
		}
		if err := f.journal.write(entry{Try: &tryEntry{b.cut.Batch, now}}); err != nil {
			return err
		}
		f.budget.count(b.cut.Kind, now)
		if err := f.send(ctx, []*batch{b}); err != nil {
			return err
		}
	}
	return nil
}
