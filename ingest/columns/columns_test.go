package columns_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/columns"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// logger is the layout of a logger that writes commas, days of the year and tenths.
func logger() columns.Layout {
	nT := func(name string) columns.Field {
		return columns.Field{
			Element: sample.Element{Name: name, Unit: "nT", Decimals: 2}, Implied: 1,
			Missing: []string{"", "999999"}, NotObserved: []string{"888888"},
		}
	}
	return columns.Layout{
		Station: "TST", Cadence: time.Second, Comment: "#", Separator: ",",
		Fields: []columns.Field{{Time: "%Y-%j"}, {Time: "%H%M%S.%f"}, {}, nT("X"), nT("Y")},
	}
}

// fixed is a layout of widths, with a month and a day besides.
func fixed() columns.Layout {
	return columns.Layout{Fields: []columns.Field{
		{Width: 9, Time: "%y%b%d"}, {Width: 4, Time: "%j"}, {Width: 6, Time: "%H:%M"},
		{Width: 8, Element: sample.Element{Name: "T", Unit: "degC", Decimals: 1}, Missing: []string{"NaN"}},
	}}
}

func read(t *testing.T, l columns.Layout, file string) (rows []sample.Row, faults []string) {
	t.Helper()
	p, err := columns.NewParser(l)
	require.NoError(t, err)
	r := sample.NewReader(strings.NewReader(file), p, &sample.Options{Mode: sample.Lenient, Report: func(f *sample.Fault) {
		faults = append(faults, fmt.Sprintf("%s %d:%d", f.Rule.Name, f.Line, f.Column))
	}})
	for {
		row, err := r.Read()
		if err == io.EOF {
			return rows, faults
		}
		require.NoError(t, err)
		rows = append(rows, row)
	}
}

func row(at string, values ...int) sample.Row {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		panic(err)
	}
	r := sample.RowAt(t.UnixMilli())
	for i, v := range values {
		r.Values[i] = sample.Value(v)
	}
	return r
}

const (
	missing     = int(sample.Missing)
	notObserved = int(sample.NotObserved)
)

