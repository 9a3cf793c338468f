package imf

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/obskeep/obskeep/ingest/internal/fixed"
	"github.com/obskeep/obskeep/ingest/sample"
)

// A line of data has two minutes of three values of seven characters and one of six:
//
//	395003   -2502  173005 431227   999999  999999  999999 999999
const (
	missing     = 999999 // as the format writes them
	notObserved = 888888
	otherwise   = 9999999 // as some write a missing value
	second      = 32      // the column before the second minute
)

// where the values of a minute are.
var slots = [4][2]int{{0, 7}, {8, 15}, {16, 23}, {24, 30}}

// minute is what a block has of a minute.
type minute struct {
	values [4]sample.Value
	good   bool // all of them could be read
}

// pair returns the minutes of the line that is due.
func (p *Parser) pair() *[2]minute {
	return (*[2]minute)(p.minutes[2*(linesOfBlock-p.lines):])
}

// clean reads a line that is written as the format asks; of any other it says no
// more than that.
func (p *Parser) clean(line *[lineLen]byte, pair *[2]minute) bool {
	for i := range pair {
		b := (*[30]byte)(line[second*i:])
		// Eight bytes end with the blank behind a value; the last value has none.
		x, y, z := word(b[0:]), word(b[8:]), word(b[16:])
		if x>>56 != ' ' || y>>56 != ' ' || z>>56 != ' ' {
			return false
		}
		for j, w := range [...]uint64{x<<8 | ' ', y<<8 | ' ', z<<8 | ' ', word(b[22:])&^0xff | ' '} {
			var ok bool
			if pair[i].values[j], ok = p.value(j, w); !ok {
				return false
			}
		}
		pair[i].good = true
	}
	return line[30] == ' ' && line[31] == ' '
}

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// value reads the characters of the j-th element.
func (p *Parser) value(j int, word uint64) (sample.Value, bool) {
	n, negative, ok := fixed.Int(word)
	switch {
	case !ok || n > missing || n == missing && negative || n == 0 && negative:
		return 0, false
	case negative:
		return -sample.Value(n), true
	case n >= notObserved:
		v, exact := p.code(j, n)
		return v, exact
	}
	return sample.Value(n), true
}

// code reads a value as large as the codes, and reports whether it is written
// as it should be. Declination may be as large as 88888 hundredths and more.
func (p *Parser) code(j int, n uint32) (v sample.Value, exact bool) {
	switch {
	case n >= missing:
		return sample.Missing, n == missing
	case n == notObserved:
		return sample.NotObserved, true
	case j < len(p.header.Elements) && p.header.Elements[j] == 'D':
		return sample.Value(n), true
	}
	return sample.NotObserved, false
}

// endLine counts a line. The time of a minute is its place in the block: the rows
// are handed over when all lines have come, and were whole.
func (p *Parser) endLine(out *sample.Out) {
	p.lines--
	if p.lines > 0 || !p.sure {
		return
	}
	for i := range p.minutes {
		if p.minutes[i].good {
			copy(out.Row(p.start + int64(i)*minuteMs).Values[:], p.minutes[i].values[:])
		}
	}
}

// mend reads a line that may be written in any way, and reports what is wrong
// with it.
func (p *Parser) mend(line []byte, pair *[2]minute, out *sample.Out) {
	var fields [8]fixed.Field
	if n := fixed.Fields(line, fields[:]); n != len(fields) {
		broken := RowFields
		if n > len(fields) {
			broken = RowColumns
		}
		out.Fault(broken, 1, line)
		p.sure = false
		return
	}
	if len(line) < lineLen { // it is torn, and may come again
		p.sure = false
	}
	pair[0].good, pair[1].good = true, true
	displaced := false
	for i, f := range fields {
		minute, j := &pair[i/4], i%4
		end := slots[j][1] + second*(i/4) + 1 // column
		if !displaced && (f.Column <= slots[j][0]+second*(i/4) || f.End() > end) {
			displaced = true
			out.Fault(RowColumns, f.Column, f.Text)
		}
		n, ok := whole(f.Text)
		if !ok {
			out.Fault(RowNumber, f.Column, f.Text)
			minute.good = false
			continue
		}
		var buf [16]byte
		spelled := strconv.AppendInt(buf[:0], n, 10)
		v, exact := sample.Value(n), true
		if n >= notObserved {
			v, exact = p.code(j, uint32(n))
		}
		minute.values[j] = v
		switch {
		case !exact:
			out.Fault(MissingCode, f.Column, f.Text)
		case n <= -missing:
			out.Fault(Range, f.Column, f.Text)
		case string(spelled) != string(f.Text) || f.End() < end:
			out.Fault(RowForm, f.Column, f.Text)
		}
	}
}

// whole reads a whole number with a sign or none.
func whole(b []byte) (n int64, ok bool) {
	n, err := strconv.ParseInt(string(b), 10, 32)
	return n, err == nil && n > math.MinInt32+1
}

// appendRow appends a minute.
func appendRow(b []byte, r *sample.Row) []byte {
	for i, slot := range slots {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendValue(b, r.Values[i], slot[1]-slot[0])
	}
	return b
}

// appendValue appends a value in so many characters, or more if it is longer.
func appendValue(b []byte, v sample.Value, width int) []byte {
	switch v {
	case sample.Missing:
		v = missing
	case sample.NotObserved:
		v = notObserved
	}
	var text [16]byte
	digits := strconv.AppendInt(text[:0], int64(v), 10)
	const blanks = "       "
	b = append(b, blanks[:max(0, width-len(digits))]...)
	return append(b, digits...)
}
