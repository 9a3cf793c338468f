package gintest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/sample"
)

// alsoRefused are rules that the receiver's reader has not, but the service has.
var alsoRefused = []*sample.Rule{
	iaga2002.NameDate, iaga2002.NameMatch, iaga2002.DayLimit,
	imf.NameDate, imf.NameMatch, imf.DayLimit,
}

// reader reads the rows of a file of either format.
type reader interface {
	Read() (sample.Row, error)
	Series() sample.Series
}

// open returns a reader that is as strict as the receiver, and whether the file is
// IMF by its name.
func open(name string, data []byte, report func(*sample.Fault)) (r reader, isIMF bool) {
	opts := &sample.Options{Mode: sample.Receiver, Report: report, Name: name}
	if _, err := imf.ParseName(name); err == nil {
		return imf.NewReader(bytes.NewReader(data), opts), true
	}
	return iaga2002.NewReader(bytes.NewReader(data), opts), false
}

// inspect reads a file as the service does, and returns what a listing says of it.
func inspect(name string, data []byte) (gin.Entry, error) {
	var refused error
	r, isIMF := open(name, data, func(f *sample.Fault) {
		if refused == nil && slices.Contains(alsoRefused, f.Rule) {
			refused = f
		}
	})
	var first, last sample.Row
	n := 0
	for ; ; n++ {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return gin.Entry{}, err
		}
		if n == 0 {
			first = row
		}
		last = row
	}
	s := r.Series()
	e := gin.Entry{Station: s.Station, Type: typeLetter(s.Level), Start: first.UTC()}
	e.Duration = last.UTC().Sub(e.Start) + s.Cadence
	switch {
	case refused != nil:
		return e, refused
	case len(s.Station) < 3 || len(s.Station) > 4 || strings.Trim(s.Station, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return e, fmt.Errorf("%q is not the code of a station", s.Station)
	case isIMF:
		e.Format = 'A'
		if h, err := r.(*imf.Reader).Header(); err == nil {
			e.Type = h.Type
		}
	case s.Cadence == time.Minute:
		e.Format = 'B'
	case s.Cadence == time.Second:
		e.Format = 'C'
	default:
		return e, fmt.Errorf("the rows of %s are neither minutes nor seconds", name)
	}
	return e, nil
}

// typeLetter is what listings call a level: T if the file does not say.
func typeLetter(l sample.Level) byte { return "TRPQD"[l] }
