package impf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

const (
	field = "geomagneticField" // and the name of an element
	// maxDecimals is how many decimals a value can have, as a sample.Value.
	maxDecimals = 4
	// fill is from where on values stand for something that is not there.
	fill = 88888
)

// Message makes a message of rows of a series, and its topic: it is an ingest.Format. m
// goes with the first row of each hour, since nobody knows which message is the first of a
// day. The error says what the format does not allow.
func (m Metadata) Message(s sample.Series, rows []sample.Row) (name string, data []byte, err error) {
	name, index, err := topic(s)
	if err == nil {
		data, err = m.encode(s, index, rows)
	}
	if err != nil {
		return "", nil, fmt.Errorf("impf: message, on %s: %w", s.Station, err)
	}
	return name, data, nil
}

func (m Metadata) encode(s sample.Series, index [4]int, rows []sample.Row) ([]byte, error) {
	if err := consecutive(s.Cadence, rows); err != nil {
		return nil, err
	}
	c := cadences[slices.IndexFunc(cadences, func(c cadence) bool { return c.every == s.Cadence })]
	b := fmt.Appendf(nil, `{"startDate":"%s"`, rows[0].UTC().Format(c.layout))
	if slices.ContainsFunc(rows, func(r sample.Row) bool { return r.Time%time.Hour.Milliseconds() == 0 }) {
		if err := m.check(); err != nil {
			return nil, err
		}
		fields, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		if string(fields) != "{}" {
			b = append(append(b, ','), fields[1:len(fields)-1]...)
		}
	}
	elements := slices.Concat(observed(rows, index[:3]), observed(rows, index[3:]))
	if len(elements) == 0 {
		return nil, errors.New("nothing is observed in these rows")
	}
	for _, i := range elements {
		e := s.Elements[i]
		b = append(b, `,"`+field+e.Name+`":[`...)
		for j, r := range rows {
			if j > 0 {
				b = append(b, ',')
			}
			v := r.Values[i]
			if !v.Measured() {
				b = append(b, "null"...)
				continue
			}
			if err := plausible(e, v); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", e.Name, r.UTC().Format(time.RFC3339), err)
			}
			b = appendValue(b, v, e.Decimals)
		}
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

func consecutive(every time.Duration, rows []sample.Row) error {
	if len(rows) == 0 {
		return errors.New("there are no rows")
	}
	for i, r := range rows {
		if r.Time%every.Milliseconds() != 0 || r.Time != rows[0].Time+int64(i)*every.Milliseconds() {
			return fmt.Errorf("row %d is of %s: want one on every %v", i+1, r.UTC().Format(time.RFC3339Nano), every)
		}
	}
	return nil
}

// observed returns the elements, if any is measured or none is said to be not observed.
func observed(rows []sample.Row, elements []int) []int {
	absent := elements[0] < 0
	for _, r := range rows {
		for _, i := range elements {
			if i < 0 {
				continue
			}
			if r.Values[i].Measured() {
				return elements
			}
			absent = absent || r.Values[i] == sample.NotObserved
		}
	}
	if absent {
		return nil
	}
	return elements
}

// plausible returns why a number cannot be a value of an element.
func plausible(e sample.Element, v sample.Value) error {
	switch n := math.Abs(float64(v)) / math.Pow10(e.Decimals); {
	case n >= fill:
		return fmt.Errorf("%s is a fill value", appendValue(nil, v, e.Decimals))
	case v < 0 && (e.Name == "F" || e.Name == "S"):
		return fmt.Errorf("%s is less than nothing", appendValue(nil, v, e.Decimals))
	}
	return nil
}

// appendValue writes a value with all its decimals.
func appendValue(b []byte, v sample.Value, decimals int) []byte {
	n := int64(v)
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	digits := strconv.FormatInt(n, 10)
	if short := decimals + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	b = append(b, digits[:len(digits)-decimals]...)
	if decimals > 0 {
		b = append(append(b, '.'), digits[len(digits)-decimals:]...)
	}
	return b
}

// Parse reads a message that came under a topic. The series has the four elements of the
// topic, with as many decimals as are written, at least two; those that the message does
// not have are not observed. The error says what the format does not allow.
func Parse(topic string, payload []byte) (sample.Series, []sample.Row, error) {
	s, c, err := parseTopic(topic)
	var rows []sample.Row
	if err == nil {
		rows, err = decode(s, c, payload)
	}
	if err != nil {
		return sample.Series{}, nil, fmt.Errorf("impf: message, on %.100q: %w", topic, err)
	}
	return s, rows, nil
}

// decode reads the rows, and sets the decimals of the elements.
func decode(s sample.Series, c cadence, payload []byte) ([]sample.Row, error) {
	fields, err := object(payload)
	if err != nil {
		return nil, err
	}
	start, err := startOf(fields["startDate"], c)
	if err != nil {
		return nil, err
	}
	delete(fields, "startDate")
	var columns [4][]*json.Number
	var names []string
	for i, e := range s.Elements {
		array, ok := fields[field+e.Name]
		if !ok {
			continue
		}
		delete(fields, field+e.Name)
		if err := json.Unmarshal(array, &columns[i]); err != nil || columns[i] == nil || bytes.Contains(array, []byte(`"`)) {
			return nil, fmt.Errorf("%s: want an array of numbers and null", field+e.Name)
		}
		names = append(names, e.Name)
	}
	four := s.Elements[0].Name + s.Elements[1].Name + s.Elements[2].Name + "S"
	if has := strings.Join(names, ""); has != four && has != four[:3] && has != "S" {
		return nil, fmt.Errorf("it has the elements %q: want %s, with S or without, or S alone", has, four[:3])
	}
	var m Metadata
	for name, value := range fields {
		if err := m.set(name, value); err != nil {
			return nil, err
		}
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	n := 0
	for _, column := range columns {
		if column != nil && n != 0 && len(column) != n || column != nil && len(column) == 0 {
			return nil, errors.New("its arrays are empty, or not of one length")
		}
		n = max(n, len(column))
	}
	rows := make([]sample.Row, n)
	for i := range rows {
		rows[i] = sample.RowAt(start.Add(time.Duration(i) * c.every).UnixMilli())
	}
	for i, column := range columns {
		e := &s.Elements[i]
		e.Decimals = 2
		for _, number := range column {
			if number != nil {
				_, fraction, _ := strings.Cut(string(*number), ".")
				e.Decimals = max(e.Decimals, len(fraction))
			}
		}
		for j, number := range column {
			v, err := value(number, *e)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", e.Name, rows[j].UTC().Format(time.RFC3339), err)
			}
			rows[j].Values[i] = v
		}
	}
	return rows, nil
}

// value reads a number with at most the decimals of an element.
func value(number *json.Number, e sample.Element) (sample.Value, error) {
	if number == nil {
		return sample.Missing, nil
	}
	whole, fraction, _ := strings.Cut(string(*number), ".")
	if e.Decimals > maxDecimals || len(whole) > len("-88888") {
		return 0, fmt.Errorf("%.40s: want a number of less than %d, with at most %d decimals", *number, fill, maxDecimals)
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", e.Decimals-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40s: want a number without an exponent", *number)
	}
	if n > math.MaxInt32 || n < -math.MaxInt32 {
		return 0, fmt.Errorf("%s is a fill value", *number)
	}
	return sample.Value(n), plausible(e, sample.Value(n))
}

func startOf(text json.RawMessage, c cadence) (time.Time, error) {
	var start string
	if err := json.Unmarshal(text, &start); err != nil {
		return time.Time{}, errors.New("startDate: want a text")
	}
	t, err := time.Parse(c.layout, start)
	if err != nil || t.Format(c.layout) != start {
		return time.Time{}, fmt.Errorf("startDate %q: want one such as %s", start, c.layout)
	}
	return t, nil
}

// object returns the fields of the one object in data. encoding/json does not tell fields
// apart that differ in case, and takes the last of those that are given twice.
func object(data []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("it is no JSON object: %w", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		if _, ok := fields[name.(string)]; ok {
			return nil, fmt.Errorf("%q: given twice", name)
		}
		fields[name.(string)] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return fields, nil
}
