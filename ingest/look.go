package ingest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// file is the file of a day of a stream, which grows, and may change in other ways.
// What is remembered of it saves reading; what is to be sent the mirror tells.
type file struct {
	dayOf
	size     int64
	modified time.Time // as it was when it was read

	parser sample.Parser   // that has read it up to end; nil: all of it is to be read
	end    sample.Position // of its whole lines
	torn   int64           // bytes behind them
	done   bool            // the last line was taken without its end
	anchor [sha256.Size]byte
	whole  time.Time // when all of it was read

	rest []sample.Row // that were read and are not settled
	open int          // how many these are, also where they are not remembered
	due  time.Time    // when they are to be looked at again

	faults int            // lines at fault
	aside  map[string]int // values that the filter has set aside, by its rules
}

const (
	// anchored is how many bytes before file.end are compared.
	anchored = 4 << 10
	// tornFor is how long a last line without an end has to stand to be the last.
	tornFor = time.Minute
	// restMax is how many rows are remembered of a file. Where more wait, all is read again.
	restMax = 2000
)

// reread is how long a file that seems not to have changed is believed.
func (fl *file) reread(now time.Time) time.Duration {
	age := now.Sub(fl.date.AddDays(1).In(time.UTC))
	switch {
	case age < 0:
		return 10 * time.Minute
	case age < 24*time.Hour:
		return time.Hour
	}
	return 24 * time.Hour
}

// again makes the next look read all of the file.
func (fl *file) again() { fl.parser, fl.due = nil, time.Time{} }

// settle remembers a file after a reading, of which these rows are left for later.
func (fl *file) settle(r *reading, rest []sample.Row, due time.Time) {
	*fl = *r.next
	fl.rest, fl.open, fl.due = rest, len(rest), due
	if len(rest) > restMax {
		fl.forget()
	}
}

// forget forgets the rows that are left, but not how many they are. All is read again
// when they are due.
func (fl *file) forget() {
	if fl.open > 0 {
		fl.rest, fl.parser = nil, nil
	}
}

// reading is what a look at a file has found.
type reading struct {
	rows []sample.Row // that are not settled, or not known to be
	next *file        // what the file is from now on
}

// look reads what is new in a file, or all of it. It returns nil if there is nothing to do.
func (f *Feed) look(fl *file) (*reading, error) {
	now := f.config.Now()
	fi, err := fs.Stat(fl.Source.FS, fl.Source.File(fl.date))
	if err != nil {
		return nil, fl.wrong(err)
	}
	same := fi.Size() == fl.size && fi.ModTime().Equal(fl.modified)
	old := now.Sub(fl.whole) >= fl.reread(now)
	finished := fl.torn > 0 && same && now.Sub(fl.modified) >= tornFor
	if same && !old && !finished {
		switch {
		case fl.open > 0 && now.Before(fl.due), fl.open == 0 && fl.parser != nil:
			return nil, nil
		case fl.parser != nil:
			return &reading{rows: fl.rest, next: fl}, nil
		}
	}

	src, err := open(fl.dayOf)
	if err != nil {
		return nil, fl.wrong(err)
	}
	defer src.Close()
	next := *fl
	next.size, next.modified, next.done = src.Size(), src.ModTime(), finished
	grown := fl.reach() == 0 && fl.parser != nil && next.size > fl.size && !old && !finished && !fl.done &&
		f.anchorOf(src, fl.end.Offset) == fl.anchor
	if !grown {
		next.parser, next.end, next.whole = fl.Source.Parser(src.Name()), sample.Position{}, now
		next.rest, next.faults, next.aside = nil, 0, nil
	}
	rows, err := f.read(&next, src)
	if err == nil && fl.Filter != nil {
		rows, err = f.filtered(&next, rows)
	}
	if err != nil {
		return nil, fl.wrong(err)
	}
	next.anchor = f.anchorOf(src, next.end.Offset)
	if len(next.rest) > 0 {
		rows = slices.Concat(next.rest, rows)
	}
	return &reading{rows: rows, next: &next}, nil
}

