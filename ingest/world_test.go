package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing/fstest"
	"time"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/internal/disk"
	"github.com/obskeep/obskeep/ingest/internal/disk/disktest"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// lines parses rows such as "1773532800000 12 -5": a time in milliseconds, and values, of
// which "-" is missing.
type lines struct{ elements []sample.Element }

var badLine = &sample.Rule{Format: "lines", Name: "BAD-LINE", Text: "a line is a time and its values"}

func (p lines) Parse(line []byte, _ sample.End, out *sample.Out) {
	fields := bytes.Fields(line)
	if len(fields) != len(p.elements)+1 {
		out.Fault(badLine, 1, line)
		return
	}
	t, err := strconv.ParseInt(string(fields[0]), 10, 64)
	row := sample.RowAt(t)
	for e := range p.elements {
		row.Values[e] = sample.Missing
		if string(fields[e+1]) != "-" {
			v, e2 := strconv.Atoi(string(fields[e+1]))
			err = errors.Join(err, e2)
			row.Values[e] = sample.Value(v)
		}
	}
	if err != nil {
		out.Fault(badLine, 1, line)
		return
	}
	*out.Row(t) = row
}
func (lines) Finish(*sample.Out)      {}
func (p lines) Series() sample.Series { return sample.Series{Elements: p.elements} }

// text writes rows as lines reads them.
func text(rows []sample.Row, elements int) []byte {
	var b bytes.Buffer
	for _, r := range rows {
		fmt.Fprint(&b, r.Time)
		for _, v := range r.Values[:elements] {
			if v.Measured() {
				fmt.Fprintf(&b, " %d", v)
			} else {
				b.WriteString(" -")
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// receiver is a sink in memory that knows what it has.
type receiver struct {
	fault  func(when string) bool // whether something goes wrong here; nil: never
	stored func(*ingest.Batch)    // is told of each batch that is stored; nil: nobody

	values   map[string]map[int64]sample.Row // by stream and time
	files    map[string]string               // bytes by name
	offered  map[julian.Date]int             // by the day on which it was, which clock tells
	clock    func() time.Time
	equal    int             // rows that it had already, beyond those that a batch says it repeats
	repeated int             // files that it had already, and said so
	known    map[string]bool // names whose acceptance the sender was told
	again    []string        // of these, those that were offered again
}

func newReceiver() *receiver {
	return &receiver{
		values: map[string]map[int64]sample.Row{}, files: map[string]string{}, known: map[string]bool{},
		offered: map[julian.Date]int{}, clock: time.Now,
	}
}

func (r *receiver) goesWrong(when string) bool { return r.fault != nil && r.fault(when) }

func (r *receiver) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	key := b.Name + "\n" + string(b.Data)
	r.offered[julian.DateOf(r.clock().UTC())]++
	if r.known[key] {
		r.again = append(r.again, b.Name)
	}
	switch {
	case ctx.Err() != nil, r.goesWrong("cut before"):
		return ingest.Receipt{Outcome: ingest.Unknown}
	case r.goesWrong("not now"):
		return ingest.Receipt{Outcome: ingest.Later, Text: "come back later"}
	case r.goesWrong("refuses"):
		return ingest.Receipt{Outcome: ingest.Refused, Text: "no"}
	}
	if _, ok := r.files[key]; ok {
		r.repeated++
		return ingest.Receipt{Outcome: ingest.Refused, Text: "the same file was uploaded before"}
	}
	r.files[key] = b.Name
	if r.stored != nil {
		r.stored(b)
	}
	of := r.values[b.Stream.Name]
	if of == nil {
		of = map[int64]sample.Row{}
		r.values[b.Stream.Name] = of
	}
	equal := 0
	for _, row := range b.Rows {
		if old, ok := of[row.Time]; ok && old == row && row.Values[0].Measured() {
			equal++
		}
		of[row.Time] = row
	}
	r.equal += max(0, equal-b.Repeat)
	if r.goesWrong("reply lost") {
		return ingest.Receipt{Outcome: ingest.Unknown}
	}
	r.known[key] = true
	return ingest.Receipt{Outcome: ingest.Stored, ID: strconv.Itoa(len(r.files))}
}

func (r *receiver) Ask(_ context.Context, b *ingest.Batch) ingest.Receipt {
	if r.goesWrong("no answer") {
		return ingest.Receipt{Outcome: ingest.Unknown}
	}
	key := b.Name + "\n" + string(b.Data)
	if _, ok := r.files[key]; !ok {
		return ingest.Receipt{Outcome: ingest.Later, Text: "come back later"}
	}
	r.known[key] = true
	return ingest.Receipt{Outcome: ingest.Stored}
}

// world has an instrument, a feed, and a receiver.
type world struct {
	now     time.Time
	fs      fstest.MapFS
	disk    *disktest.Disk
	to      *receiver
	streams []*ingest.Stream
	sink    ingest.Sink // nil: to
	blind   bool        // there is no mirror
	perDay  int
	feed    *ingest.Feed
}

var elements = []sample.Element{{Name: "X", Unit: "nT", Decimals: 2}, {Name: "Y", Unit: "nT", Decimals: 2}}

func newWorld(start time.Time, streams int, cut ingest.Cut) *world {
	w := &world{now: start, fs: fstest.MapFS{}, disk: disktest.New(), to: newReceiver()}
	for i := range streams {
		name := fmt.Sprintf("s%d", i)
		w.streams = append(w.streams, &ingest.Stream{
			Name:   name,
			Series: sample.Series{Station: "TST", Elements: elements, Cadence: time.Minute, Level: sample.Variation},
			Source: ingest.Source{
				FS:     w.fs,
				File:   julian.MustParsePattern(name + "-%Y-%j.txt").Format,
				Parser: func(string) sample.Parser { return lines{elements} },
			},
			Format: func(s sample.Series, rows []sample.Row) (string, []byte, error) {
				return fmt.Sprintf("%s-%d.txt", name, rows[0].Time), text(rows, len(elements)), nil
			},
			Cut: cut,
		})
	}
	return w
}

func (w *world) open() error {
	var err error
	var d disk.Disk = w.disk
	if w.blind {
		d = blind{d}
	}
	w.feed, err = ingest.OpenOn(w.config(), d)
	return err
}

func (w *world) config() ingest.Config {
	c := ingest.Config{Dir: "-", Streams: w.streams, Sink: w.sink, PerDay: w.perDay, Now: func() time.Time { return w.now }}
	if c.Sink == nil {
		c.Sink = w.to
	}
	return c
}

// blind is a disk on which nothing of a mirror stays.
type blind struct{ disk.Disk }

func (b blind) Open(name string, create bool) (disk.File, error) {
	if strings.HasPrefix(name, "mirror/") {
		return disktest.New().Open(name, create)
	}
	return b.Disk.Open(name, create)
}

// write makes the file of a stream and day hold these rows.
func (w *world) write(s *ingest.Stream, day julian.Date, data []byte) {
	w.fs[s.Source.File(day)] = &fstest.MapFile{Data: data, ModTime: w.now}
}

// rowsOf makes rows of a day from slot first on, before end.
func rowsOf(day julian.Date, first, end int, value func(slot int) sample.Value) []sample.Row {
	var rows []sample.Row
	for slot := first; slot < end; slot++ {
		r := sample.RowAt(day.In(time.UTC).Add(time.Duration(slot) * time.Minute).UnixMilli())
		r.Values[0], r.Values[1] = value(slot), -value(slot)
		rows = append(rows, r)
	}
	return rows
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
