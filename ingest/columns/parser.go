package columns

import (
	"bytes"
	"math"
	"slices"

	"github.com/obskeep/obskeep/ingest/internal/fixed"
	"github.com/obskeep/obskeep/ingest/sample"
)

// The rules of a line, in the order in which it meets them.
var (
	FieldCount = rules.Add("FIELDS", "a row has all the fields of the layout")
	Time       = rules.Add("TIME", "a field of the time is written as the layout says")
	Day        = rules.Add("DAY", "the date is in the calendar, and the day of the year is that of the date")
	Number     = rules.Add("NUMBER", "a value is a decimal number or one of the layout's markers")
	Decimals   = rules.Add("DECIMALS", "a value has no more digits than its element can keep")
	Order      = rules.Add("TIME-ORDER", "a row is later than the one before it")
)

// Rules returns the rules in the order of the declarations above.
func Rules() []*sample.Rule { return rules.All() }

var rules = sample.NewRules("columns")

// Parser understands the lines of one file. It is a [sample.Parser].
type Parser struct {
	layout Layout
	lines  int
	last   int64 // time of the latest row, in milliseconds
}

var _ sample.Parser = (*Parser)(nil)

// NewParser returns a Parser of a file with a layout, which is not changed. The
// error says what is wrong with the layout.
func NewParser(l Layout) (*Parser, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	return &Parser{layout: l, last: math.MinInt64}, nil
}

// Series returns what the layout says.
func (p *Parser) Series() sample.Series {
	s := sample.Series{Station: p.layout.Station, Cadence: p.layout.Cadence, Level: p.layout.Level}
	for _, f := range p.layout.Fields {
		if f.Element.Name != "" {
			s.Elements = append(s.Elements, f.Element)
		}
	}
	return s
}

// Finish does nothing: no rule is about a file as a whole.
func (p *Parser) Finish(*sample.Out) {}

// Parse takes the next line. See [sample.Parser].
func (p *Parser) Parse(line []byte, _ sample.End, out *sample.Out) {
	p.lines++
	l := &p.layout
	if p.lines <= l.Skip || l.Comment != "" && bytes.HasPrefix(line, []byte(l.Comment)) {
		return
	}
	var fields [maxFields]fixed.Field
	if n := l.split(line, fields[:len(l.Fields)]); n < len(l.Fields) {
		out.Fault(FieldCount, 0, line)
		return
	}
	var at stamp
	row := sample.RowAt(0)
	good, element := true, 0
	for i, spec := range l.Fields {
		f := fields[i]
		broken := (*sample.Rule)(nil)
		switch {
		case spec.Time != "":
			if !at.read(spec.Time, f.Text) {
				broken = Time
			}
		case spec.Element.Name != "":
			row.Values[element], broken = spec.value(f.Text)
			element++
		}
		if broken != nil {
			out.Fault(broken, f.Column, f.Text)
			good = false
		}
	}
	if !good {
		return
	}
	t, ok := at.milliseconds()
	if !ok {
		out.Fault(Day, 0, line)
		return
	}
	if t <= p.last {
		out.Fault(Order, 0, line)
	}
	p.last = max(p.last, t)
	row.Time = t
	*out.Row(t) = row
}

// split finds the fields of a line and returns how many there are.
func (l *Layout) split(line []byte, fields []fixed.Field) (n int) {
	if l.Separator == "" && l.Fields[0].Width == 0 {
		return fixed.Fields(line, fields)
	}
	start := 0
	for i := range fields {
		if start > len(line) {
			return i
		}
		end := start + l.Fields[i].Width
		if l.Separator != "" {
			if end = bytes.IndexByte(line[start:], l.Separator[0]); end < 0 {
				end = len(line) - start
			}
			end += start
		}
		if end > len(line) {
			return i
		}
		text := bytes.TrimLeft(line[start:end], " \t")
		fields[i] = fixed.Field{Text: bytes.TrimRight(text, " \t"), Column: end - len(text) + 1}
		start = end + len(l.Separator)
	}
	return len(fields)
}

// value reads a value; the rule is the one that it breaks, or nil.
func (f *Field) value(text []byte) (sample.Value, *sample.Rule) {
	switch {
	case slices.Contains(f.Missing, string(text)):
		return sample.Missing, nil
	case slices.Contains(f.NotObserved, string(text)):
		return sample.NotObserved, nil
	}
	digits := bytes.TrimLeft(text, "+-")
	whole, fraction, point := bytes.Cut(digits, []byte("."))
	if len(text)-len(digits) > 1 || len(whole)+len(fraction) == 0 || point && f.Implied > 0 {
		return 0, Number
	}
	var n int64
	decimals := f.Implied
	for i, c := range digits {
		switch {
		case i == len(whole):
			continue // the point
		case c < '0' || '9' < c:
			return 0, Number
		case i < len(whole):
		case decimals < f.Element.Decimals:
			decimals++
		case c != '0':
			return 0, Decimals
		default:
			continue
		}
		if n = n*10 + int64(c-'0'); n > math.MaxInt32 {
			return 0, Decimals
		}
	}
	for ; decimals < f.Element.Decimals; decimals++ {
		if n *= 10; n > math.MaxInt32 {
			return 0, Decimals
		}
	}
	if text[0] == '-' {
		n = -n
	}
	if v := sample.Value(n); v.Measured() {
		return v, nil
	}
	return 0, Decimals
}