// Rows are read as their layout says; a line that breaks a rule gives none.
func TestParser_ReadsWhatItsLayoutSays(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		layout columns.Layout
		line   string
		want   []sample.Row
		faults []string
	}{
		{"commas, day of the year, implied decimals", logger(), "2024-366,235959.5,?,395001,-2502", []sample.Row{row("2024-12-31T23:59:59.5Z", 3950010, -25020)}, nil},
		{"blanks around fields", logger(), " 2024-060 ,000000.000, ,395001 ,\t-2502", []sample.Row{row("2024-02-29T00:00:00Z", 3950010, -25020)}, nil},
		{"fields more than the layout has", logger(), "2024-060,000000.0,,1,2,3,4", []sample.Row{row("2024-02-29T00:00:00Z", 10, 20)}, nil},
		{"a comment", logger(), "# 2024-060,000000.0,,1,2", nil, nil},
		{"an empty field is missing", logger(), "2024-060,000000.0,,,888888", []sample.Row{row("2024-02-29T00:00:00Z", missing, notObserved)}, nil},
		{"a value like the marker is a number", logger(), "2024-060,000000.0,,0999999,+888888", []sample.Row{row("2024-02-29T00:00:00Z", 9999990, 8888880)}, nil},
		{"a field too few", logger(), "2024-060,000000.0,,1", nil, []string{"FIELDS 1:0"}},
		{"an empty line", logger(), "", nil, []string{"FIELDS 1:0"}},
		{"day 366 of a common year", logger(), "2023-366,000000.0,,1,2", nil, []string{"DAY 1:0"}},
		{"day 0", logger(), "2023-000,000000.0,,1,2", nil, []string{"TIME 1:1"}},
		{"hour 24", logger(), "2024-060,240000.0,,1,2", nil, []string{"TIME 1:10"}},
		{"microseconds", logger(), "2024-060,000000.0001,,1,2", nil, []string{"TIME 1:10"}},
		{"microseconds of nothing", logger(), "2024-060,000000.001000,,1,2", []sample.Row{row("2024-02-29T00:00:00.001Z", 10, 20)}, nil},
		{"a point where it is implied", logger(), "2024-060,000000.0,,1.5,2", nil, []string{"NUMBER 1:20"}},
		{"a letter in a value", logger(), "2024-060,000000.0,,1,2x", nil, []string{"NUMBER 1:22"}},
		{"a sign alone", logger(), "2024-060,000000.0,,1,-", nil, []string{"NUMBER 1:22"}},
		{"two signs", logger(), "2024-060,000000.0,,1,--5", nil, []string{"NUMBER 1:22"}},
		{"a value too large", logger(), "2024-060,000000.0,,1,214748365", nil, []string{"DECIMALS 1:22"}},
		{"the largest values", logger(), "2024-060,000000.0,,214748364,-214748364", []sample.Row{row("2024-02-29T00:00:00Z", 2147483640, -2147483640)}, nil},
		{"two faults", logger(), "2024-060,000000.0,,x,y", nil, []string{"NUMBER 1:20", "NUMBER 1:22"}},

		{"widths", fixed(), "24MAR 15  07504:05    21.5 more", nil, []string{"TIME 1:1"}},
		{"widths, month and day of the year", fixed(), "24MAR15   07504:05    21.5 more", []sample.Row{row("2024-03-15T04:05:00Z", 215)}, nil},
		{"widths, names of months, day of the year besides", fixed(), "  24Mar15 075 04:05   -21.5 more", []sample.Row{row("2024-03-15T04:05:00Z", -215)}, nil},
		{"widths, a day of the year that is of another date", fixed(), "  24Mar15 076 04:05   -21.5", nil, []string{"DAY 1:0"}},
		{"widths, no such day", fixed(), "  24Feb30 061 04:05   -21.5", nil, []string{"DAY 1:0"}},
		{"widths, a line too short", fixed(), "  24Mar15 075 04:05   -21.", nil, []string{"FIELDS 1:0"}},
		{"widths, a year before 1970", fixed(), "  69Mar15 074 04:05     NaN", []sample.Row{row("2069-03-15T04:05:00Z", missing)}, nil},
		{"widths, more decimals than kept", fixed(), "  24Mar15 075 04:05   21.55", nil, []string{"DECIMALS 1:23"}},
		{"widths, more decimals of nothing", fixed(), "  24Mar15 075 04:05   21.50", []sample.Row{row("2024-03-15T04:05:00Z", 215)}, nil},
		{"widths, fewer decimals", fixed(), "  24Mar15 075 04:05      21", []sample.Row{row("2024-03-15T04:05:00Z", 210)}, nil},
		{"a row that goes back", logger(), "2024-060,000001.0,,1,2\n2024-060,000000.0,,1,2", []sample.Row{row("2024-02-29T00:00:01Z", 10, 20), row("2024-02-29T00:00:00Z", 10, 20)}, []string{"TIME-ORDER 2:0"}},
	}
	broken := map[string]bool{}
	for _, tt := range tests {
		for _, f := range tt.faults {
			name, _, _ := strings.Cut(f, " ")
			broken[name] = true
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rows, faults := read(t, tt.layout, tt.line+"\n")
			if diff := cmp.Diff(tt.want, rows); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			require.Equal(t, tt.faults, faults)
		})
	}
	for _, r := range columns.Rules() {
		require.True(t, broken[r.Name], "no line breaks %s", r.Name)
	}
}

// A Layout that cannot be read by is refused before a file is.
func TestNewParser_RefusesALayoutThatCannotBeReadBy(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*columns.Layout){
		"two separators":                  func(l *columns.Layout) { l.Separator = ", " },
		"a width and a separator":         func(l *columns.Layout) { l.Fields[0].Width = 3 },
		"a width for one alone":           func(l *columns.Layout) { l.Separator, l.Fields[1].Width = "", 3 },
		"an unknown verb":                 func(l *columns.Layout) { l.Fields[0].Time = "%Y%j%q" },
		"an unfinished verb":              func(l *columns.Layout) { l.Fields[0].Time = "%Y%j%" },
		"no year":                         func(l *columns.Layout) { l.Fields[0].Time = "%j" },
		"no day":                          func(l *columns.Layout) { l.Fields[0].Time = "%Y-%m" },
		"a verb that is a literal":        func(l *columns.Layout) { l.Fields[0].Time = "%Y-%%j" },
		"no elements":                     func(l *columns.Layout) { l.Fields = l.Fields[:3] },
		"too many elements":               func(l *columns.Layout) { l.Fields = append(l.Fields, make9(l.Fields[3])...) },
		"too many fields":                 func(l *columns.Layout) { l.Fields = append(l.Fields, make([]columns.Field, 28)...) },
		"ten decimals":                    func(l *columns.Layout) { l.Fields[3].Element.Decimals = 10 },
		"more decimals implied than kept": func(l *columns.Layout) { l.Fields[3].Implied = 3 },
		"a time and an element":           func(l *columns.Layout) { l.Fields[3].Time = "%d" },
	} {
		l := logger()
		spoil(&l)
		_, err := columns.NewParser(l)
		require.ErrorContains(t, err, "TST", name)
	}
}

