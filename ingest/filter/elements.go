package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Choose leaves the elements of these names, in this order.
type Choose []string

func (r Choose) String() string { return "choose " + strings.Join(r, " ") }

func (r Choose) on(in sample.Series) (stage, error) {
	if len(r) == 0 {
		return stage{}, errors.New("it leaves nothing")
	}
	var from []int
	out := in
	out.Elements = nil
	for _, name := range r {
		i, err := find(in, name)
		if err != nil {
			return stage{}, err
		}
		from = append(from, i)
		out.Elements = append(out.Elements, in.Elements[i])
	}
	return stage{series: out, apply: func(rows []sample.Row, _ func(string, int)) []sample.Row {
		for i := range rows {
			row := sample.RowAt(rows[i].Time)
			for e, was := range from {
				row.Values[e] = rows[i].Values[was]
			}
			rows[i] = row
		}
		return rows
	}}, nil
}

// Rename gives an element another name. Its values stay as they are.
type Rename struct{ Element, To string }

func (r Rename) String() string { return fmt.Sprintf("rename %s to %s", r.Element, r.To) }

func (r Rename) on(in sample.Series) (stage, error) {
	i, err := find(in, r.Element)
	if err != nil {
		return stage{}, err
	}
	if r.To == "" {
		return stage{}, errors.New("the new name is empty")
	}
	out := in
	out.Elements = slices.Clone(in.Elements)
	out.Elements[i].Name = r.To
	return stage{series: out}, nil
}
