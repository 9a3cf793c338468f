package columns

import (
	"fmt"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Layout describes the lines of a file.
type Layout struct {
	Station string        // IAGA code; for Series
	Cadence time.Duration // between rows; zero if it is not known
	Level   sample.Level  // zero if it is not known

	Skip    int    // lines before the first row
	Comment string // lines that begin with this are left out; empty means that all are rows

	// Separator is one character between fields, which may be empty and may have
	// blanks around them. Empty means any number of blanks and tabs.
	Separator string
	Fields    []Field // in the order of the line, at most 32; what follows them is left out
}

// Field describes a field. It has a Time or an Element, or is left out.
type Field struct {
	// Width is how many characters the field has. Either all fields of a Layout
	// have a width, or none has and they are separated.
	Width int

	// Time is what part of the time the field is, with the verbs %Y (year), %y (two
	// digits, 1970 to 2069), %m, %d, %j (day of the year), %b (English month, three
	// letters), %H, %M, %S, %f (digits of a fraction of a second, up to
	// milliseconds) and %%. All times are UTC.
	Time string

	Element sample.Element
	// Implied is how many decimals the text has without a point before them:
	// 395001 with one is 39500.1.
	Implied     int
	Missing     []string // texts that stand for a missing value
	NotObserved []string // texts that stand for one that is not observed
}

const maxFields = 32

// check reports why files cannot be read by l.
func (l *Layout) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("columns: layout, on %s: %w", l.Station, fmt.Errorf(format, args...))
	}
	if len(l.Separator) > 1 || strings.ContainsAny(l.Separator, "%\r\n") {
		return fail("separator %q is not one character", l.Separator)
	}
	if len(l.Fields) > maxFields {
		return fail("%d fields; at most %d are read", len(l.Fields), maxFields)
	}
	verbs := map[byte]bool{}
	elements := 0
	for i, f := range l.Fields {
		if (f.Width > 0) != (l.Fields[0].Width > 0) || f.Width < 0 || f.Width > 0 && l.Separator != "" {
			return fail("field %d: all fields have a width and there is no separator, or none has one", i+1)
		}
		if f.Time != "" && f.Element.Name != "" {
			return fail("field %d: is a time and the element %s", i+1, f.Element.Name)
		}
		if f.Element.Name != "" {
			elements++
			if d := f.Element.Decimals; d < 0 || d > 9 || f.Implied < 0 || f.Implied > d {
				return fail("field %d: %d decimals, of which %d are implied; there may be 0 to 9", i+1, d, f.Implied)
			}
		}
		for rest := f.Time; ; {
			_, after, ok := strings.Cut(rest, "%")
			if !ok {
				break
			}
			if after == "" || !strings.Contains("YymdjbHMSf%", after[:1]) {
				return fail("field %d: time %q: a verb is one of %%Y %%y %%m %%d %%j %%b %%H %%M %%S %%f %%%%", i+1, f.Time)
			}
			verbs[after[0]] = true
			rest = after[1:]
		}
	}
	if elements == 0 || elements > sample.MaxElements {
		return fail("%d elements; there may be 1 to %d", elements, sample.MaxElements)
	}
	day := verbs['j'] || verbs['d'] && (verbs['m'] || verbs['b'])
	if !verbs['Y'] && !verbs['y'] || !day {
		return fail("its times have no year, or no day")
	}
	return nil
}
