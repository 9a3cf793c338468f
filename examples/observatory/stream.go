package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/columns"
	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// stream is an [[account.stream]] table.
type stream struct {
	Name    string          `toml:"name"`
	Folder  string          `toml:"folder"`  // of its files
	File    julian.Pattern  `toml:"file"`    // of a day, in the folder: %Y/%j/cpl%Y%m%dvmin.min
	Format  string          `toml:"format"`  // of these files: iaga2002 (default) or columns
	Columns *layout         `toml:"columns"` // wanted by that format
	Every   script.Duration `toml:"every"`   // how much time a file that is sent covers; at most 24h; default 5m, by mail 24h
	Embargo script.Duration `toml:"embargo"` // how old rows have to be before they are sent; default 0s, by mail 5m

	Cadence     script.Duration `toml:"cadence"`  // between rows: 1m or 1s
	Elements    string          `toml:"elements"` // XYZF
	Level       string          `toml:"level"`    // variation, provisional, quasi-definitive or definitive
	Orientation string          `toml:"orientation"`
	Sampling    string          `toml:"sampling"` // 1 second
	Interval    string          `toml:"interval"` // default 1-minute or 1-second, by the cadence

	Source  *source `toml:"source"` // what the files have, if it is something else
	Filters []rule  `toml:"filter"` // what is done to their rows

	series sample.Series
	of     sample.Series // of the files
	filter *filter.Filter
	header iaga2002.Header
	format ingest.Format // of what is sent
	least  int           // rows in that
	parser func() (sample.Parser, error)
}

// layout is the [account.stream.columns] table.
type layout struct {
	Skip        int      `toml:"skip"`         // lines before the first row
	Comment     string   `toml:"comment"`      // beginning of lines to leave out
	Separator   string   `toml:"separator"`    // one character; none: blanks
	Fields      []string `toml:"fields"`       // "%Y-%m-%d", "%H:%M:%S", "X", "Y", "Z", "F"; "-" is left out
	Missing     []string `toml:"missing"`      // texts that stand for a missing value
	NotObserved []string `toml:"not_observed"` // texts that stand for one that is not observed
}

func (s *stream) check(a *account) error {
	s.Format = cmp.Or(s.Format, "iaga2002")
	s.Every = cmp.Or(s.Every, script.Duration(5*time.Minute))
	interval, known := map[time.Duration]string{time.Minute: "1-minute", time.Second: "1-second"}[time.Duration(s.Cadence)]
	level, err := levelOf(s.Level)
	switch {
	case !filepath.IsAbs(s.Folder):
		return fmt.Errorf("folder is %q: want an absolute path", s.Folder)
	case s.File.String() == "":
		return errors.New("file is missing: want the name of a day's file in the folder, such as %Y/%j/cpl%Y%m%dvmin.min")
	case !s.File.NamesDay():
		return fmt.Errorf("file is %q: want %%Y and %%j in it, or %%Y, %%m and %%d", s.File)
	case !filepath.IsLocal(s.File.String()):
		return fmt.Errorf("file is %q: want a path inside the folder", s.File)
	case s.Format != "iaga2002" && s.Format != "columns":
		return fmt.Errorf("format is %q: want iaga2002 or columns", s.Format)
	case (s.Format == "columns") != (s.Columns != nil):
		return errors.New(`format = "columns" and a table [account.stream.columns] belong together`)
	case !known:
		return fmt.Errorf("cadence is %v: want 1m or 1s", time.Duration(s.Cadence))
	case s.Every < 0 || s.Every > script.Duration(24*time.Hour):
		return fmt.Errorf("every is %v: want 24h at most", time.Duration(s.Every))
	case s.Embargo < 0:
		return fmt.Errorf("embargo is %v: it cannot be negative", time.Duration(s.Embargo))
	case s.Elements == "":
		return errors.New("elements is missing: want XYZF, for example")
	case s.Orientation == "":
		return errors.New("orientation is missing: want that of the sensor, such as XYZF")
	case s.Sampling == "":
		return errors.New(`sampling is missing: want how often the instrument measures, such as "1 second"`)
	case err != nil:
		return err
	}
	s.series = sample.Series{Station: a.Station, Cadence: time.Duration(s.Cadence), Level: level}
	for _, letter := range s.Elements {
		s.series.Elements = append(s.series.Elements, element(string(letter)))
	}
	s.header = iaga2002.Header{
		Source: a.Header.Institute, Station: a.Header.Name, Code: a.Station,
		Latitude: a.Header.Latitude, Longitude: a.Header.Longitude, Elevation: a.Header.Elevation,
		Reported: s.Elements, Orientation: s.Orientation, Sampling: s.Sampling,
		Interval: cmp.Or(s.Interval, interval), Type: s.Level, Comments: a.Header.Comments,
	}
	if s.of, err = s.Source.series(s.series); err != nil {
		return err
	}
	if s.filter, err = filters(s.of, s.Filters); err != nil {
		return err
	}
	out := s.of
	if s.filter != nil {
		out = s.filter.Series()
	}
	if err := s.made(out); err != nil {
		return err
	}
	s.series.Elements = out.Elements
	if s.header.Every().Duration() != s.series.Cadence {
		return fmt.Errorf("interval is %q, and cadence %v: want the same of both", s.Interval, s.series.Cadence)
	}
	if s.format, s.least, err = a.to.format(s); err != nil {
		return err
	}
	s.parser = func() (sample.Parser, error) { return iaga2002.NewParser(""), nil }
	if s.Columns != nil {
		l := s.Columns.layout(s.of)
		if err := s.Columns.check(s.of.Elements); err != nil {
			return err
		}
		s.parser = func() (sample.Parser, error) { return columns.NewParser(l) }
	}
	_, err = s.parser()
	return err
}

