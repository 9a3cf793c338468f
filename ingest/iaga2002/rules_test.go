package iaga2002_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// minutes is a conforming file that the rows below spoil: 12 headers, a comment,
// the titles in line 14 and five rows.
const minutes = ` Format                 IAGA-2002                                    |
 Source of Data         Example Institute                            |
 Station Name           Testville                                    |
 IAGA Code              TST                                          |
 Geodetic Latitude      17.290                                       |
 Geodetic Longitude     78.920                                       |
 Elevation              327                                          |
 Reported               XYZF                                         |
 Sensor Orientation     HDZF                                         |
 Digital Sampling       1 second                                     |
 Data Interval Type     1-minute (00:30-01:29)                       |
 Data Type              provisional                                  |
 # Start Time 22:58:00                                               |
DATE       TIME         DOY     TSTX      TSTY      TSTZ      TSTF   |
2024-12-31 22:58:00.000 366     39500.10   -250.25  17300.50  43122.70
2024-12-31 22:59:00.000 366     39500.20   -250.25  17300.50  43122.70
2024-12-31 23:00:00.000 366     39500.30   -250.25  17300.50  43122.70
2024-12-31 23:01:00.000 366     39500.40   -250.25  17300.50  43122.70
2024-12-31 23:02:00.000 366     39500.50   -250.25  17300.50  43122.70
`

// place is what a test expects of a fault.
type place struct {
	Rule         string
	Line, Column int
}

// sub puts text into line n, counted from 1, from a column on.
func sub(n, column int, text string) func([]string) []string {
	return func(lines []string) []string {
		l := lines[n-1]
		lines[n-1] = l[:column-1] + text + l[column-1+len(text):]
		return lines
	}
}

func without(from, to int) func([]string) []string {
	return func(lines []string) []string { return slices.Delete(lines, from-1, to) }
}

func insert(n int, line string) func([]string) []string {
	return func(lines []string) []string { return slices.Insert(lines, n-1, line+"\n") }
}

func swap(a, b int) func([]string) []string {
	return func(lines []string) []string {
		lines[a-1], lines[b-1] = lines[b-1], lines[a-1]
		return lines
	}
}

func value(n int, text string) func([]string) []string {
	return sub(n, 25, text+strings.Repeat(" ", 45-len(text)))
}

