package ingest

import (
	"cmp"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// Source is where the files of an instrument are found, one for each day of UTC.
type Source struct {
	FS     fs.FS
	File   func(julian.Date) string // its name in FS, such as the Format of a [julian.Pattern]
	Parser func(name string) sample.Parser

	// Series is that of the rows. Nothing of a file that says something else of
	// itself is delivered. The zero Series stands for that of the stream.
	Series sample.Series
}

// Stream is a series of rows at a steady cadence, that is delivered day by day. It may
// belong to several feeds.
type Stream struct {
	Name          string // in the state and in reports: a name of a folder
	sample.Series        // of the rows that are delivered

	Source Source
	Filter Filter // nil: the rows as the source has them
	Format Format
	Cut    Cut
}

// Filter makes the rows of a stream from those of its source.
type Filter interface {
	// Reach is how much time before and after a row the rows are that it is made
	// from. Zero: from one row.
	Reach() time.Duration

	// Apply makes the rows, and tells by which rule how many values were set aside.
	// Those of the source are in the order of their times, each once, and are not
	// kept. The same rows make the same rows. It may be called concurrently.
	Apply(rows []sample.Row, setAside func(rule string, values int)) []sample.Row
}

// Format makes the file of a batch: its name and its bytes. The same rows make the same
// bytes.
type Format func(s sample.Series, rows []sample.Row) (name string, data []byte, err error)

// of returns the series that the rows of the source are of.
func (s *Stream) of() sample.Series {
	if s.Source.Series.Elements == nil {
		return s.Series
	}
	return s.Source.Series
}

// agrees returns what a file says of itself that it should not. What it leaves out, and
// what nobody asks for, is not compared.
func agrees(says, want sample.Series) error {
	names := func(elements []sample.Element) string {
		var b strings.Builder
		for _, e := range elements {
			if e.Name != "" { // a column without a title
				fmt.Fprintf(&b, " %s.%d", e.Name, e.Decimals)
			}
		}
		return b.String()
	}
	have, need := names(says.Elements), names(want.Elements)
	switch {
	case says.Station != "" && want.Station != "" && !strings.EqualFold(says.Station, want.Station):
		return fmt.Errorf("the file is of station %s, want %s", says.Station, want.Station)
	case len(says.Elements) > 0 && have != need:
		return fmt.Errorf("the file has the elements%s (with so many decimals), want%s", have, need)
	case says.Cadence != 0 && cmp.Or(want.Cadence, says.Cadence) != says.Cadence:
		return fmt.Errorf("the file has a row every %v, want every %v", says.Cadence, want.Cadence)
	case says.Level != 0 && cmp.Or(want.Level, says.Level) != says.Level:
		return fmt.Errorf("the file has %v data, want %v", says.Level, want.Level)
	}
	return nil
}
