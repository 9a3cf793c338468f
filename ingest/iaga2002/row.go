package iaga2002

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/obskeep/obskeep/ingest/internal/fixed"
	"github.com/obskeep/obskeep/ingest/sample"
)

// A row is YYYY-MM-DD hh:mm:ss.sss DOY and four times blank and F9.2:
//
//	2024-12-31 23:58:00.000 366     39500.10   -250.25  17300.50  43122.70
const (
	missing     = 99999_00 // as the format writes them
	notObserved = 88888_00
)

// row takes a record after the titles.
func (p *Parser) row(record []byte, out *sample.Out) {
	var values [4]sample.Value
	t, ok := p.clean(record, &values)
	timed := ok
	if !ok {
		t, timed, ok = p.mend(record, &values, out)
	}
	if timed {
		p.rows++
		p.follow(t, record, out)
	}
	if ok {
		copy(out.Row(t).Values[:], values[:])
	}
}

// clean reads a row that is written as the format asks, in the hour of the row
// before it; of any other it says no more than that.
func (p *Parser) clean(record []byte, values *[4]sample.Value) (t int64, ok bool) {
	if len(record) != recordLen {
		return 0, false
	}
	b := (*[recordLen]byte)(record)
	if t, ok = p.clock.same(b); !ok {
		return 0, false
	}
	for i := range values {
		if values[i], ok = value((*[10]byte)(b[30+10*i:])); !ok {
			return 0, false
		}
	}
	return t, true
}

// value reads a blank and a value written as F9.2.
func value(b *[10]byte) (sample.Value, bool) {
	n, negative, ok := fixed.Int(binary.LittleEndian.Uint64(b[:])<<8 | ' ') // up to the point
	d, c := uint32(b[8])-'0', uint32(b[9])-'0'
	if !ok || b[0] != ' ' || b[7] != '.' || d > 9 || c > 9 {
		return 0, false
	}
	n = n*100 + d*10 + c
	switch {
	case negative:
		return -sample.Value(n), n != 0
	case n >= notObserved:
		return code(n)
	}
	return sample.Value(n), true
}

// code reads a value as large as the codes, and reports whether it is one.
func code(v uint32) (sample.Value, bool) {
	if v >= missing {
		return sample.Missing, v == missing
	}
	return sample.NotObserved, v == notObserved
}

// mend reads a row that may be written in any way, and reports what is wrong
// with it, whether it has a time, and whether all of it could be read.
func (p *Parser) mend(record []byte, values *[4]sample.Value, out *sample.Out) (t int64, timed, ok bool) {
	checkText(record, out)
	fields, n := inColumns(record)
	if n == 0 {
		n = fixed.Fields(record, fields[:])
		if n < len(fields) {
			out.Fault(RowFields, 0, record)
			return 0, false, false
		}
		out.Fault(RowColumns, 0, record)
		if n > len(fields) {
			return 0, false, false
		}
	}
	// A short record is torn: its last value may be the beginning of another.
	if len(record) < recordLen {
		return 0, false, false
	}
	if t, timed, ok = p.clock.read(fields[0], fields[1], fields[2], out); !timed {
		return 0, false, false
	}
	for i, f := range fields[3:] {
		v, broken, good := mendValue(f.Text)
		if broken != nil {
			out.Fault(broken, f.Column, f.Text)
		}
		values[i] = v
		ok = ok && good
	}
	return t, true, ok
}

// inColumns returns the seven fields of a row that stand in their columns;
// n is 0 if they do not.
func inColumns(record []byte) (fields [7]fixed.Field, n int) {
	if len(record) != recordLen {
		return fields, 0
	}
	for _, gap := range [...]int{10, 23, 27, 28, 29, 30, 40, 50, 60} {
		if record[gap] != ' ' && record[gap] != '\t' {
			return fields, 0
		}
	}
	for i, at := range [7][2]int{{0, 10}, {11, 23}, {24, 27}, {31, 40}, {41, 50}, {51, 60}, {61, 70}} {
		text := bytes.TrimLeft(record[at[0]:at[1]], " \t")
		if len(text) == 0 || bytes.ContainsAny(text, " \t") {
			return fields, 0
		}
		fields[i] = fixed.Field{Text: text, Column: at[1] - len(text) + 1}
	}
	return fields, len(fields)
}

// mendValue reads a value however it is written. The rule that it breaks is nil if
// it is written as the format asks; good tells whether it could be read.
func mendValue(text []byte) (v sample.Value, broken *sample.Rule, good bool) {
	n, ok := hundredths(text)
	if !ok {
		f, err := strconv.ParseFloat(string(text), 64)
		switch {
		case err != nil:
			return 0, RowNumber, false
		case math.IsNaN(f):
			return sample.Missing, RowDecimal, true
		}
		return 0, RowDecimal, false
	}
	v, broken = sample.Value(n), RowDecimal
	if n >= notObserved {
		v, _ = code(uint32(n))
		broken = MissingCode
	}
	var buf [16]byte
	if string(appendValue(buf[:0], v)) == string(text) {
		broken = nil
	}
	return v, broken, true
}

// hundredths reads a decimal number that is a whole count of hundredths.
func hundredths(text []byte) (n int64, ok bool) {
	digits := bytes.TrimLeft(text, "+-")
	if len(text)-len(digits) > 1 || len(digits) > 10 {
		return 0, false
	}
	whole, decimal, _ := bytes.Cut(digits, []byte("."))
	if len(whole)+len(decimal) == 0 {
		return 0, false
	}
	for i := range len(whole) + decimals {
		c := byte('0')
		switch {
		case i < len(whole):
			c = whole[i]
		case i-len(whole) < len(decimal):
			c = decimal[i-len(whole)]
		}
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(decimal) > decimals && len(bytes.Trim(decimal[decimals:], "0")) > 0 {
		return 0, false
	}
	if text[0] == '-' {
		n = -n
	}
	return n, math.MinInt32+1 < n && n <= math.MaxInt32
}

// appendValue appends a value as the format writes it, without leading blanks.
func appendValue(b []byte, v sample.Value) []byte {
	n := int64(v)
	switch v {
	case sample.Missing:
		n = missing
	case sample.NotObserved:
		n = notObserved
	}
	if n < 0 {
		b = append(b, '-')
		n = -n
	}
	b = strconv.AppendInt(b, n/100, 10)
	return append(b, '.', '0'+byte(n/10%10), '0'+byte(n%10))
}
