package report_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
)

var update = flag.Bool("update", false, "write the golden files")

// byText compares errors by their text and takes no slice for an empty one.
var byText = cmp.Options{
	cmp.Comparer(func(a, b error) bool {
		return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
	}),
	cmpopts.EquateEmpty(),
}

// situations are reports that an operator gets, by the name of their golden files.
func situations() map[string]*report.Report {
	fetched := report.Job{
		Name: "supim", Day: day(268), Start: at(6, 0, 2), End: at(6, 14, 40),
		Files: 312, Bytes: 1_610_612_736, Literal: 440_401_920, Verified: 312,
	}
	kept := report.Job{
		Name: "supim", Day: day(267), Start: at(6, 14, 40), End: at(6, 14, 41),
		Files: 310, Bytes: 1_600_000_000, Verified: 310, Notes: []string{"kept already since 2026-09-24, and unchanged"},
	}
	all := func(jobs ...report.Job) *report.Report {
		return &report.Report{
			Name: "supim", Host: "backup1", Day: day(268), Start: at(6, 0, 0), End: at(6, 31, 10), Jobs: jobs,
			Notes: []string{"312 GiB free on /backup, full in about 80 days"}, Version: "backup v0.1.0",
		}
	}
	older := kept
	older.Day, older.Files, older.Verified = day(266), 311, 311

	nothing := all()
	nothing.Notes = nil

	hostile := all(report.Job{
		Name: "a\r\nOK: all is well\x1b[2J\u202e", Outcome: report.Failed,
		Err:   errors.New("open \"x\n\nOK: supim\xff\x00\": <script>alert(1)</script> & 'more'"),
		Notes: []string{"</td></table><img src=http://example.org/x.png>", strings.Repeat("word ", 30) + "OK: forged"},
	})
	hostile.Name = "supim</title><script>alert(2)</script> " + strings.Repeat("x", 60) + " OK: forged"
	hostile.Host = "host\nOK: forged"
	hostile.Version = "\u2028v1"

	return map[string]*report.Report{
		"all-well": all(fetched, kept, older),
		"trouble-of-every-kind": all(
			fetched,
			report.Job{
				Name: "supim", Day: day(267), Outcome: report.Warning, Start: at(6, 14, 40), End: at(6, 31, 2),
				Files: 310, Bytes: 1_600_000_000, Literal: 1_599_000_000, Verified: 300, Unverified: 10,
				Notes: []string{"the source changed after the day was kept: the new state is kept beside it as revision 2"},
			},
			report.Job{
				Name: "supim", Day: day(266), Outcome: report.Missed, Start: at(6, 31, 2), End: at(6, 31, 2).Add(120 * time.Millisecond),
				Notes: []string{"no folder /data/supim/2026/266 on the source"},
			},
			report.Job{
				Name: "supim", Day: day(265), Outcome: report.Failed, Start: at(6, 31, 3), End: at(6, 31, 10),
				Files: 17, Bytes: 83_886_080, Literal: 83_886_080, Unverified: 17,
				Err: errors.Join(
					errors.New(`transfer: open "2026/265/ne-0300.dat": permission denied`),
					fmt.Errorf("transfer: connection to supim.example.org:22 lost after 3 attempts: %w", io.ErrUnexpectedEOF),
				),
				Notes: []string{"17 of 312 files are held; the next run goes on from there"},
			},
		),
		"nothing-reported": nothing,
		"hostile-names":    hostile,
		"jobs-without-numbers": {
			Host: "backup1",
			Jobs: []report.Job{{Name: "web01"}, {Name: "db01", Outcome: report.Missed, Notes: []string{"not running"}}},
		},
		"names-from-many-scripts": {
			Name: "Kühlungsborn 地磁気", Host: "São José dos Campos", Day: day(1), Start: at(6, 0, 0),
			Jobs: []report.Job{
				{Name: "São José dos Campos, DAVS at high resolution, night side", Day: day(1), Start: at(23, 59, 0), End: at(23, 59, 0).Add(2 * time.Hour), Files: 12345, Bytes: 1 << 42, Literal: 1 << 41, Verified: 12345},
				{Name: "अलीबाग", Day: day(1), Files: 1, Bytes: 812, Literal: 812, Unverified: 1},
			},
		},
	}
}

func render(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	return b.String()
}

