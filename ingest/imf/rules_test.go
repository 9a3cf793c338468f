package imf_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// hours returns a conforming file, from an hour of 15 March 2024 on; the rows
// below spoil one of two hours, with headers in lines 1 and 32.
func hours(from, n int) (lines []string) {
	for h := from; h < from+n; h++ {
		lines = append(lines, fmt.Sprintf("TST MAR%02d24 %03d %02d HDZF A EDI 07270789 005527 RRRRRRRRRRRRRRRR\r\n", 15+h/24, 75+h/24, h%24))
		for m := 0; m < 60; m += 2 {
			lines = append(lines, fmt.Sprintf(" 395%03d   -2502  173005 431227   395%03d   -2502  173005 999999\r\n", m, m+1))
		}
	}
	return lines
}

// sub puts text into line n, counted from 1, from a column on.
func sub(n, column int, text string) func([]string) []string {
	return func(lines []string) []string {
		l := lines[n-1]
		lines[n-1] = l[:column-1] + text + l[column-1+len(text):]
		return lines
	}
}

// both does the same to both headers.
func both(column int, text string) func([]string) []string {
	return chain(sub(1, column, text), sub(32, column, text))
}

func without(from, to int) func([]string) []string {
	return func(lines []string) []string { return slices.Delete(lines, from-1, to) }
}

func replace(n int, old, new string) func([]string) []string {
	return func(lines []string) []string {
		lines[n-1] = strings.Replace(lines[n-1], old, new, 1)
		return lines
	}
}

func chain(edits ...func([]string) []string) func([]string) []string {
	return func(lines []string) []string {
		for _, edit := range edits {
			lines = edit(lines)
		}
		return lines
	}
}

