package iaga2002

import (
	"bytes"
	"fmt"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Fragment makes a file of rows of a series, and its name: the part of the header's period
// that begins with the first row. The same rows make the same bytes. The error says where
// the series is not what the header describes, or is the Writer's.
func (h *Header) Fragment(s sample.Series, rows []sample.Row) (name string, data []byte, err error) {
	if err := h.describes(s); err != nil {
		return "", nil, fmt.Errorf("iaga2002: header of %s: %w", h.Code, err)
	}
	if len(rows) == 0 {
		return "", nil, NoRows
	}
	var b bytes.Buffer
	w, err := NewWriter(&b, h)
	if err != nil {
		return "", nil, err
	}
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			return "", nil, err
		}
	}
	if err := w.Close(); err != nil {
		return "", nil, err
	}
	return h.Name(rows[0].UTC(), true).String(), b.Bytes(), nil
}

// describes returns where a series is another than the header's.
func (h *Header) describes(s sample.Series) error {
	switch {
	case s.Station != "" && s.Station != h.Code:
		return fmt.Errorf("the rows are of station %s", s.Station)
	case s.Cadence != 0 && s.Cadence != h.Every().Duration():
		return fmt.Errorf("the interval %q is not that of a row every %v", h.Interval, s.Cadence)
	case s.Level != 0 && s.Level != h.Level():
		return fmt.Errorf("the type %q is not %v", h.Type, s.Level)
	}
	names := h.elements()
	for i, e := range s.Elements {
		if i >= len(names) || e.Name != names[i] || e.Decimals != 2 {
			return fmt.Errorf("reported are %s, with two decimals; element %d of the rows is %s, with %d", h.Reported, i+1, e.Name, e.Decimals)
		}
	}
	return nil
}
