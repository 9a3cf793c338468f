package iaga2002

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Parser understands the records of one file. It is a [sample.Parser].
type Parser struct {
	fileName string // empty if it is not to be compared
	name     Name   // its meaning; zero if it has none

	end    sample.End // of the first record
	began  bool
	titled bool // rows follow

	header  Header
	seen    [len(labels)]bool
	next    int       // the label that is due
	columns [4]string // elements

	clock    clock
	rows     int64 // with a time
	sequence sequence
}

var _ sample.Parser = (*Parser)(nil)

// NewParser returns a Parser for a file with a name, which is compared with the
// content. An empty name is not.
func NewParser(name string) *Parser { return &Parser{fileName: name} }

// Header returns what the header says so far; all of it once there is a row.
func (p *Parser) Header() Header { return p.header.clone() }

// Series returns what is known of the rows so far; all of it once there is a
// row. Values have two decimals. Elements always has four; one that the file
// leaves untitled has no name.
func (p *Parser) Series() sample.Series {
	s := sample.Series{Station: p.header.Code, Cadence: p.header.Every().Duration(), Level: p.header.Level()}
	for _, name := range p.columns {
		unit := "nT"
		if name == "D" || name == "I" {
			unit = "arcmin"
		}
		s.Elements = append(s.Elements, sample.Element{Name: name, Unit: unit, Decimals: decimals})
	}
	return s
}

// Parse takes the next record. See [sample.Parser].
func (p *Parser) Parse(record []byte, end sample.End, out *sample.Out) {
	if end != p.end || !p.began {
		p.checkEnd(end, out)
	}
	if p.titled {
		p.row(record, out)
		return
	}
	checkText(record, out)
	p.head(record, out)
}

// Finish reports what only the end of a file shows.
func (p *Parser) Finish(out *sample.Out) {
	if !p.titled {
		p.closeHeader(out)
	}
	switch p.rows {
	case 0:
		out.Fault(NoRows, 0, nil)
	case 1:
		out.Fault(MinSamples, 0, nil)
	}
}

func (p *Parser) checkEnd(end sample.End, out *sample.Out) {
	if p.began {
		out.Fault(EOL, 0, []byte(end.String()))
		return
	}
	p.began, p.end = true, end
	p.header.CRLF = end == sample.CRLF
	if end != sample.CRLF && end != sample.LF {
		out.Fault(EOL, 0, []byte(end.String()))
	}
	if p.fileName == "" {
		return
	}
	var err error
	if p.name, err = ParseName(p.fileName); err != nil {
		out.Fault(err.(*sample.Fault).Rule, 0, []byte(p.fileName))
	}
}

// checkText looks at the characters of a record.
func checkText(record []byte, out *sample.Out) {
	if len(record) != recordLen {
		out.Fault(Len70, 0, record)
	}
	if i := slices.IndexFunc(record, func(c byte) bool { return c < ' ' || '~' < c }); i >= 0 {
		out.Fault(NoTab, i+1, record[i:i+1])
	}
}

// head takes a record before the rows.
func (p *Parser) head(record []byte, out *sample.Out) {
	trimmed := bytes.TrimLeft(record, " ")
	switch {
	case bytes.HasPrefix(record, []byte("DATE ")):
		p.title(record, out)
	case bytes.HasPrefix(trimmed, []byte("#")):
		p.comment(record, trimmed[1:], out)
	case len(record) > 4 && record[4] == '-' && isDigit(record[0]):
		out.Fault(Titles, 0, record)
		p.closeHeader(out)
		p.row(record, out)
	default:
		p.label(record, out)
	}
}

func (p *Parser) comment(record, text []byte, out *sample.Out) {
	if !p.seen[mandatory-1] {
		out.Fault(HdrOrder, 1, record)
	}
	p.next = len(labels) // no header follows
	if len(p.header.Comments) == maxComments {
		out.Fault(HdrLong, 1, record)
		return
	}
	text = bytes.TrimPrefix(bytes.TrimSuffix(text, []byte("|")), []byte(" "))
	comment := strings.TrimRight(string(text), " ")
	p.header.Comments = append(p.header.Comments, comment)
	if string(record) != commentRecord(comment) {
		out.Fault(HdrForm, 1, record)
	}
}