// wrong says what is wrong with a file. That it is not there is not: it may come back.
func (fl *file) wrong(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		*fl = file{dayOf: fl.dayOf}
		return nil
	}
	fl.again() // its parser may have read on
	return fmt.Errorf("source of %v: %s: %w", fl.dayOf, fl.Source.File(fl.date), err)
}

// read reads rows from fl.end on, and moves it.
func (f *Feed) read(fl *file, src *source) ([]sample.Row, error) {
	f.reader.Reset(io.NewSectionReader(src, fl.end.Offset, fl.size-fl.end.Offset), fl.parser, &sample.Options{
		Mode: sample.Lenient, Name: src.Name(), Growing: !fl.done, Start: fl.end,
		Report: func(fault *sample.Fault) {
			fl.faults++
			f.counts.Faults++
			f.config.Logger.Debug("fault", "fault", fault)
		},
	})
	rows := make([]sample.Row, 0, min(fl.slots(), int(fl.size-fl.end.Offset)/16))
	for {
		row, err := f.reader.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	if err := agrees(fl.parser.Series(), fl.of()); err != nil && len(rows) > 0 {
		return nil, err
	}
	fl.end, fl.torn = f.reader.Position(), f.reader.Torn()
	f.counts.Rows += len(rows)
	if fl.torn > 0 {
		f.counts.Torn++
	}
	return rows, nil
}

// reach is how far the rows lie apart that one is made from.
func (d dayOf) reach() time.Duration {
	if d.Filter == nil {
		return 0
	}
	return d.Filter.Reach()
}

// filtered are the rows of a stream that follow from those that were read of a file.
func (f *Feed) filtered(fl *file, rows []sample.Row) ([]sample.Row, error) {
	from, to := fl.start, fl.time(fl.slots())
	reach := fl.reach()
	if reach > 0 {
		for _, date := range []julian.Date{fl.date.AddDays(-1), fl.date.AddDays(1)} {
			beside, err := f.all(dayAt(fl.Stream, date))
			if err != nil {
				return nil, err
			}
			for _, r := range beside {
				if r.Time >= from-reach.Milliseconds() && r.Time < to+reach.Milliseconds() {
					rows = append(rows, r)
				}
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b sample.Row) int { return cmp.Compare(a.Time, b.Time) })
	last := rows[:0] // of rows of one time, the last stands
	for i, r := range rows {
		if i+1 == len(rows) || rows[i+1].Time != r.Time {
			last = append(last, r)
		}
	}
	fl.aside = maps.Clone(fl.aside)
	made := fl.Filter.Apply(last, func(rule string, values int) {
		if fl.aside == nil {
			fl.aside = map[string]int{}
		}
		fl.aside[rule] += values
	})
	if reach > 0 {
		made = slices.DeleteFunc(made, func(r sample.Row) bool { return r.Time < from || r.Time >= to })
	}
	return made, nil
}

// all reads all rows of a day that are there, unfiltered.
func (f *Feed) all(d dayOf) ([]sample.Row, error) {
	src, err := open(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return f.read(&file{dayOf: d, size: src.Size(), parser: d.Source.Parser(src.Name())}, src)
}

// source is an open file of a source, as it was when it was opened.
type source struct {
	fs.File
	fs.FileInfo
	io.ReaderAt
}

func open(d dayOf) (*source, error) {
	f, err := d.Source.FS.Open(d.Source.File(d.date))
	if err != nil {
		return nil, err
	}
	s := &source{File: f}
	if s.FileInfo, err = f.Stat(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if at, ok := f.(io.ReaderAt); ok {
		s.ReaderAt = at
		return s, nil
	}
	data, err := io.ReadAll(io.LimitReader(f, s.Size()))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.ReaderAt = bytes.NewReader(data)
	return s, nil
}

func (f *Feed) anchorOf(src io.ReaderAt, end int64) [sha256.Size]byte {
	data := make([]byte, min(end, f.anchored))
	n, err := src.ReadAt(data, end-int64(len(data)))
	if n < len(data) && err != nil {
		return [sha256.Size]byte{} // shorter than it was: not the same
	}
	return sha256.Sum256(data)
}