// Every rule has a file that breaks it, reported with its line and column.
func TestCheck_ReportsEachRuleWithItsPlace(t *testing.T) {
	t.Parallel()
	type place struct {
		Rule         string
		Line, Column int
	}
	tests := []struct {
		name string
		file string // name
		edit func([]string) []string
		want []place
		rows int // that can be read all the same
	}{
		{"a conforming file", "", nil, nil, 120},
		{"its name", "a/mar1524.tst", nil, nil, 120},
		{"its name with the type", "MAR1524A.TST", nil, nil, 120},
		{"its name, for tests", "MAR1524T.TST", nil, nil, 120},
		{"a blank behind a line", "", replace(3, "\r", " \r"), []place{{"LEN62", 3, 0}}, 120},
		{"LF alone", "", replace(3, "\r", ""), []place{{"EOL", 3, 0}}, 120},
		{"no end behind the last line", "", replace(62, "\r\n", ""), []place{{"EOL", 62, 0}}, 120},
		{"a tab between values", "", sub(3, 8, "\t"), []place{{"NOTAB", 3, 8}}, 120},
		{"a header of too few fields", "", both(25, "           "), []place{{"HDR-FIELDS", 1, 1}, {"HDR-FIELDS", 32, 1}}, 0},
		{"a line of data before the header", "", without(1, 30), []place{{"HDR-FIELDS", 1, 1}}, 60},
		{"a header shifted by one", "", both(4, "  "), []place{{"HDR-COLUMNS", 1, 6}, {"DATE", 1, 6}, {"HDR-COLUMNS", 32, 6}, {"DATE", 32, 6}}, 0},
		{"a code in small letters", "", both(2, "st"), []place{{"CODE", 1, 1}, {"CODE", 32, 1}}, 120},
		{"a month that is none", "", both(5, "MAI"), []place{{"DATE", 1, 5}, {"DATE", 32, 5}}, 0},
		{"letters of two months", "", both(5, "ARA"), []place{{"DATE", 1, 5}, {"DATE", 32, 5}}, 0},
		{"30 February", "", both(5, "FEB30"), []place{{"DATE-DAY", 1, 5}, {"DATE-DAY", 32, 5}}, 0},
		{"the day of another year", "", both(13, "074"), []place{{"DOY", 1, 13}, {"DOY", 32, 13}}, 120},
		{"hour 24", "", sub(32, 17, "24"), []place{{"HOUR", 32, 17}}, 60},
		{"the minute of the day", "", replace(32, " 05 ", " 0300 "), []place{{"LEN62", 32, 0}, {"HDR-COLUMNS", 32, 22}, {"HOUR", 32, 17}}, 60},
		{"other elements", "", both(20, "DHZF"), []place{{"COMP", 1, 20}, {"COMP", 32, 20}}, 120},
		{"another type", "", both(25, "V"), []place{{"TYPE", 1, 25}, {"TYPE", 32, 25}}, 120},
		{"a GIN that is none", "", both(27, "XYZ"), []place{{"GIN", 1, 27}, {"GIN", 32, 27}}, 120},
		{"a place that is no number", "", both(31, "-727"), []place{{"COLALONG", 1, 31}, {"COLALONG", 32, 31}}, 120},
		{"a place off the globe", "", both(31, "1801"), []place{{"COLALONG-RANGE", 1, 31}, {"COLALONG-RANGE", 32, 31}}, 120},
		{"a baseline that is no number", "", both(40, "55.27 "), []place{{"DECBAS", 1, 40}, {"DECBAS", 32, 40}}, 120},
		{"a baseline filled with blanks", "", both(40, "  5527"), []place{{"HDR-COLUMNS", 1, 42}, {"DECBAS-FORM", 1, 42}, {"HDR-COLUMNS", 32, 42}, {"DECBAS-FORM", 32, 42}}, 120},
		{"a baseline with XYZ", "", both(20, "XYZF"), []place{{"DECBAS-FORM", 1, 40}, {"DECBAS-FORM", 32, 40}}, 120},
		{"a negative baseline", "", both(40, "-14161"), nil, 120},
		{"a reserved field in use", "", both(47, "X"), []place{{"RESERVED", 1, 47}, {"RESERVED", 32, 47}}, 120},
		{"no reserved field", "", replace(1, " RRRRRRRRRRRRRRRR", ""), []place{{"LEN62", 1, 0}, {"RESERVED", 1, 47}}, 120},
		{"another station in the second header", "", sub(32, 1, "HYB"), []place{{"HDR-SAME", 32, 0}}, 120},
		{"another type in the second header", "", sub(32, 25, "R"), []place{{"HDR-SAME", 32, 0}}, 120},
		{"another baseline in the second header", "", sub(32, 40, "005528"), []place{{"DECBAS-SAME", 32, 40}}, 120},
		{"an hour is missing", "", sub(32, 17, "06"), []place{{"TIME-GAP", 32, 5}}, 120},
		{"an hour is repeated", "", sub(32, 17, "04"), []place{{"TIME-DUP", 32, 5}}, 120},
		{"an hour before", "", sub(32, 17, "03"), []place{{"TIME-ORDER", 32, 5}}, 120},
		{"a line is missing in the first block", "", without(10, 10), []place{{"BLOCK-SHORT", 31, 0}}, 60},
		{"lines are missing at the end", "", without(60, 62), []place{{"BLOCK-SHORT", 60, 0}}, 60},
		{"a line too many", "", func(l []string) []string { return append(l, l[61]) }, []place{{"HDR-FIELDS", 63, 1}}, 120},
		{"a value is left out", "", sub(3, 57, "      "), []place{{"ROW-FIELDS", 3, 1}}, 60},
		{"a value too many", "", sub(3, 57, "31 227"), []place{{"ROW-COLUMNS", 3, 1}}, 60},
		{"a value that is not at the right", "", sub(3, 8, "  -2502  "), []place{{"ROW-FORM", 3, 10}}, 120},
		{"a value across columns", "", sub(3, 8, "2"), []place{{"ROW-COLUMNS", 3, 2}, {"MISSING-CODE", 3, 2}}, 120},
		{"a letter in a value", "", sub(3, 11, "x"), []place{{"ROW-NUMBER", 3, 11}}, 119},
		{"a point in a value", "", sub(3, 14, "."), []place{{"ROW-NUMBER", 3, 11}}, 119},
		{"filled with zeros", "", sub(3, 1, "0"), []place{{"ROW-FORM", 3, 1}}, 120},
		{"a plus", "", sub(3, 1, "+"), []place{{"ROW-FORM", 3, 1}}, 120},
		{"a negative zero", "", sub(3, 11, "   -0"), []place{{"ROW-FORM", 3, 14}}, 120},
		{"seven nines", "", sub(3, 1, "9999999"), []place{{"MISSING-CODE", 3, 1}}, 120},
		{"between the codes", "", sub(3, 2, "888889"), []place{{"MISSING-CODE", 3, 2}}, 120},
		{"a declination between the codes", "", sub(3, 10, "888889"), nil, 120},
		{"too small", "", sub(3, 1, "-999999"), []place{{"RANGE", 3, 1}}, 120},
		{"nothing", "", without(1, 62), []place{{"NO-ROWS", 1, 0}}, 0},
		{"25 hours", "", func([]string) []string { return hours(4, 25) }, []place{{"DAY-LIMIT", 745, 0}}, 1500},
		{"a name without a day", "TST.MAR", nil, []place{{"NAME-FORM", 1, 0}}, 120},
		{"a name of a day that is none", "FEB3024.TST", nil, []place{{"NAME-DATE", 1, 0}}, 120},
		{"a name of another day", "MAR1424.TST", nil, []place{{"NAME-MATCH", 1, 0}, {"NAME-MATCH", 32, 0}}, 120},
		{"a name of another station", "MAR1524.HYB", nil, []place{{"NAME-MATCH", 1, 0}, {"NAME-MATCH", 32, 0}}, 120},
		{"a name of another type", "MAR1524D.TST", nil, []place{{"NAME-MATCH", 1, 0}, {"NAME-MATCH", 32, 0}}, 120},
	}
	broken := map[string]bool{}
	for _, tt := range tests {
		for _, p := range tt.want {
			broken[p.Rule] = true
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := hours(4, 2)
			if tt.edit != nil {
				lines = tt.edit(lines)
			}
			file := strings.Join(lines, "")
			var got []place
			for f, err := range imf.Check(strings.NewReader(file), tt.file) {
				require.NoError(t, err)
				got = append(got, place{f.Rule.Name, f.Line, f.Column})
				require.Equal(t, tt.file, f.File)
				require.Equal(t, f.Offset, int64(len(strings.Join(lines[:f.Line-1], ""))+max(f.Column-1, 0)))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			rows, err := sampletest.ReadAll(imf.NewReader(strings.NewReader(file), &sample.Options{Mode: sample.Lenient}))
			require.NoError(t, err)
			require.Len(t, rows, tt.rows)
		})
	}
	for _, r := range imf.Rules() {
		require.True(t, broken[r.Name], "no file breaks %s", r.Name)
	}
}
