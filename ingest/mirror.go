package ingest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/ingest/internal/disk"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// mirror is what a sink has accepted: for each stream and day a file with the values of
// each row, in their places. From it follows what is new, changed, or missing. It lags
// behind the journal, from which it is made again; it is never ahead of it.
//
// A file, integers in little-endian order:
//
//	offset  bytes  content
//	     0      8  "obskMIR" and the version as one byte, 1
//	     8      4  elements of a row, n
//	    12      4  rows of a day, m
//	    16  4·n·m  values of each row, as v-Missing, so that what is not there is Missing
//	     -    8·k  each batch that was cut: its first row and the one behind its last
type mirror struct {
	disk  disk.Disk
	dirty map[dayOf]bool      // files that are not synced
	files map[dayOf]disk.File // that are open
}

func newMirror(d disk.Disk) *mirror {
	return &mirror{d, map[dayOf]bool{}, map[dayOf]disk.File{}}
}

const (
	mirrorOpen = 256 // files at a time

	mirrorMagic = "obskMIR\x01"
	mirrorHead  = 16
)

// dayOf is a day of a stream, whose rows have numbers from 0 on, their slots.
type dayOf struct {
	*Stream
	date  julian.Date
	start int64 // of the first row, in milliseconds
}

func dayAt(s *Stream, date julian.Date) dayOf { return dayOf{s, date, date.In(time.UTC).UnixMilli()} }

func (d dayOf) slots() int { return int(24 * time.Hour / d.Cadence) }

func (d dayOf) time(slot int) int64 { return d.start + int64(slot)*d.Cadence.Milliseconds() }

// slot returns the slot of a time, if it is the time of one.
func (d dayOf) slot(t int64) (int, bool) {
	since, each := t-d.start, d.Cadence.Milliseconds()
	return int(since / each), since >= 0 && since%each == 0 && since/each < int64(d.slots())
}

// missing is the row of a slot that is not there.
func (d dayOf) missing(slot int) sample.Row {
	r := sample.RowAt(d.time(slot))
	for e := range d.Elements {
		r.Values[e] = sample.Missing
	}
	return r
}

// has reports whether a time is one of the day.
func (d dayOf) has(t int64) bool { return t >= d.start && t < d.start+24*60*60*1000 }

func (d dayOf) file() string {
	return path.Join("mirror", d.Name, fmt.Sprintf("%v.rows", d.date))
}

func (d dayOf) String() string { return fmt.Sprintf("%s of %v", d.Name, d.date) }

// span are the slots from first on, before end.
type span struct{ first, end int }

func (s span) len() int { return s.end - s.first }

