package imf

import (
	"strings"

	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// Name is a file name: a day, and the station's code. The zero Name is none.
type Name struct {
	Code string // "BOU"
	Day  julian.Date
	Type byte // A, D, R, Q or T for tests; 0 if the name does not say, as the format's names do not
}

// String returns the name in capitals, "MAR1591.BOU". Names have two digits for
// the years 1950 to 2049; those of other years are not told apart.
func (n Name) String() string {
	b := appendDate(nil, n.Day)
	if n.Type != 0 {
		b = append(b, n.Type)
	}
	return string(b) + "." + n.Code
}

// ParseName reads a file name, without folders, in any case of letters. The
// error is a [*sample.Fault] of [NameForm] or [NameDate].
func ParseName(s string) (Name, error) {
	fault := func(r *sample.Rule, column int) (Name, error) {
		return Name{}, &sample.Fault{Rule: r, File: s, Line: 1, Column: column, Offset: int64(column - 1), Found: s}
	}
	day, code, ok := strings.Cut(strings.ToUpper(s), ".")
	if !ok || !letters(code) || len(day) < 7 || len(day) > 8 {
		return fault(NameForm, 1)
	}
	n := Name{Code: code}
	if len(day) == 8 {
		n.Type = day[7]
		if !strings.ContainsRune("ADRQT", rune(n.Type)) {
			return fault(NameForm, 8)
		}
	}
	var known bool
	if n.Day, known, ok = parseDate([]byte(day[:7])); !ok {
		return fault(NameForm, 1)
	}
	if !known {
		return fault(NameDate, 1)
	}
	return n, nil
}

// letters reports whether s is three capital letters.
func letters(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}
