package iaga2002_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// rewrite writes what r reads.
func rewrite(r *iaga2002.Reader) ([]byte, error) {
	h, err := r.Header()
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	w, err := iaga2002.NewWriter(&file, &h)
	if err != nil {
		return nil, err
	}
	err = sampletest.Rewrite(r, w)
	return file.Bytes(), err
}

// A file that the strict reader accepts is written again byte for byte.
func TestWriter_RewritesAConformingFileByteForByte(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/[a-z]*.*")
	require.NoError(t, err)
	require.Len(t, names, 3)
	for _, name := range names {
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		again, err := rewrite(iaga2002.NewReader(bytes.NewReader(file), nil))
		require.NoError(t, err)
		require.True(t, bytes.Equal(file, again), name)
	}
}

// The same holds of real files; those that do not conform are told why.
func TestWriter_RewritesRealFilesByteForByte(t *testing.T) {
	t.Parallel()
	// The first rule that each of the others breaks.
	breaks := map[string]*sample.Rule{
		"BOU202005vmin.min":                 iaga2002.Elements,    // HENULNUL
		"BOU20200831vhor.hor":               iaga2002.TimeGrid,    // says 1-minute
		"BOU20200831vday.day":               iaga2002.TimeGrid,    // says 1-minute
		"LLO20200106vmin.min":               iaga2002.Elements,    // UVWNUL
		"bou20181024_DQVS_test0_vmin.min":   iaga2002.Elements,    // MDTMSQMSVMSS
		"bou20181024_DQVS_test1_vmin.min":   iaga2002.Elements,    // MDTMSQMSVMSS
		"bou20181024_DQVS_test2_vmin.min":   iaga2002.Elements,    // MDTMSQMSVMSS
		"bou20181024_DQVS_test3_vmin.min":   iaga2002.Elements,    // MDTMSQMSVMSS
		"bou20181024_XYZF_vmin.min":         iaga2002.RowColumns,  // columns shifted by one
		"nxy20150204000000vsec_excerpt.sec": iaga2002.Titles,      // without the code
		"wic20220810000000vsec_excerpt.sec": iaga2002.LatLonRange, // in metres
	}
	dir := sampletest.RealFiles(t)
	conform := 0
	for _, pattern := range []string{"usgs/*.min", "usgs/*.sec", "usgs/*.hor", "usgs/*.day", "magpy/*.sec", "derived/*/*.min"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, names, pattern)
		for _, name := range names {
			file, err := os.ReadFile(name)
			require.NoError(t, err)
			again, err := rewrite(iaga2002.NewReader(bytes.NewReader(file), nil))
			if strings.Contains(name, "_gap") {
				require.ErrorIs(t, err, iaga2002.TimeGap)
				continue
			}
			if strings.Contains(name, "_torn") {
				require.ErrorIs(t, err, iaga2002.EOL)
				continue
			}
			if rule := breaks[filepath.Base(name)]; rule != nil {
				require.ErrorIs(t, err, rule, name)
				continue
			}
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(file, again), name)
			conform++
		}
	}
	require.Equal(t, 12, conform)
}