// Every rule has a file that breaks it, reported with its line and column.
func TestCheck_ReportsEachRuleWithItsPlace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		file string // name
		edit func([]string) []string
		want []place
		rows int // that can be read all the same
	}{
		{"a conforming file", "", nil, nil, 5},
		{"its name", "tst202412312258pmin.min", nil, nil, 5},
		{"its name for the day, in a folder", "2024/TST20241231pmin.min", nil, nil, 5},
		{"a row is longer", "", func(l []string) []string { l[14] = l[14][:70] + " \n"; return l }, []place{{"LEN70", 15, 0}, {"ROW-COLUMNS", 15, 0}}, 5},
		{"a row is torn", "", func(l []string) []string { l[14] = l[14][:66] + "\n"; return l }, []place{{"LEN70", 15, 0}, {"ROW-COLUMNS", 15, 0}}, 4},
		{"a last row is torn", "", func(l []string) []string { l[18] = l[18][:66]; return l }, []place{{"EOL", 19, 0}, {"LEN70", 19, 0}, {"ROW-COLUMNS", 19, 0}}, 4},
		{"the last record has no end", "", func(l []string) []string { l[18] = l[18][:70]; return l }, []place{{"EOL", 19, 0}}, 5},
		{"ends are mixed", "", func(l []string) []string { l[16] = l[16][:70] + "\r\n"; return l }, []place{{"EOL", 17, 0}}, 5},
		{"a bare CR ends a record", "", func(l []string) []string { l[16] = l[16][:70] + "\r"; return l }, []place{{"EOL", 17, 0}}, 5},
		{"the first record ends in a bare CR", "", func(l []string) []string { l[0] = l[0][:70] + "\r"; return l }, append([]place{{"EOL", 1, 0}}, eols(2, 19)...), 5},
		{"a tab between fields", "", sub(16, 28, "\t"), []place{{"NOTAB", 16, 28}}, 5},
		{"a letter that is not ASCII", "", sub(3, 26, "\xe9"), []place{{"NOTAB", 3, 26}}, 5},
		{"another format", "", value(1, "IAGA-2010"), []place{{"FORMAT", 1, 1}}, 5},
		{"the first record is another", "", without(1, 1), []place{{"FORMAT", 1, 1}}, 5},
		{"a header is missing", "", without(3, 3), []place{{"HDR-MISSING", 13, 0}}, 5},
		{"a header is empty", "", value(3, ""), []place{{"HDR-MISSING", 14, 0}}, 5},
		{"a header is unknown", "", insert(13, " Ledger                 abc                                          |"), []place{{"HDR-UNKNOWN", 13, 2}}, 5},
		{"headers out of order", "", swap(5, 6), []place{{"HDR-ORDER", 6, 2}}, 5},
		{"a header after a comment", "", swap(12, 13), []place{{"HDR-ORDER", 12, 1}, {"HDR-ORDER", 13, 2}}, 5},
		{"a label in capitals", "", sub(3, 2, "STATION NAME"), []place{{"HDR-FORM", 3, 1}}, 5},
		{"a value begins late", "", sub(3, 25, " Testville"), []place{{"HDR-FORM", 3, 1}}, 5},
		{"no bar", "", sub(3, 70, " "), []place{{"HDR-FORM", 3, 1}}, 5},
		{"a comment begins early", "", sub(13, 1, "#  "), []place{{"HDR-FORM", 13, 1}}, 5},
		{"too many comments", "", func(l []string) []string { return slices.Insert(l, 12, slices.Repeat(l[12:13], 1000)...) }, []place{{"HDR-LONG", 1013, 1}}, 5},
		{"a code of four letters", "", chain(value(4, "TSTX"), sub(14, 33, "TSTXX     TSTXY     TSTXZ     TSTXF  ")), []place{{"CODE", 4, 25}}, 5},
		{"a latitude that is no number", "", value(5, "north"), []place{{"LATLON", 5, 25}}, 5},
		{"a latitude in metres", "", value(5, "310086.6051"), []place{{"LATLON-RANGE", 5, 25}}, 5},
		{"a longitude that is none", "", value(6, "NaN"), []place{{"LATLON-RANGE", 6, 25}}, 5},
		{"an elevation with its unit", "", value(7, "327 m"), []place{{"ELEVATION", 7, 25}}, 5},
		{"elements of several letters", "", value(8, "HENULNUL"), []place{{"ELEMENTS", 8, 25}, {"TITLES", 14, 1}, {"ELEMENT-LIST", 14, 0}}, 5},
		{"elements in another order", "", chain(value(8, "YXZF"), sub(14, 33, "TSTY      TSTX")), []place{{"ELEMENT-LIST", 14, 0}}, 5},
		{"E with provisional data", "", chain(value(8, "HEZF"), sub(14, 33, "TSTH      TSTE")), []place{{"ELEMENT-LIST", 14, 0}}, 5},
		{"E with variation data", "", chain(value(8, "HEZF"), sub(14, 33, "TSTH      TSTE"), value(12, "variation")), nil, 5},
		{"a data type that is none", "", value(12, "preliminary"), []place{{"TYPE", 12, 25}}, 5},
		{"an interval that is none", "", value(11, "11-minute"), []place{{"INTERVAL", 11, 25}}, 5},
		{"rows at another interval", "", without(16, 16), []place{{"INTERVAL", 16, 1}, {"TIME-STEP", 17, 1}}, 4},
		{"a publication date that is none", "", insert(13, " Publication Date       2025-02-30                                   |"), []place{{"PUBLISHED", 13, 25}}, 5},
		{"titles without the code", "", sub(14, 33, "   X         Y         Z         F   "), []place{{"TITLES", 14, 1}}, 5},
		{"no titles", "", without(14, 14), []place{{"TITLES", 14, 0}}, 5},
		{"a value is left out", "", sub(17, 51, "          "), []place{{"ROW-FIELDS", 17, 0}, {"TIME-GAP", 18, 1}}, 4},
		{"a comment among the rows", "", insert(16, " # Start Time 22:58:00                                               |"), []place{{"ROW-FIELDS", 16, 0}}, 5},
		{"a value too many", "", sub(17, 52, "1 7300.50"), []place{{"ROW-COLUMNS", 17, 0}, {"TIME-GAP", 18, 1}}, 4},
		{"columns shifted by one", "", sub(16, 41, "    -250.25 17300.50"), []place{{"ROW-COLUMNS", 16, 0}}, 5},
		{"a letter in a value", "", sub(16, 44, "-25x.25"), []place{{"ROW-NUMBER", 16, 44}}, 4},
		{"NaN is missing", "", sub(16, 41, "       NaN"), []place{{"ROW-DECIMAL", 16, 48}}, 5},
		{"an exponent", "", sub(16, 41, "   -2.5E02"), []place{{"ROW-DECIMAL", 16, 44}}, 4},
		{"a plus", "", sub(16, 41, "   +250.25"), []place{{"ROW-DECIMAL", 16, 44}}, 5},
		{"a leading zero", "", sub(16, 41, "   0250.25"), []place{{"ROW-DECIMAL", 16, 44}}, 5},
		{"a negative zero", "", sub(16, 41, "     -0.00"), []place{{"ROW-DECIMAL", 16, 46}}, 5},
		{"three decimals", "", sub(16, 41, "   250.255"), []place{{"ROW-DECIMAL", 16, 44}}, 4},
		{"no decimals", "", sub(16, 41, "     99999"), []place{{"MISSING-CODE", 16, 46}}, 5},
		{"larger than the code", "", sub(16, 41, "  99999.90"), []place{{"MISSING-CODE", 16, 43}}, 5},
		{"larger than the code of not observed", "", sub(16, 41, "  88888.88"), []place{{"MISSING-CODE", 16, 43}}, 5},
		{"a date of two digits", "", sub(17, 1, "  24-12-31"), []place{{"TIME-PARSE", 17, 3}, {"TIME-GAP", 18, 1}}, 4},
		{"a minute 60", "", sub(17, 12, "22:60"), []place{{"TIME-PARSE", 17, 12}, {"TIME-GAP", 18, 1}}, 4},
		{"an hour 25", "", sub(17, 12, "25:00"), []place{{"TIME-PARSE", 17, 12}, {"TIME-GAP", 18, 1}}, 4},
		{"30 February", "", sub(17, 1, "2024-02-30"), []place{{"TIME-DAY", 17, 1}, {"TIME-GAP", 18, 1}}, 4},
		{"24 hours", "", chain(without(16, 19), sub(15, 12, "24:00")), []place{{"TIME-DAY", 15, 12}, {"MIN-SAMPLES", 16, 0}}, 1},
		{"a minute after 24 hours", "", chain(without(17, 19), sub(15, 12, "24:00"), sub(16, 12, "24:01")), []place{{"TIME-DAY", 15, 12}, {"TIME-PARSE", 16, 12}, {"MIN-SAMPLES", 17, 0}}, 1},
		{"a leap second", "", chain(without(16, 19), sub(15, 18, "60")), []place{{"TIME-LEAP", 15, 12}, {"MIN-SAMPLES", 16, 0}}, 0},
		{"half a minute", "", chain(without(16, 19), sub(15, 18, "30")), []place{{"TIME-GRID", 15, 12}, {"MIN-SAMPLES", 16, 0}}, 1},
		{"a row going back", "", swap(17, 18), []place{{"TIME-GAP", 17, 1}, {"TIME-ORDER", 18, 1}}, 5},
		{"a row repeated", "", func(l []string) []string { return slices.Insert(l, 16, l[15]) }, []place{{"TIME-DUP", 17, 1}}, 6},
		{"a row missing", "", without(17, 17), []place{{"TIME-GAP", 17, 1}}, 4},
		{"a row between", "", insert(17, "2024-12-31 22:59:30.000 366     39500.20   -250.25  17300.50  43122.70"), []place{{"TIME-STEP", 17, 1}, {"TIME-GRID", 17, 12}, {"TIME-STEP", 18, 1}}, 6},
		{"the day of another year", "", sub(16, 25, "365"), []place{{"DOY", 16, 25}}, 5},
		{"no rows", "", without(15, 19), []place{{"NO-ROWS", 15, 0}}, 0},
		{"nothing but a format", "", without(2, 19), append(slices.Repeat([]place{{"HDR-MISSING", 2, 0}}, 11), place{"NO-ROWS", 2, 0}), 0},
		{"one row", "", without(16, 19), []place{{"MIN-SAMPLES", 16, 0}}, 1},
		{"more than a day", "", sub(19, 1, "2025-01-01 22:58:00.000 001"), []place{{"TIME-GAP", 19, 1}, {"DAY-LIMIT", 19, 1}}, 5},
		{"a name with a suffix", "tst20241231p_2-5.min", nil, []place{{"NAME-FORM", 1, 0}}, 5},
		{"a name of a day that is none", "tst20240231pmin.min", nil, []place{{"NAME-DATE", 1, 0}}, 5},
		{"a name that ends in another interval", "tst20241231pmin.sec", nil, []place{{"NAME-END", 1, 0}}, 5},
		{"a name of another station", "hyb20241231pmin.min", nil, []place{{"NAME-MATCH", 15, 0}}, 5},
		{"a name of another type", "tst20241231vmin.min", nil, []place{{"NAME-MATCH", 15, 0}}, 5},
		{"a name of another interval", "tst20241231psec.sec", nil, []place{{"NAME-MATCH", 15, 0}}, 5},
		{"a name of another minute", "tst202412312259pmin.min", nil, []place{{"NAME-MATCH", 15, 0}}, 5},
		{"a row of another day than the name", "tst20241231pmin.min", sub(19, 1, "2025-01-01 00:02:00.000 001"), []place{{"TIME-GAP", 19, 1}, {"NAME-MATCH", 19, 1}}, 5},
	}
	broken := map[string]bool{}
	for _, tt := range tests {
		for _, p := range tt.want {
			broken[p.Rule] = true
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := slices.Collect(strings.Lines(minutes))
			if tt.edit != nil {
				lines = tt.edit(lines)
			}
			file := strings.Join(lines, "")
			var got []place
			for f, err := range iaga2002.Check(strings.NewReader(file), tt.file) {
				require.NoError(t, err)
				got = append(got, place{f.Rule.Name, f.Line, f.Column})
				require.Equal(t, tt.file, f.File)
				require.Equal(t, f.Offset, int64(len(strings.Join(lines[:f.Line-1], ""))+max(f.Column-1, 0)))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			rows, err := sampletest.ReadAll(iaga2002.NewReader(strings.NewReader(file), &sample.Options{Mode: sample.Lenient}))
			require.NoError(t, err)
			require.Len(t, rows, tt.rows)
		})
	}
	for _, r := range iaga2002.Rules() {
		require.True(t, broken[r.Name], "no file breaks %s", r.Name)
	}
}

func eols(from, to int) (want []place) {
	for line := from; line <= to; line++ {
		want = append(want, place{"EOL", line, 0})
	}
	return want
}

func chain(edits ...func([]string) []string) func([]string) []string {
	return func(lines []string) []string {
		for _, edit := range edits {
			lines = edit(lines)
		}
		return lines
	}
}
