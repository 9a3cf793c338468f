package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/sample"
)

// source is the [account.stream.source] table: what the files have, where it is not what is
// delivered.
type source struct {
	Elements string          `toml:"elements"`
	Cadence  script.Duration `toml:"cadence"`
	Level    string          `toml:"level"`
}

// series is that of the files, of which a stream is made.
func (s *source) series(of sample.Series) (sample.Series, error) {
	if s == nil {
		return of, nil
	}
	of.Cadence = cmp.Or(time.Duration(s.Cadence), of.Cadence)
	if s.Elements != "" {
		of.Elements = nil
		for _, letter := range s.Elements {
			of.Elements = append(of.Elements, element(string(letter)))
		}
	}
	if s.Level != "" {
		var err error
		if of.Level, err = levelOf(s.Level); err != nil {
			return of, fmt.Errorf("source.%w", err)
		}
	}
	return of, nil
}

// rule is an [[account.stream.filter]] table: what is done to the rows, one rule after
// the other. Its keys are those of its kind.
type rule struct {
	Kind string `toml:"rule"` // choose, rename, hdz, hez, minutes, range or step

	Elements string `toml:"elements"` // that choose leaves, XYZF
	Element  string `toml:"element"`  // of rename, range and step
	To       string `toml:"to"`       // its new name

	DECBAS int     `toml:"decbas"` // of hdz: baseline of D, tenths of a minute of arc, east
	D0     float64 `toml:"d0"`     // of hez: declination of the axis of H, minutes of arc, east
	H0     float64 `toml:"h0"`     // baselines of hdz and hez, nT
	E0     float64 `toml:"e0"`
	Z0     float64 `toml:"z0"`

	Min    float64         `toml:"min"` // of range
	Max    float64         `toml:"max"` // of range, and how much a step may be
	Within script.Duration `toml:"within"`
}

func (r *rule) rule() (filter.Rule, error) {
	switch r.Kind {
	case "choose":
		return filter.Choose(strings.Split(r.Elements, "")), nil
	case "rename":
		return filter.Rename{Element: r.Element, To: r.To}, nil
	case "hdz":
		return filter.HDZ{DECBAS: r.DECBAS, H0: r.H0, Z0: r.Z0}, nil
	case "hez":
		return filter.HEZ{D0: r.D0, H0: r.H0, E0: r.E0, Z0: r.Z0}, nil
	case "minutes":
		return filter.Minutes{}, nil
	case "range":
		return filter.Range{Element: r.Element, Min: r.Min, Max: r.Max}, nil
	case "step":
		return filter.Step{Element: r.Element, Max: r.Max, Within: time.Duration(r.Within)}, nil
	}
	return nil, fmt.Errorf("filter.rule is %q: want choose, rename, hdz, hez, minutes, range or step", r.Kind)
}

// filters makes the filter of a stream, nil if it has none, and says what comes out of it.
func filters(in sample.Series, rules []rule) (*filter.Filter, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	var all []filter.Rule
	for i := range rules {
		r, err := rules[i].rule()
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return filter.New(in, all...)
}

// made returns what is wrong with what comes out of a filter, or of the files if there is none.
func (s *stream) made(out sample.Series) error {
	var names strings.Builder
	for _, e := range out.Elements {
		names.WriteString(e.Name)
	}
	switch {
	case names.String() != s.Elements:
		return fmt.Errorf("elements is %q: the source and the filter make %s", s.Elements, names.String())
	case out.Cadence != s.series.Cadence:
		return fmt.Errorf("cadence is %v: the source and the filter make a row every %v", s.series.Cadence, out.Cadence)
	}
	return nil
}