// The golden files are the specification of the renderings. Look at them, and
// then write them anew with: go test ./report -update
func TestReport_ReadsAsItsGoldenFiles(t *testing.T) {
	t.Parallel()
	for name, r := range situations() {
		for ext, write := range map[string]func(io.Writer) error{"txt": r.WriteText, "html": r.WriteHTML, "json": r.WriteJSON} {
			t.Run(name+"."+ext, func(t *testing.T) {
				file := filepath.Join("testdata", name+"."+ext)
				got := render(t, write)
				if *update {
					require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				}
				want, err := os.ReadFile(file)
				require.NoError(t, err)
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Trouble is shown before anything else, the worst first.
func TestReport_ShowsTroubleFirst(t *testing.T) {
	t.Parallel()
	r := situations()["trouble-of-every-kind"]
	for _, text := range []string{render(t, r.WriteText), render(t, r.WriteHTML)} {
		_, text, _ = strings.Cut(text, "Trouble")
		last := 0
		for _, label := range []string{"supim 2026-265", "supim 2026-266", "supim 2026-267", "All jobs"} {
			i := strings.Index(text, label)
			require.Greater(t, i, last, label)
			last = i
		}
	}
}

// Lines of the text have at most 78 characters, except where a word or the
// numbers of a table are longer.
func TestWriteText_KeepsLinesShort(t *testing.T) {
	t.Parallel()
	for name, r := range situations() {
		for line := range strings.Lines(render(t, r.WriteText)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.Contains(strings.TrimLeft(line, " "), " ") && !strings.Contains(line, strings.Repeat("x", 60)) {
				require.LessOrEqual(t, utf8.RuneCountInString(line), 78, "%s: %s", name, line)
			}
			require.Equal(t, strings.TrimRight(line, " "), line, "%s: spaces at the end", name)
		}
	}
}

// No name, note or error can forge a line of the text: each line that begins
// at the margin and names an outcome is the report's own.
func FuzzWriteText_NothingForgesALine(f *testing.F) {
	f.Add("supim", "a\nOK: forged", "note\r\nOK: forged")
	f.Add(strings.Repeat("word ", 15)+"OK: forged", "\x85OK: forged", "\u2028OK: forged")
	f.Fuzz(func(t *testing.T, name, text, note string) {
		r := report.Report{
			Name: name, Host: text, Version: note, Notes: []string{note},
			Jobs: []report.Job{{Name: name, Outcome: report.Failed, Err: errors.New(text), Notes: []string{note}}},
		}
		out := render(t, r.WriteText)
		require.True(t, utf8.ValidString(out))
		for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
			require.Equal(t, -1, strings.IndexFunc(line, unicode.IsControl), "%q", line)
			if i == 0 {
				require.True(t, strings.HasPrefix(line, "FAILED:"), "%q", line)
			} else {
				require.False(t, strings.HasPrefix(line, "OK"), "%q", line)
			}
		}
	})
}

// The HTML is one file: no script, no image, nothing loaded from elsewhere,
// and nothing in it comes from a name.
func TestWriteHTML_LoadsNothingAndRunsNothing(t *testing.T) {
	t.Parallel()
	tags := regexp.MustCompile(`<[^>]*>`)
	own := regexp.MustCompile(`^</?(!DOCTYPE|html|head|meta|title|style|body|table|tr|td|th|div|h1|h2|span)\b`)
	for name, r := range situations() {
		html := render(t, r.WriteHTML)
		for _, tag := range tags.FindAllString(html, -1) {
			require.Regexp(t, own, tag, name)
			for _, forbidden := range []string{"src=", "href=", "url(", "onload", "javascript", "@import"} {
				require.NotContains(t, tag, forbidden, name)
			}
		}
		style := html[strings.Index(html, "<style>"):strings.Index(html, "</style>")]
		require.NotContains(t, style, "url(")
		require.NotContains(t, style, "@import")
		require.NotContains(t, html, "ZgotmplZ", "%s: the template refused a value", name)
	}
}

// A reader may prefer dark, and one that drops style sheets still sees colours.
func TestWriteHTML_IsMadeForLightAndDark(t *testing.T) {
	t.Parallel()
	html := render(t, situations()["trouble-of-every-kind"].WriteHTML)
	require.Contains(t, html, `<meta name="color-scheme" content="light dark">`)
	require.Contains(t, html, "prefers-color-scheme: dark")
	for _, o := range []report.Outcome{report.OK, report.Warning, report.Missed, report.Failed} {
		require.Regexp(t, fmt.Sprintf(`class="%v" style="[^"]*background-color:#[0-9a-f]{6};color:#[0-9a-f]{6}"`, o), html)
		require.Contains(t, html, fmt.Sprintf(".%v {", o))
	}
}

// On a screen too narrow for the table, its rows become lines that wrap, and
// each number carries the name of its column: nothing is out of sight.
func TestWriteHTML_NamesTheNumbersOnANarrowScreen(t *testing.T) {
	t.Parallel()
	for name, r := range situations() {
		html := render(t, r.WriteHTML)
		start := strings.Index(html, `<table class="jobs"`)
		if start < 0 {
			require.Empty(t, r.Jobs, name)
			continue
		}
		require.Contains(t, html, "@media (max-width: 720px) {")
		table, _, _ := strings.Cut(html[start:], "</table>")
		var columns []string
		for _, head := range regexp.MustCompile(`<th [^>]*>([^<]*)</th>`).FindAllStringSubmatch(table, -1) {
			columns = append(columns, head[1])
		}
		rows := strings.Split(table, "<tr>")[2:]
		require.GreaterOrEqual(t, len(rows), len(r.Jobs), name)
		for _, row := range rows {
			cells := regexp.MustCompile(`<td[^>]*>`).FindAllString(row, -1)
			require.Len(t, cells, len(columns), name)
			for i, cell := range cells[2:] {
				require.Contains(t, cell, fmt.Sprintf(`data-name="%s "`, columns[i+2]), name)
			}
		}
	}
}

// ReadJSON(WriteJSON(r)) equals r, errors compared by their text, and is
// rendered as r is.
func TestReadJSON_ReadsWhatWriteJSONWrote(t *testing.T) {
	t.Parallel()
	for name, r := range situations() {
		t.Run(name, func(t *testing.T) {
			back, err := report.ReadJSON(strings.NewReader(render(t, r.WriteJSON)))
			require.NoError(t, err)
			require.Equal(t, render(t, r.WriteText), render(t, back.WriteText))
			require.Equal(t, render(t, r.WriteHTML), render(t, back.WriteHTML))
			require.Equal(t, render(t, r.WriteJSON), render(t, back.WriteJSON))
			if name != "hostile-names" { // holds bytes that are not UTF-8
				require.Empty(t, cmp.Diff(r, back, byText))
			}
		})
	}
}

func FuzzReadJSON_ReadsWhatWriteJSONWrote(f *testing.F) {
	f.Add("supim", "cut\nhere", uint8(3), 2026, 268, int64(1e9), int64(1_790_000_000), int64(3))
	f.Add("\xff", "", uint8(0), 0, 0, int64(-1), int64(-62135596800), int64(0))
	f.Fuzz(func(t *testing.T, name, text string, outcome uint8, year, dayOfYear int, n, start, length int64) {
		d := julian.Date{Year: year, Day: dayOfYear}
		begin := time.Unix(start, length&0xfffff)
		if !d.IsValid() || begin.Year() < 1 || begin.Year() > 9000 {
			d, begin = julian.Date{}, time.Time{}
		}
		r := &report.Report{
			Name: name, Host: text, Day: d, Start: begin, End: begin.Add(time.Duration(length)), Notes: []string{text},
			Jobs: []report.Job{
				{Name: name, Day: d, Outcome: report.Outcome(outcome % 4), Bytes: n, Literal: n, Files: int(n), End: begin, Notes: []string{name}},
				{Name: text, Outcome: report.Failed, Err: errors.New(text), Verified: int(n)},
				{Name: text, Outcome: report.Warning, Err: errors.Join(errors.New(name), errors.New(text))},
			},
		}
		if y := r.End.UTC().Year(); y < 1 || y > 9999 {
			r.End = begin
		}
		back, err := report.ReadJSON(strings.NewReader(render(t, r.WriteJSON)))
		require.NoError(t, err)
		require.Equal(t, render(t, r.WriteText), render(t, back.WriteText))
		if utf8.ValidString(name) && utf8.ValidString(text) {
			require.Empty(t, cmp.Diff(r, back, byText))
		}
	})
}

// A document in another form is a *SchemaError that names it, whatever else
// it holds.
func TestReadJSON_RefusesAnotherSchema(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, text, schema string }{
		{"a later form", `{"schema": "obskeep/report/v2", "jobs": 7}`, "obskeep/report/v2"},
		{"no schema", `{"name": "supim"}`, ""},
		{"another document", `{"schema": "obskeep/run/v1"}`, "obskeep/run/v1"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			_, err := report.ReadJSON(strings.NewReader(row.text))
			schemaErr, ok := errors.AsType[*report.SchemaError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, row.schema, schemaErr.Schema)
		})
	}
}

func TestReadJSON_RefusesWhatIsNoReport(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, text string }{
		{"nothing", ""},
		{"half a document", `{"schema": "obskeep/report/v1", "jobs": [`},
		{"more than one document", `{"schema": "obskeep/report/v1"} {}`},
		{"no such outcome", `{"schema": "obskeep/report/v1", "jobs": [{"outcome": "fine"}]}`},
		{"no such day", `{"schema": "obskeep/report/v1", "day": "2026-366"}`},
	} {
		t.Run(row.rule, func(t *testing.T) {
			_, err := report.ReadJSON(strings.NewReader(row.text))
			require.Error(t, err)
		})
	}
}

// Fields that a later version adds are passed over.
func TestReadJSON_PassesOverUnknownFields(t *testing.T) {
	t.Parallel()
	r, err := report.ReadJSON(strings.NewReader(`{"schema": "obskeep/report/v1", "name": "supim", "mood": "good"}`))
	require.NoError(t, err)
	require.Equal(t, "supim", r.Name)
}

// What cannot be written is an error, not half a report taken for whole.
func TestReport_ReportsAWriterThatFails(t *testing.T) {
	t.Parallel()
	full := errors.New("full")
	r := situations()["all-well"]
	for _, write := range []func(io.Writer) error{r.WriteText, r.WriteHTML, r.WriteJSON} {
		pr, pw := io.Pipe()
		require.NoError(t, pr.CloseWithError(full))
		require.ErrorIs(t, write(pw), full)
	}
}