// label takes a header.
func (p *Parser) label(record []byte, out *sample.Out) {
	n := min(valueStart, len(record))
	name := string(bytes.TrimSpace(record[:n]))
	value := string(bytes.TrimSpace(bytes.TrimSuffix(record[n:], []byte("|"))))
	i := slices.IndexFunc(labels[:], func(l string) bool { return strings.EqualFold(l, name) })
	if !p.seen[0] && (i != 0 || value != formatName) {
		out.Fault(Format, 1, record)
	}
	p.seen[0] = true
	if i < 0 {
		out.Fault(HdrUnknown, 2, []byte(name))
		return
	}
	if i < p.next {
		out.Fault(HdrOrder, 2, []byte(name))
	}
	p.seen[i], p.next = true, i+1
	spelled := labels[i]
	if name == otherCode {
		spelled, p.header.CodeLabel = otherCode, otherCode
	}
	if string(record) != headerRecord(spelled, value) {
		out.Fault(HdrForm, 1, record)
	}
	if i == 0 {
		return
	}
	*p.header.field(i) = value
	if value != "" {
		p.checkValue(p.header.field(i), out)
	}
}

// checkValue looks at a header's value for itself.
func (p *Parser) checkValue(value *string, out *sample.Out) {
	h, found := &p.header, []byte(*value)
	fault := func(r *sample.Rule) { out.Fault(r, valueStart+1, found) }
	number := func(limit *sample.Rule, low, high float64) {
		x, err := strconv.ParseFloat(*value, 64)
		switch {
		case err != nil && limit == LatLonRange:
			fault(LatLon)
		case err != nil || !(low <= x && x <= high): // NaN is in no range
			fault(limit)
		}
	}
	switch value {
	case &h.Code:
		if len(found) != 3 || slices.ContainsFunc(found, func(c byte) bool { return c < 'A' || 'Z' < c }) {
			fault(Code)
		}
	case &h.Latitude:
		number(LatLonRange, -90, 90)
	case &h.Longitude:
		number(LatLonRange, -180, 360)
	case &h.Elevation:
		number(Elevation, -12e3, 9e3)
	case &h.Reported:
		if len(found) != 3 && len(found) != 4 {
			fault(Elements)
		}
	case &h.Interval:
		if h.Every() == 0 {
			fault(Interval)
		}
	case &h.Type:
		if h.Type != h.Level().String() {
			fault(Type)
		}
	case &h.Published:
		if _, err := time.Parse(time.DateOnly, h.Published); err != nil {
			fault(Published)
		}
	}
}

// title takes the record of the column titles.
func (p *Parser) title(record []byte, out *sample.Out) {
	for i := range p.columns {
		from, to := 32+10*i, min(42+10*i, recordLen-1)
		if to <= len(record) {
			name := string(bytes.TrimSpace(record[from:to]))
			p.columns[i] = strings.TrimPrefix(name, p.header.Code)
		}
	}
	if string(record) != p.header.titles() {
		out.Fault(Titles, 1, record)
	}
	p.closeHeader(out)
}

// closeHeader looks at the header as a whole.
func (p *Parser) closeHeader(out *sample.Out) {
	p.titled = true
	h := &p.header
	for i := range mandatory {
		if !p.seen[i] || i > 0 && *h.field(i) == "" {
			out.Fault(HdrMissing, 0, []byte(labels[i]))
		}
	}
	if h.Reported != "" && !listed(h.Reported, h.Level()) {
		out.Fault(ElementList, 0, []byte(h.Reported))
	}
	if p.columns == [4]string{} {
		p.columns = h.elements()
	}
	p.sequence.start(h.Every())
}

// listed reports whether the format knows these elements in this order.
func listed(reported string, level sample.Level) bool {
	if level == sample.Variation {
		reported = strings.NewReplacer("E", "D", "V", "I").Replace(reported)
	}
	if len(reported) != 4 || reported[3] != 'F' && reported[3] != 'G' {
		return false
	}
	return slices.Contains([]string{"XYZ", "HDZ", "DHZ", "DHI"}, reported[:3])
}

func headerRecord(label, value string) string {
	return " " + pad(label, valueStart-1) + pad(value, recordLen-valueStart-1) + "|"
}

func commentRecord(text string) string { return " # " + pad(text, recordLen-4) + "|" }

const (
	recordLen  = 70
	valueStart = 24
	decimals   = 2
)

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