func make9(f columns.Field) (fields []columns.Field) {
	for range 7 {
		fields = append(fields, f)
	}
	return fields
}

// The minutes of an EMBRACE magnetometer are read with D and I in degrees.
func TestEmbrace_ReadsItsFile(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/embrace.24m")
	require.NoError(t, err)
	rows, faults := read(t, columns.Embrace("SJC"), string(file))
	require.Empty(t, faults)
	if diff := cmp.Diff([]sample.Row{
		row("2024-03-15T23:58:00Z", -221234, 182341, -151204, -396670, 236872),
		row("2024-03-15T23:59:00Z", -221233, 182342, -151204, -396670, 236872),
		row("2024-03-16T00:00:00Z", -32, 182343, -151204, -396670, 236870),
	}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	p, err := columns.NewParser(columns.Embrace("SJC"))
	require.NoError(t, err)
	s := p.Series()
	require.Equal(t, "SJC", s.Station)
	require.Equal(t, time.Minute, s.Cadence)
	require.Equal(t, sample.Element{Name: "D", Unit: "deg", Decimals: 4}, s.Elements[0])
	require.Len(t, s.Elements, 5)
}

// The file that follows the published description is read to its last row.
func TestEmbrace_ReadsARealFile(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(filepath.Join(sampletest.RealFiles(t), "synthetic", "embrace", "tst15mar.24m"))
	require.NoError(t, err)
	rows, faults := read(t, columns.Embrace("TST"), string(file))
	require.Empty(t, faults)
	require.Len(t, rows, 10)
	require.Equal(t, row("2024-03-15T04:00:00Z", -221234, 182341, -151204, -396670, 236872), rows[0])
}

// Reading a row allocates nothing.
func TestParser_AllocatesNothingForARow(t *testing.T) {
	for _, l := range []columns.Layout{logger(), fixed()} {
		line := "2024-366,235959.5,?,395001,\n"
		if l.Fields[0].Width > 0 {
			line = "  24Mar15 075 04:05   -21.5\n"
		}
		src := strings.NewReader("")
		r := sample.NewReader(src, nil, nil)
		read := func(lines int) float64 {
			file := strings.Repeat(line, lines)
			return testing.AllocsPerRun(5, func() {
				src.Reset(file)
				p, err := columns.NewParser(l)
				require.NoError(t, err)
				r.Reset(src, p, &sample.Options{Mode: sample.Lenient})
				for {
					if _, err := r.Read(); err == io.EOF {
						return
					}
				}
			})
		}
		require.InDelta(t, read(1), read(1000), 0)
	}
}

// Whatever the line: nothing panics, and a line gives a row or a fault, never both
// but for the order of rows.
func FuzzParser_GivesARowOrAFault(f *testing.F) {
	f.Add("2024-366,235959.5,?,395001,-2502")
	f.Add("  24Mar15 075 04:05   -21.5")
	f.Add(" 15 03 2024  23 58  -22.1234  18234.1 -15120.4 -39.6670  23687.2")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") || len(line) > 4000 {
			return
		}
		embrace := columns.Embrace("TST")
		embrace.Skip = 0
		for _, l := range []columns.Layout{logger(), fixed(), embrace} {
			rows, faults := read(t, l, line+"\n")
			comment := l.Comment != "" && strings.HasPrefix(line, l.Comment)
			require.Equal(t, comment, len(rows) == 0 && len(faults) == 0)
			require.True(t, len(rows) == 0 || len(faults) == 0)
		}
	})
}