// The strict reader accepts what a Writer has closed without an error, and
// reads the rows that were written.
func TestWriter_WritesWhatTheStrictReaderReads(t *testing.T) {
	t.Parallel()
	const start = "2024-12-31T23:58:00Z"
	good := []sample.Row{
		row(start, 0, 3950010, -25, 0, -9999999),
		row(start, 60_000, int(sample.Missing), int(sample.NotObserved), 8888799, 1),
	}
	tests := []struct {
		name string
		rows []sample.Row
		want error
	}{
		{"rows", good, nil},
		{"no rows", nil, iaga2002.NoRows},
		{"one row", good[:1], iaga2002.MinSamples},
		{"a hole", []sample.Row{good[0], good[1], row(start, 180_000, 1, 2, 3, 4)}, iaga2002.TimeGap},
		{"a repeated row", []sample.Row{good[0], good[0]}, iaga2002.TimeDup},
		{"a row that goes back", []sample.Row{good[1], good[0]}, iaga2002.TimeOrder},
		{"seconds in a file of minutes", []sample.Row{good[0], row(start, 1000, 1, 2, 3, 4)}, iaga2002.Interval},
		{"a value that is too long", []sample.Row{good[0], row(start, 60_000, -10000000, 2, 3, 4)}, iaga2002.Len70},
		{"a year that is too long", []sample.Row{row("9999-12-31T23:59:00Z", 60_000, 1, 2, 3, 4)}, iaga2002.Len70},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := header()
			var file bytes.Buffer
			w, err := iaga2002.NewWriter(&file, &h)
			require.NoError(t, err)
			for _, r := range tt.rows {
				if err = w.Write(r); err != nil {
					break
				}
			}
			if err == nil {
				err = w.Close()
			}
			require.ErrorIs(t, err, tt.want)
			if tt.want != nil {
				require.Equal(t, err, w.Close(), "the error is final")
				return
			}
			got, err := sampletest.ReadAll(iaga2002.NewReader(&file, nil))
			require.NoError(t, err)
			if diff := cmp.Diff(tt.rows, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// The header of a Writer is checked as that of a file is.
func TestNewWriter_RefusesAHeaderThatDoesNotConform(t *testing.T) {
	t.Parallel()
	for rule, spoil := range map[*sample.Rule]func(*iaga2002.Header){
		iaga2002.HdrMissing: func(h *iaga2002.Header) { h.Station = "" },
		iaga2002.Code:       func(h *iaga2002.Header) { h.Code = "tst" },
		iaga2002.Len70:      func(h *iaga2002.Header) { h.Source = strings.Repeat("x", 46) },
		iaga2002.NoTab:      func(h *iaga2002.Header) { h.Comments = []string{"a\nb"} },
		iaga2002.HdrForm:    func(h *iaga2002.Header) { h.Station = " Testville" },
	} {
		h := header()
		spoil(&h)
		_, err := iaga2002.NewWriter(io.Discard, &h)
		require.ErrorIs(t, err, rule)
	}
}

// A Writer writes no measured value as one of the format's codes.
func TestWriter_WritesNoMeasuredValueAsACode(t *testing.T) {
	t.Parallel()
	for _, v := range []int{9999900, 8888800} {
		h := header()
		w, err := iaga2002.NewWriter(io.Discard, &h)
		require.NoError(t, err)
		require.Error(t, w.Write(row("2024-12-31T23:58:00Z", 0, v, 2, 3, 4)))
		require.Error(t, w.Close())
	}
	h := header()
	w, err := iaga2002.NewWriter(io.Discard, &h)
	require.NoError(t, err)
	require.Error(t, w.Write(row("2024-12-31T23:58:00Z", 0, 1, 2, 3, 4, 5)), "a fifth value has no column")
}

// A Writer reports what its destination reports, from then on.
func TestWriter_ReportsWhatItsDestinationReports(t *testing.T) {
	t.Parallel()
	h := header()
	w, err := iaga2002.NewWriter(full{}, &h)
	require.NoError(t, err)
	require.NoError(t, w.Write(row("2024-12-31T23:58:00Z", 0, 1, 2, 3, 4)))
	require.NoError(t, w.Write(row("2024-12-31T23:59:00Z", 0, 1, 2, 3, 4)))
	require.ErrorIs(t, w.Close(), io.ErrShortWrite)
	require.ErrorIs(t, w.Write(row("2024-12-31T23:59:00Z", 60_000, 1, 2, 3, 4)), io.ErrShortWrite)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Whatever the bytes: no mode panics; what the strict reader accepts is written
// again byte for byte; what the lenient reader reads and the Writer takes is
// read again as the same rows.
func FuzzReader_RewritesWhatItReads(f *testing.F) {
	names, err := filepath.Glob("testdata/[a-z]*.*")
	require.NoError(f, err)
	for _, name := range names {
		file, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(file)
	}
	f.Add([]byte(minutes))
	f.Add([]byte(strings.ReplaceAll(minutes, "  -250.25", "   -.2500")))
	f.Add([]byte(strings.ReplaceAll(minutes, " 17300.50", "  -3.5E-7")))
	f.Fuzz(func(t *testing.T, file []byte) {
		if again, err := rewrite(iaga2002.NewReader(bytes.NewReader(file), nil)); err == nil {
			require.Equal(t, string(file), string(again))
		}
		for _, mode := range []sample.Mode{sample.Receiver, sample.Lenient} {
			opts := &sample.Options{Mode: mode, Report: func(*sample.Fault) {}}
			rows, err := sampletest.ReadAll(iaga2002.NewReader(bytes.NewReader(file), opts))
			require.LessOrEqual(t, len(rows), bytes.Count(file, []byte("\n"))+bytes.Count(file, []byte("\r"))+1)
			if err != nil {
				continue
			}
			again, err := rewrite(iaga2002.NewReader(bytes.NewReader(file), opts))
			if err != nil {
				continue
			}
			same, err := sampletest.ReadAll(iaga2002.NewReader(bytes.NewReader(again), nil))
			require.NoError(t, err)
			require.Equal(t, rows, same)
		}
	})
}
