package impf

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// vectors are the first three elements of a topic; the fourth is S.
var vectors = []string{"XYZ", "HDZ", "DIF"}

// cadence is how far rows are apart, what a topic calls it, and how the time of the first
// row is written.
type cadence struct {
	name   string
	every  time.Duration
	layout string
}

var cadences = []cadence{
	{"pt1m", time.Minute, "2006-01-02T15:04"},
	{"pt1s", time.Second, "2006-01-02T15:04:05"},
	{"1hz", time.Second, "2006-01-02T15:04:05"}, // not written
}

// topic returns the topic of a series, impf/<iaga>/<cadence>/<level>/<elements>, and which
// of its elements each of the four is; -1 if it has none of the name.
func topic(s sample.Series) (name string, index [4]int, err error) {
	c := slices.IndexFunc(cadences, func(c cadence) bool { return c.every == s.Cadence })
	switch {
	case !isCode(s.Station):
		return "", index, fmt.Errorf("station %q: want an IAGA code of three or four letters and digits", s.Station)
	case c < 0:
		return "", index, fmt.Errorf("a row every %v: want one every minute or second", s.Cadence)
	case s.Level < sample.Variation || s.Level > sample.Definitive:
		return "", index, errors.New("the level of the data is not known")
	}
	var list []string
	for _, e := range s.Elements {
		list = append(list, e.Name)
	}
	names := strings.Join(list, " ")
	for _, vector := range vectors {
		elements := vector + "S"
		for i := range elements {
			index[i] = slices.IndexFunc(s.Elements, func(e sample.Element) bool { return e.Name == elements[i:i+1] })
		}
		whole := slices.Min(index[:3]) >= 0 && len(s.Elements) == 3+min(1, index[3]+1)
		if !whole && names != "S" {
			continue
		}
		for _, e := range s.Elements {
			if want := unit(e.Name); e.Unit != want || e.Decimals < 0 || e.Decimals > maxDecimals {
				return "", index, fmt.Errorf("element %s in %s with %d decimals: want %s with at most %d", e.Name, e.Unit, e.Decimals, want, maxDecimals)
			}
		}
		return fmt.Sprintf("impf/%s/%s/%d/%s", strings.ToLower(s.Station), cadences[c].name, s.Level, strings.ToLower(elements)), index, nil
	}
	return "", index, fmt.Errorf("elements %q: want X Y Z, H D Z or D I F, each with S or without, or S alone", names)
}

// parseTopic returns the series of a topic, without the decimals of its elements.
func parseTopic(name string) (sample.Series, cadence, error) {
	fault := func(what string) (sample.Series, cadence, error) {
		return sample.Series{}, cadence{}, fmt.Errorf("%s: want impf/<iaga code>/<pt1m, pt1s or 1hz>/<1 to 4>/<xyzs, hdzs or difs>", what)
	}
	parts := strings.Split(name, "/")
	if len(parts) != 5 || parts[0] != "impf" || name != strings.ToLower(name) {
		return fault("it is no topic")
	}
	c := slices.IndexFunc(cadences, func(c cadence) bool { return c.name == parts[2] })
	level, err := strconv.Atoi(parts[3])
	vector := strings.ToUpper(strings.TrimSuffix(parts[4], "s"))
	switch {
	case !isCode(parts[1]):
		return fault("station " + strconv.Quote(parts[1]))
	case c < 0:
		return fault("cadence " + strconv.Quote(parts[2]))
	case err != nil || len(parts[3]) != 1 || level < int(sample.Variation) || level > int(sample.Definitive):
		return fault("level " + strconv.Quote(parts[3]))
	case len(parts[4]) != 4 || !slices.Contains(vectors, vector):
		return fault("elements " + strconv.Quote(parts[4]))
	}
	s := sample.Series{Station: strings.ToUpper(parts[1]), Cadence: cadences[c].every, Level: sample.Level(level)}
	for _, e := range vector + "S" {
		s.Elements = append(s.Elements, sample.Element{Name: string(e), Unit: unit(string(e))})
	}
	return s, cadences[c], nil
}

func unit(element string) string {
	if element == "D" || element == "I" {
		return "arcmin"
	}
	return "nT"
}

func isCode(s string) bool {
	return (len(s) == 3 || len(s) == 4) && !strings.ContainsFunc(s, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9')
	})
}
