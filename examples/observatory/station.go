package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// instrument writes synthetic rows into a file for each day, as a logger does: the newest line
// is torn until the next writing.
type instrument struct {
	stream    *stream
	since     time.Time      // of its first row
	newest    int64          // time of the newest row that it has begun to write
	corrected map[int64]bool // rows, by their time, that were given other values
}

// row is what is measured at a time. Nobody has measured it.
func (in *instrument) row(t time.Time) sample.Row {
	r := sample.RowAt(t.UnixMilli())
	hours := float64(r.Time) / 3.6e6
	for i, base := range []float64{39500, -250, 17300, 43122} { // X, Y, Z and F in nanotesla
		v := base + 20*math.Sin(hours/12*math.Pi+float64(i)) + math.Sin(hours*100*math.Pi*float64(i+1))
		if in.corrected[r.Time] {
			v -= 1
		}
		r.Values[i] = sample.Value(math.Round(100 * v))
	}
	return r
}

// rows are those of a day up to a time.
func (in *instrument) rows(day julian.Date, now time.Time) (rows []sample.Row) {
	from, end := day.In(time.UTC), day.AddDays(1).In(time.UTC)
	if in.since.After(from) {
		from = in.since
	}
	for t := from; t.Before(end) && !t.After(now); t = t.Add(in.stream.series.Cadence) {
		rows = append(rows, in.row(t))
	}
	return rows
}

// text is a file of these rows.
func (in *instrument) text(rows []sample.Row) ([]byte, error) {
	header := in.stream.header
	header.Comments = []string{"Synthetic, of no station: nobody has measured it."}
	var b bytes.Buffer
	w, err := iaga2002.NewWriter(&b, &header)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes(), err
}

// tear is how much of a new line comes only with the next writing.
const tear = 30

// write brings the files up to a time.
func (in *instrument) write(now time.Time) error {
	today := julian.DateOf(now)
	for _, day := range []julian.Date{today.AddDays(-1), today} {
		rows := in.rows(day, now)
		if len(rows) < 2 {
			continue // no file has fewer
		}
		text, err := in.text(rows)
		if err != nil {
			return err
		}
		if newest := rows[len(rows)-1].Time; newest > in.newest {
			in.newest = newest
			text = text[:len(text)-tear]
		}
		if err := in.put(day, text, now); err != nil {
			return err
		}
	}
	return nil
}

func (in *instrument) file(day julian.Date) string {
	return filepath.Join(in.stream.Folder, filepath.FromSlash(in.stream.File.Format(day)))
}

// put makes the file of a day hold a text that is as long or longer, by writing what differs
// where it stands. Its time is that of the station.
func (in *instrument) put(day julian.Date, text []byte, now time.Time) error {
	name := in.file(day)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	old, err := io.ReadAll(f)
	if err != nil || bytes.Equal(old, text) {
		return err
	}
	same := 0
	for same < len(old) && same < len(text) && old[same] == text[same] {
		same++
	}
	if _, err := f.WriteAt(text[same:], int64(same)); err != nil {
		return err
	}
	return os.Chtimes(name, time.Time{}, now)
}

// measured adds the values up to a time, as the receiver is to have them, if into is not nil,
// and returns the number of rows.
func (in *instrument) measured(into map[gintest.Sample]sample.Value, now time.Time) (rows int) {
	format := map[time.Duration]byte{time.Minute: 'B', time.Second: 'C'}[in.stream.series.Cadence]
	first, last := julian.DateOf(in.since), julian.DateOf(now)
	for day := range julian.Days(first, last) {
		for _, r := range in.rows(day, now) {
			rows++
			if into == nil {
				continue
			}
			for i, e := range in.stream.series.Elements {
				into[gintest.Sample{
					Station: in.stream.series.Station, Format: format, Type: 'R', Element: e.Name, Time: r.Time,
				}] = r.Values[i]
			}
		}
	}
	return rows
}