// open returns the file of a day; nil if there is none and create is not set.
func (m *mirror) open(d dayOf, create bool) (disk.File, error) {
	if f := m.files[d]; f != nil {
		return f, nil
	}
	if len(m.files) >= mirrorOpen {
		if err := m.close(); err != nil {
			return nil, err
		}
	}
	f, err := m.disk.Open(d.file(), create)
	if errors.Is(err, fs.ErrNotExist) && !create {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	head := make([]byte, mirrorHead)
	want := slices.Clone([]byte(mirrorMagic))
	want = binary.LittleEndian.AppendUint32(want, uint32(len(d.Elements)))
	want = binary.LittleEndian.AppendUint32(want, uint32(d.slots()))
	_, err = f.ReadAt(head, 0)
	torn, wrong := false, false
	for i := range want {
		torn = torn || head[i] != want[i]
		wrong = wrong || head[i] != want[i] && head[i] != 0
	}
	switch {
	case ignoreEOF(err) != nil:
		f.Close()
		return nil, fmt.Errorf("mirror: %w", err)
	case torn && !wrong:
		// It is new, or was when the power went: all of it is in the journal.
		if !create {
			return nil, f.Close()
		}
		if _, err := f.WriteAt(want, 0); err != nil {
			f.Close()
			return nil, fmt.Errorf("mirror: %w", err)
		}
	case wrong:
		f.Close()
		return nil, fmt.Errorf("mirror: %s is not of %d elements and %d rows: was the stream %s another before? Want another name for it", d.file(), len(d.Elements), d.slots(), d.Name)
	}
	m.files[d] = f
	return f, nil
}

// close closes the files that are open.
func (m *mirror) close() error {
	var err error
	for d, f := range m.files {
		err = errors.Join(err, f.Close())
		delete(m.files, d)
	}
	return err
}

func (d dayOf) offset(slot int) int64 { return mirrorHead + 4*int64(len(d.Elements))*int64(slot) }

// read returns the rows of some slots.
func (m *mirror) read(d dayOf, s span) ([]sample.Row, error) {
	data := make([]byte, d.offset(s.end)-d.offset(s.first))
	f, err := m.open(d, false)
	if err != nil {
		return nil, err
	}
	if f != nil {
		if _, err := f.ReadAt(data, d.offset(s.first)); ignoreEOF(err) != nil {
			return nil, fmt.Errorf("mirror: %w", err)
		}
	}
	rows := make([]sample.Row, s.len())
	for i := range rows {
		rows[i] = sample.RowAt(d.time(s.first + i))
		for e := range d.Elements {
			rows[i].Values[e] = sample.Missing + sample.Value(binary.LittleEndian.Uint32(data[4*(i*len(d.Elements)+e):]))
		}
	}
	return rows, nil
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// write puts the rows of an accepted batch in their places, if they are not there.
func (m *mirror) write(d dayOf, first int, rows []sample.Row) error {
	m.dirty[d] = true // also if it is there: perhaps not durably
	if have, err := m.read(d, span{first, first + len(rows)}); err != nil || slices.Equal(have, rows) {
		return err
	}
	var data []byte
	for _, r := range rows {
		for e := range d.Elements {
			data = binary.LittleEndian.AppendUint32(data, uint32(r.Values[e]-sample.Missing))
		}
	}
	return m.change(d, data, func(disk.File) (int64, error) { return d.offset(first), nil })
}

// forget takes rows out that are not there any more.
func (m *mirror) forget(d dayOf, s span) error {
	rows := make([]sample.Row, s.len())
	for i := range rows {
		rows[i] = d.missing(s.first + i)
	}
	return m.write(d, s.first, rows)
}

// spans returns the batches that were cut of a day.
func (m *mirror) spans(d dayOf) ([]span, error) {
	f, err := m.open(d, false)
	if f == nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	data := make([]byte, max(0, size-d.offset(d.slots()))/8*8)
	if _, err := f.ReadAt(data, d.offset(d.slots())); ignoreEOF(err) != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	spans := make([]span, len(data)/8)
	for i := range spans {
		spans[i] = span{int(binary.LittleEndian.Uint32(data[8*i:])), int(binary.LittleEndian.Uint32(data[8*i+4:]))}
	}
	return spans, nil
}

// cut adds a batch that was cut, if it is not there.
func (m *mirror) cut(d dayOf, s span) error {
	m.dirty[d] = true
	have, err := m.spans(d)
	if err != nil || slices.Contains(have, s) {
		return err
	}
	data := binary.LittleEndian.AppendUint32(nil, uint32(s.first))
	data = binary.LittleEndian.AppendUint32(data, uint32(s.end))
	return m.change(d, data, func(f disk.File) (int64, error) {
		size, err := f.Size()
		end := d.offset(d.slots())
		return end + max(0, size-end)/8*8, err
	})
}

func (m *mirror) change(d dayOf, data []byte, where func(disk.File) (int64, error)) error {
	f, err := m.open(d, true)
	if err != nil {
		return err
	}
	off, err := where(f)
	if err == nil {
		_, err = f.WriteAt(data, off)
	}
	if err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	return nil
}

// sync makes all of it durable.
func (m *mirror) sync() error {
	var group errgroup.Group
	group.SetLimit(m.disk.AtOnce())
	for _, d := range slices.SortedFunc(maps.Keys(m.dirty), func(a, b dayOf) int { return cmp.Compare(a.file(), b.file()) }) {
		group.Go(func() error {
			f, err := m.disk.Open(d.file(), false)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
			if err != nil {
				return fmt.Errorf("mirror: %w", err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	clear(m.dirty)
	return nil
}
