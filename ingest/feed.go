package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/obskeep/obskeep/ingest/internal/disk"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/internal/filelock"
	"github.com/obskeep/obskeep/julian"
)

// Config says what a [Feed] delivers where. Dir, Streams and Sink are required.
type Config struct {
	// Dir is the folder of the feed's state, and of nothing else. It is made if
	// missing. One process at a time has it.
	Dir string

	Streams []*Stream
	Sink    Sink

	// PerDay is how many batches the sink takes on a day of UTC, of all streams
	// together. Four fifths are for live ones. Zero means any number.
	PerDay int

	// Days is how many days before today are looked at; those before are as well as
	// long as something of them is to be delivered. Zero means 7.
	Days int

	// Deadline is when a day is closed, counted from its end: what has not come by
	// then is declared missing. It is still delivered if it comes within Days. Zero
	// means 72 hours.
	Deadline time.Duration

	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
}

// Feed delivers the streams of one account to one sink. What it has delivered it
// remembers row by row, so that nothing is delivered twice, and what it was about to
// deliver it finds out. It is safe for concurrent use; one thing is done at a time.
type Feed struct {
	config Config
	disk   disk.Disk
	close  func() error

	mu      sync.Mutex
	broken  error // the state has to be read again
	journal *journal
	mirror  *mirror
	files   map[dayOf]*file
	reader  *sample.Reader

	next    uint64
	budget  budget
	under   []*batch // under way, in the order of their numbers
	refused []cutEntry
	since   julian.Date // the day on which the feed was begun: before it nothing is missing
	closed  julian.Date // the last day that is
	older   time.Time   // when days before today are looked at again
	swept   time.Time   // when the last sweep began
	wait    time.Time   // the sink is left alone until then
	pause   time.Duration
	trouble string // what the sink said when it did not take a batch
	refusal string // and when it refused one
	counts  Counts

	anchored int64 // as the constant; tests try without
}

// batch is one under way.
type batch struct {
	cut   cutEntry
	day   dayOf
	offer Batch // with its doubt: it may have arrived
}

// Counts count what a feed has done since it was opened.
type Counts struct {
	Rows        int    // that were read, each time
	Torn        int    // times that a last line had no end
	Faults      int    // lines at fault, each time
	Quarantined int    // rows that cannot be, each time: of days ahead, or off the cadence
	Batches     [4]int // by their outcome
	Accepted    int    // rows
	Corrections int    // rows accepted before with other values
	Repeated    int    // rows accepted before with the same values, since a batch could not be cut otherwise
	Asked       int    // questions what became of a batch
	Missing     int    // rows that were declared missing
}

// Open opens the state of a feed, and reads what was done before.
func Open(c Config) (*Feed, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("ingest: state: %w", err)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("ingest: state: %w", err)
	}
	lock, err := root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		if err = filelock.TryLock(lock); err != nil {
			lock.Close()
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ingest: state %s: %w", c.Dir, err), root.Close())
	}
	f, err := openOn(c, disk.Dir(root))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ingest: state %s: %w", c.Dir, err), lock.Close(), root.Close())
	}
	f.close = func() error { return errors.Join(lock.Close(), root.Close()) }
	return f, nil
}

func openOn(c Config, d disk.Disk) (*Feed, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f := c.feed(d)
	return f, f.load()
}

// check fills in what is zero, and returns what is wrong.
func (c *Config) check() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Days = cmp.Or(c.Days, 7)
	c.Deadline = cmp.Or(c.Deadline, 72*time.Hour)
	if c.Sink == nil {
		return fmt.Errorf("%w: there is no sink", ErrConfig)
	}
	names := map[string]bool{}
	for _, s := range c.Streams {
		switch {
		case s.Name == "" || s.Name != filepath.Base(s.Name) || names[s.Name]:
			return fmt.Errorf("%w: a stream is named %q, want a name of a folder that no other has", ErrConfig, s.Name)
		case s.Cadence <= 0 || (24*time.Hour)%s.Cadence != 0 || s.Cadence%time.Millisecond != 0:
			return fmt.Errorf("%w: stream %s: a cadence of %v is not a part of a day", ErrConfig, s.Name, s.Cadence)
		case len(s.Elements) == 0 || len(s.Elements) > sample.MaxElements:
			return fmt.Errorf("%w: stream %s has %d elements", ErrConfig, s.Name, len(s.Elements))
		case s.Source.FS == nil || s.Source.File == nil || s.Source.Parser == nil || s.Format == nil:
			return fmt.Errorf("%w: stream %s: its source and its format are not all given", ErrConfig, s.Name)
		case s.Cut.Least > 2 || s.Cut.Least < 0 || s.Cut.Every < 0 || s.Cut.Fill < 0 || s.Cut.Age < 0:
			return fmt.Errorf("%w: stream %s cannot be cut as %+v", ErrConfig, s.Name, s.Cut)
		}
		names[s.Name] = true
	}
	if c.Days < 0 || c.Deadline < 0 || c.PerDay < 0 {
		return fmt.Errorf("%w: a number is negative", ErrConfig)
	}
	return nil
}

