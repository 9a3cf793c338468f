package iaga2002

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Header is what comes before the rows, as the file has it, without trailing
// blanks. A value has at most 45 characters and a comment 66; longer ones do
// not fit into their record, and a [Writer] refuses them.
type Header struct {
	Source      string // institute
	Station     string // full name
	Code        string // IAGA code, "TST"
	Latitude    string // geodetic, in degrees, "17.290"
	Longitude   string // in degrees east
	Elevation   string // in metres
	Reported    string // the elements of the four columns, "XYZF"
	Orientation string // of the sensor
	Sampling    string // "1 second"
	Interval    string // "1-minute (00:30-01:29)"
	Type        string // "provisional"
	Published   string // YYYY-MM-DD; empty if the record is absent
	Comments    []string

	// CodeLabel is the label of Code, which files have in two spellings.
	// Empty means "IAGA Code"; the other is "IAGA CODE".
	CodeLabel string
	CRLF      bool // records end with CRLF, not LF
}

// labels are those of the headers in their order; the last is optional.
var labels = [...]string{
	"Format", "Source of Data", "Station Name", "IAGA Code", "Geodetic Latitude", "Geodetic Longitude", "Elevation",
	"Reported", "Sensor Orientation", "Digital Sampling", "Data Interval Type", "Data Type", "Publication Date",
}

const (
	mandatory   = len(labels) - 1
	otherCode   = "IAGA CODE"
	formatName  = "IAGA-2002"
	titlesStart = "DATE       TIME         DOY     "
	maxComments = 1000
)

// field returns where the value of the i-th label is kept; nil for Format.
func (h *Header) field(i int) *string {
	return [...]*string{
		nil, &h.Source, &h.Station, &h.Code, &h.Latitude, &h.Longitude, &h.Elevation,
		&h.Reported, &h.Orientation, &h.Sampling, &h.Interval, &h.Type, &h.Published,
	}[i]
}

// Level returns the level that Type names, or zero.
func (h *Header) Level() sample.Level {
	for l := sample.Variation; l <= sample.Definitive; l++ {
		if strings.EqualFold(h.Type, l.String()) {
			return l
		}
	}
	return 0
}

// Every returns the interval that Interval names, or zero. It is not always
// that of the rows: files of hourly means are seen that say 1-minute.
func (h *Header) Every() Every {
	for every := Second; every <= Month; every++ {
		before, _, found := strings.Cut(strings.ToLower(h.Interval), "-"+every.unit())
		if found && before[len(strings.TrimRight(before, "0123456789")):] == "1" {
			return every
		}
	}
	return 0
}

// DecBas returns the declination that D is relative to, in tenths of a minute
// of arc east, if a comment says so: DECBAS and the number.
func (h *Header) DecBas() (tenths int, ok bool) {
	for _, comment := range h.Comments {
		if fields := strings.Fields(comment); len(fields) > 1 && fields[0] == "DECBAS" {
			tenths, err := strconv.Atoi(fields[1])
			return tenths, err == nil
		}
	}
	return 0, false
}

// Name returns the name of a file with this header: that of the whole period
// that files of its interval cover and that contains start, or, for a fragment
// of minutes or seconds, that of the part that begins at start.
func (h *Header) Name(start time.Time, fragment bool) Name {
	n := Name{Code: h.Code, Every: h.Every()}
	if level := h.Level(); level > 0 {
		n.Type = "vpqd"[level-1]
	}
	switch {
	case fragment && n.Every == Second:
		n.Span = SecondSpan
	case fragment:
		n.Span = MinuteSpan
	case n.Every == Hour:
		n.Span = MonthSpan
	case n.Every >= Day:
		n.Span = YearSpan
	default:
		n.Span = DaySpan
	}
	n.Start = n.Span.truncate(start.UTC())
	return n
}

func (h *Header) clone() Header {
	c := *h
	c.Comments = slices.Clone(h.Comments)
	return c
}

// elements returns the names of the columns that Reported gives one letter each.
func (h *Header) elements() (names [4]string) {
	for i := range min(len(h.Reported), len(names)) {
		names[i] = h.Reported[i : i+1]
	}
	return names
}

// titles returns the record of the column titles.
func (h *Header) titles() string {
	var b strings.Builder
	b.WriteString(titlesStart)
	for _, name := range h.elements() {
		b.WriteString(pad(h.Code+name, 10))
	}
	return b.String()[:69] + "|"
}

// pad returns s with blanks up to n characters.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-len(s)))
}
