package imf_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// rewrite writes what r reads.
func rewrite(r *imf.Reader) ([]byte, error) {
	h, err := r.Header()
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	w := imf.NewWriter(&file, &h)
	err = sampletest.Rewrite(r, w)
	return file.Bytes(), err
}

// A file that the strict reader accepts is written again byte for byte.
func TestWriter_RewritesAConformingFileByteForByte(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("testdata/*.imf")
	require.NoError(t, err)
	require.Len(t, names, 2)
	for _, name := range names {
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		again, err := rewrite(imf.NewReader(bytes.NewReader(file), nil))
		require.NoError(t, err)
		require.True(t, bytes.Equal(file, again), name)
	}
}

// The same holds of a real day, whose name fits.
func TestWriter_RewritesARealFileByteForByte(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(filepath.Join(sampletest.RealFiles(t), "derived", "NOV0114.BOU"))
	require.NoError(t, err)
	r := imf.NewReader(bytes.NewReader(file), &sample.Options{Name: "derived/NOV0114.BOU"})
	h, err := r.Header()
	require.NoError(t, err)
	require.Equal(t, imf.Header{Code: "BOU", Elements: "HDZF", Type: 'R', GIN: "GOL", Colatitude: 499, Longitude: 2548, DecBas: 5527}, h)
	require.Equal(t, sample.Series{
		Station: "BOU", Cadence: time.Minute, Level: sample.Variation,
		Elements: []sample.Element{{Name: "H", Unit: "nT", Decimals: 1}, {Name: "D", Unit: "arcmin", Decimals: 2}, {Name: "Z", Unit: "nT", Decimals: 1}, {Name: "F", Unit: "nT", Decimals: 1}},
	}, r.Series())
	again, err := rewrite(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(file, again))
}

func header() imf.Header {
	return imf.Header{Code: "TST", Elements: "XYZF", Type: 'A', GIN: "EDI", Colatitude: 727, Longitude: 789}
}

// row returns the values of a minute after 04:00 on 15 March 2024.
func row(minute int64, values ...int) sample.Row {
	r := sample.RowAt(time.Date(2024, 3, 15, 4, 0, 0, 0, time.UTC).UnixMilli() + minute*60_000)
	for i, v := range values {
		r.Values[i] = sample.Value(v)
	}
	return r
}

// The strict reader accepts what a Writer has closed without an error, and
// reads the rows that were written, and missing ones between them to the hour.
func TestWriter_WritesWhatTheStrictReaderReads(t *testing.T) {
	t.Parallel()
	missing, notObserved := int(sample.Missing), int(sample.NotObserved)
	tests := []struct {
		name string
		rows []sample.Row
		want error
	}{
		{"rows", []sample.Row{row(3, 395001, -999998, 999998-111111, notObserved), row(5, 1, missing, 0, notObserved)}, nil},
		{"rows over two hours", []sample.Row{row(59, 1, 2, 3, 4), row(60, 5, 6, 7, 8)}, nil},
		{"no rows", nil, imf.NoRows},
		{"an hour is left out", []sample.Row{row(59, 1, 2, 3, 4), row(120, 5, 6, 7, 8)}, imf.TimeGap},
		{"a repeated row", []sample.Row{row(0, 1, 2, 3, 4), row(0, 1, 2, 3, 4)}, imf.TimeOrder},
		{"a row that goes back", []sample.Row{row(60, 1, 2, 3, 4), row(0, 1, 2, 3, 4)}, imf.TimeOrder},
		{"a value that is too long", []sample.Row{row(0, -1000000, 2, 3, 4)}, imf.Range},
		{"a scalar that is too long", []sample.Row{row(0, 1, 2, 3, -100000)}, imf.Len62},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := header()
			var file bytes.Buffer
			w := imf.NewWriter(&file, &h)
			var err error
			for _, r := range tt.rows {
				if err = w.Write(r); err != nil {
					break
				}
			}
			if err == nil {
				err = w.Close()
			}
			if tt.want != nil {
				require.Error(t, err)
				require.Equal(t, err, w.Close(), "the error is final")
				if tt.want == imf.Range {
					return // or whatever its length breaks first
				}
			}
			require.ErrorIs(t, err, tt.want)
			if tt.want != nil {
				return
			}
			got, err := sampletest.ReadAll(imf.NewReader(&file, nil))
			require.NoError(t, err)
			require.Zero(t, len(got)%60)
			written := map[int64]sample.Row{}
			for _, r := range tt.rows {
				written[r.Time] = r
			}
			for _, r := range got {
				want, ok := written[r.Time]
				if !ok {
					want = row(0, missing, missing, missing, missing)
					want.Time = r.Time
					if tt.name == "rows" {
						want.Values[3] = sample.NotObserved
					}
				}
				if diff := cmp.Diff(want, r); diff != "" {
					t.Errorf("row (-want +got):\n%s", diff)
				}
				delete(written, r.Time)
			}
			require.Empty(t, written)
		})
	}
}