// feed is one whose journal is not read.
func (c *Config) feed(d disk.Disk) *Feed {
	return &Feed{
		config: *c, disk: d, close: func() error { return nil }, mirror: newMirror(d),
		reader: sample.NewReader(nil, nil, nil), anchored: anchored,
	}
}

// load reads the state, and begins the journal anew: what was read, and seems to be there,
// may not have reached the disk.
func (f *Feed) load() error {
	if err := f.mirror.close(); err != nil {
		return err
	}
	f.mirror = newMirror(f.disk)
	f.files = map[dayOf]*file{}
	f.under, f.refused = nil, nil
	f.next, f.budget = 1, budget{}
	f.since, f.closed = julian.DateOf(f.config.Now().UTC()), julian.Date{}
	f.wait, f.pause, f.older = time.Time{}, 0, time.Time{}
	f.journal = &journal{disk: f.disk}
	var failed error
	f.broken = readJournal(f.disk, func(e entry) {
		if failed == nil {
			failed = f.replay(e)
		}
	})
	f.broken = cmp.Or(f.broken, failed)
	if f.broken == nil {
		f.broken = f.restart()
	}
	return f.broken
}

// begin is the first entry of a journal.
func (f *Feed) begin() entry {
	b := &beginEntry{At: f.config.Now().UTC(), Next: f.next, Budget: f.budget, Since: f.since, Closed: f.closed}
	for _, c := range f.refused {
		c.Data = nil
		b.Refused = append(b.Refused, c)
	}
	return entry{Begin: b}
}

// replay takes an entry of the journal.
func (f *Feed) replay(e entry) error {
	switch {
	case e.Begin != nil:
		f.next, f.budget = max(f.next, e.Begin.Next), e.Begin.Budget
		f.refused, f.since, f.closed = e.Begin.Refused, e.Begin.Since, e.Begin.Closed
	case e.Cut != nil:
		f.next = max(f.next, e.Cut.Batch+1)
		b := f.newBatch(*e.Cut)
		if b == nil {
			return nil // of a stream that is not configured any more
		}
		f.under = append(f.under, b)
		return f.mirror.cut(b.day, b.cut.span())
	case e.Try != nil:
		if b := f.find(e.Try.Batch); b != nil {
			b.offer.Doubt = e.Try.At
			f.budget.count(b.cut.Kind, e.Try.At)
		}
	case e.Outcome != nil:
		if b := f.find(e.Outcome.Batch); b != nil {
			return f.apply(b, e.Outcome.Outcome)
		}
	case e.Closed != nil:
		f.closed = e.Closed.Day
	case e.Lost != nil:
		if s := f.stream(e.Lost.Stream); s != nil {
			return f.mirror.forget(dayAt(s, e.Lost.Day), span{e.Lost.First, e.Lost.End})
		}
	}
	return nil
}

// apply changes the state by an outcome, which is in the journal.
func (f *Feed) apply(b *batch, o Outcome) error {
	switch o {
	case Later:
		b.offer.Doubt = time.Time{}
		return nil
	case Unknown:
		return nil
	case Refused:
		b.cut.Data = nil
		f.refused = append(f.refused, b.cut)
	case Stored:
		if err := f.mirror.write(b.day, b.cut.First, b.offer.Rows); err != nil {
			return err
		}
	}
	f.under = slices.DeleteFunc(f.under, func(u *batch) bool { return u == b })
	return nil
}

func (f *Feed) find(number uint64) *batch {
	for _, b := range f.under {
		if b.cut.Batch == number {
			return b
		}
	}
	return nil
}

func (f *Feed) stream(name string) *Stream {
	for _, s := range f.config.Streams {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// newBatch makes a batch of its entry; nil if there is no such stream.
func (f *Feed) newBatch(c cutEntry) *batch {
	s := f.stream(c.Stream)
	if s == nil {
		return nil
	}
	b := &batch{cut: c, day: dayAt(s, c.Day)}
	b.offer = Batch{Number: c.Batch, Stream: s, Rows: b.rows(), Kind: c.Kind, Repeat: c.Repeat, Name: c.Name, Data: c.Data, Doubt: c.Doubt}
	return b
}

// rows are those of the entry.
func (b *batch) rows() []sample.Row {
	rows := make([]sample.Row, len(b.cut.Rows))
	for i, values := range b.cut.Rows {
		rows[i] = sample.RowAt(b.day.time(b.cut.First + i))
		copy(rows[i].Values[:], values)
	}
	return rows
}

// Close ends the feed, whose state is then quick to be read again.
func (f *Feed) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var err error
	if f.broken == nil {
		err = f.restart()
	}
	err = errors.Join(err, f.mirror.close(), f.journal.close())
	f.broken = errClosed
	return errors.Join(err, f.close())
}

var errClosed = errors.New("ingest: the feed is closed")

// restart begins the journal anew, with what is under way.
func (f *Feed) restart() error {
	if err := f.mirror.sync(); err != nil {
		return err
	}
	first, _ := f.window()
	f.refused = slices.DeleteFunc(f.refused, func(c cutEntry) bool { return c.Day.Compare(first) < 0 })
	entries := []entry{f.begin()}
	for _, b := range f.under {
		cut := b.cut
		cut.Doubt = b.offer.Doubt
		entries = append(entries, entry{Cut: &cut})
	}
	return f.journal.restart(entries)
}