// levelOf is the level that a configuration names.
func levelOf(text string) (sample.Level, error) {
	for l := sample.Variation; l <= sample.Definitive; l++ {
		if text == l.String() {
			return l, nil
		}
	}
	return 0, fmt.Errorf("level is %q: want variation, provisional, quasi-definitive or definitive", text)
}

// element is one as IAGA-2002 files have it.
func element(name string) sample.Element {
	unit := "nT"
	if name == "D" || name == "I" {
		unit = "arcmin"
	}
	return sample.Element{Name: name, Unit: unit, Decimals: 2}
}

func (l *layout) check(elements []sample.Element) error {
	var have, want []string
	for _, f := range l.Fields {
		if !strings.Contains(f, "%") && f != "-" {
			have = append(have, f)
		}
	}
	for _, e := range elements {
		want = append(want, e.Name)
	}
	if !slices.Equal(have, want) {
		return fmt.Errorf("columns.fields has the elements %q: want those of elements, %q, in their order", have, want)
	}
	return nil
}

func (l *layout) layout(s sample.Series) columns.Layout {
	lay := columns.Layout{
		Station: s.Station, Cadence: s.Cadence, Level: s.Level,
		Skip: l.Skip, Comment: l.Comment, Separator: l.Separator,
	}
	for _, text := range l.Fields {
		var f columns.Field
		switch {
		case strings.Contains(text, "%"):
			f.Time = text
		case text != "-":
			f.Element, f.Missing, f.NotObserved = element(text), l.Missing, l.NotObserved
		}
		lay.Fields = append(lay.Fields, f)
	}
	return lay
}

// stream is what is delivered.
func (s *stream) stream() *ingest.Stream {
	every := time.Duration(s.Every)
	of := &ingest.Stream{
		Name: s.Name, Series: s.series,
		Source: ingest.Source{
			FS: os.DirFS(s.Folder), File: s.File.Format, Series: s.of,
			Parser: func(string) sample.Parser { // whatever the file is called
				p, err := s.parser()
				if err != nil {
					panic(err) // check has made one
				}
				return p
			},
		},
		Format: s.format,
		Cut:    ingest.Cut{Every: every, Least: s.least, Fill: int(every / s.series.Cadence), Age: time.Duration(s.Embargo)},
	}
	if s.filter != nil {
		of.Filter = s.filter
	}
	return of
}

// folders returns an error if a folder of files is not there: a day's file may be missing, but
// not that, where a disk may not be mounted.
func (a *account) folders() error {
	for i := range a.Streams {
		if _, err := os.Stat(a.Streams[i].Folder); err != nil {
			return fmt.Errorf("source: %w; mount its disk, or make the folder: this program never does", err)
		}
	}
	return nil
}