// A Writer writes no measured value as one of the format's codes, and no row
// that has no place in the format.
func TestWriter_WritesNoMeasuredValueAsACode(t *testing.T) {
	t.Parallel()
	for _, r := range []sample.Row{row(0, 999999, 2, 3, 4), row(0, 1, 888888, 3, 4), row(0, 1, 2, 3, 4, 5)} {
		h := header()
		w := imf.NewWriter(io.Discard, &h)
		if err := w.Write(r); err == nil {
			require.Error(t, w.Close())
		}
	}
	h := header()
	seconds := row(0, 1, 2, 3, 4)
	seconds.Time++
	require.Error(t, imf.NewWriter(io.Discard, &h).Write(seconds))
}

// The header of a Writer is checked as that of a file is.
func TestWriter_RefusesAHeaderThatDoesNotConform(t *testing.T) {
	t.Parallel()
	for rule, spoil := range map[*sample.Rule]func(*imf.Header){
		imf.Code:       func(h *imf.Header) { h.Code = "tst" },
		imf.Comp:       func(h *imf.Header) { h.Elements = "XYZS" },
		imf.Type:       func(h *imf.Header) { h.Type = 'V' },
		imf.GIN:        func(h *imf.Header) { h.GIN = "BGS" },
		imf.PlaceRange: func(h *imf.Header) { h.Colatitude = 1801 },
		imf.DecBasForm: func(h *imf.Header) { h.DecBas = 5 },
	} {
		h := header()
		spoil(&h)
		w := imf.NewWriter(io.Discard, &h)
		require.NoError(t, w.Write(row(0, 1, 2, 3, 4)))
		require.ErrorIs(t, w.Close(), rule)
	}
}

// A Writer reports what its destination reports, from then on.
func TestWriter_ReportsWhatItsDestinationReports(t *testing.T) {
	t.Parallel()
	h := header()
	w := imf.NewWriter(full{}, &h)
	require.NoError(t, w.Write(row(0, 1, 2, 3, 4)))
	require.ErrorIs(t, w.Write(row(60, 1, 2, 3, 4)), io.ErrShortWrite)
	require.ErrorIs(t, w.Write(row(61, 1, 2, 3, 4)), io.ErrShortWrite)
	require.ErrorIs(t, w.Close(), io.ErrShortWrite)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// Whatever the bytes: no mode panics; what the strict reader accepts is written
// again byte for byte; what the lenient reader reads and the Writer takes is
// read again as the same rows, and others are missing.
func FuzzReader_RewritesWhatItReads(f *testing.F) {
	for _, file := range []string{
		strings.Join(hours(4, 2), ""),
		strings.ReplaceAll(strings.Join(hours(23, 1), ""), "  -2502", " 888888"),
		strings.ReplaceAll(strings.Join(hours(23, 1), ""), " 395", "+395"),
	} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if again, err := rewrite(imf.NewReader(bytes.NewReader(file), nil)); err == nil {
			require.Equal(t, string(file), string(again))
		}
		for _, mode := range []sample.Mode{sample.Receiver, sample.Lenient} {
			opts := &sample.Options{Mode: mode, Report: func(*sample.Fault) {}}
			rows, err := sampletest.ReadAll(imf.NewReader(bytes.NewReader(file), opts))
			require.LessOrEqual(t, len(rows), 2*(bytes.Count(file, []byte("\n"))+bytes.Count(file, []byte("\r"))+1))
			if err != nil {
				continue
			}
			again, err := rewrite(imf.NewReader(bytes.NewReader(file), opts))
			if err != nil {
				continue
			}
			same, err := sampletest.ReadAll(imf.NewReader(bytes.NewReader(again), nil))
			require.NoError(t, err)
			for _, r := range same {
				if len(rows) > 0 && rows[0].Time == r.Time {
					require.Equal(t, rows[0], r)
					rows = rows[1:]
				} else {
					for _, v := range r.Values {
						require.False(t, v.Measured())
					}
				}
			}
			require.Empty(t, rows)
		}
	})
}
