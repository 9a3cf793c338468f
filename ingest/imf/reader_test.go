package imf_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
	"github.com/obskeep/obskeep/julian"
)

// A torn last line is no fault while the file grows, and no row.
func TestReader_LeavesATornLineForLater(t *testing.T) {
	t.Parallel()
	file := strings.Join(hours(4, 2), "")
	for n := len(file) - 64; n < len(file); n++ {
		p := imf.NewParser("")
		r := sample.NewReader(strings.NewReader(file[:n]), p, &sample.Options{Growing: true})
		rows, err := sampletest.ReadAll(r)
		require.NoError(t, err)
		require.Len(t, rows, 60)
		at := r.Position()
		require.Equal(t, sample.Position{Lines: 61, Offset: int64(len(file) - 64)}, at)
		require.EqualValues(t, n-len(file)+64, r.Torn())

		// Later the file is whole, and is read from where its whole lines ended.
		r.Reset(strings.NewReader(file[at.Offset:]), p, &sample.Options{Growing: true, Start: at})
		rows, err = sampletest.ReadAll(r)
		require.NoError(t, err)
		require.Len(t, rows, 60)
	}
}

// A block that has lost a line, or a part of one, gives no row.
func TestReader_TakesNothingOfABlockThatLostAPartOfALine(t *testing.T) {
	t.Parallel()
	lines := hours(4, 2)
	for n := range 62 {
		torn := lines[10][:n]
		for name, line := range map[string]string{
			"and the next goes on in it": torn, "and ends": torn + "\r\n", "and comes again": torn + "\r\n" + lines[10],
		} {
			file := strings.Join(lines[:10], "") + line + strings.Join(lines[11:], "")
			rows, err := sampletest.ReadAll(imf.NewReader(strings.NewReader(file), &sample.Options{Mode: sample.Lenient}))
			require.NoError(t, err)
			require.Len(t, rows, 60, "torn after %d characters, %s", n, name)
			require.Equal(t, row(60, 395000, -2502, 173005, 431227), rows[0])
		}
	}
}

// Missing, not observed and measured values are kept apart.
func TestReader_KeepsMissingAndNotObservedApart(t *testing.T) {
	t.Parallel()
	file := strings.ReplaceAll(strings.Join(hours(4, 1), ""), " 173005", " 888888")
	rows, err := sampletest.ReadAll(imf.NewReader(strings.NewReader(file), nil))
	require.NoError(t, err)
	require.Equal(t, row(0, 395000, -2502, int(sample.NotObserved), 431227), rows[0])
	require.Equal(t, row(1, 395001, -2502, int(sample.NotObserved), int(sample.Missing)), rows[1])
}

// A header names the file it stands in.
func TestHeader_NamesItsFile(t *testing.T) {
	t.Parallel()
	h := header()
	at := time.Date(2024, 3, 15, 23, 59, 0, 0, time.UTC).In(time.FixedZone("", 3600))
	require.Equal(t, "MAR1524.TST", h.Name(at).String())
}

// ParseName(n.String()) returns n for every name of the format.
func TestParseName_RoundTrips(t *testing.T) {
	t.Parallel()
	for day := range julian.Days(julian.Date{Year: 1950, Day: 1}, julian.Date{Year: 2049, Day: 365}) {
		for _, kind := range []byte("\x00ADRQT") {
			want := imf.Name{Code: "TST", Day: day, Type: kind}
			got, err := imf.ParseName(want.String())
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
}

// What is parsed again from what a name says is the same name.
func FuzzParseName_RoundTrips(f *testing.F) {
	for _, s := range []string{"MAR1524.TST", "mar1524a.tst", "FEB3024.HYB", "MAR1591V.BOU", "HYB01JAN.bin", "\xff", "MAR1524\xc5\xbf.TST"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := imf.ParseName(s)
		if err != nil {
			var fault *sample.Fault
			require.True(t, errors.As(err, &fault))
			return
		}
		require.Equal(t, strings.ToUpper(s), n.String())
		again, err := imf.ParseName(n.String())
		require.NoError(t, err)
		require.Equal(t, n, again)
	})
}

// Reading a row allocates nothing, not even when zeros fill the values.
func TestReader_AllocatesNothingForARow(t *testing.T) {
	for _, file := range []string{strings.Join(hours(0, 1), ""), strings.ReplaceAll(strings.Join(hours(0, 1), ""), " 395", "0395")} {
		src := strings.NewReader("")
		r := sample.NewReader(src, nil, nil)
		read := func(times int) float64 {
			all := strings.Repeat(file, times)
			return testing.AllocsPerRun(5, func() {
				src.Reset(all)
				r.Reset(src, imf.NewParser(""), &sample.Options{Mode: sample.Lenient})
				for {
					if _, err := r.Read(); err == io.EOF {
						return
					}
				}
			})
		}
		one := read(1)
		perBlock := read(2) - one // its header's strings
		require.Less(t, perBlock, 10.0)
		require.InDelta(t, one+100*perBlock, read(101), 1)
	}
}

// BenchmarkReader_Strict reads a day a hundred times over, 4.8 MB.
func BenchmarkReader_Strict(b *testing.B) {
	file := []byte(strings.Join(hours(0, 24), ""))
	src := bytes.NewReader(file)
	r := sample.NewReader(src, nil, nil)
	b.SetBytes(int64(100 * len(file)))
	b.ReportAllocs()
	for b.Loop() {
		for range 100 {
			src.Reset(file)
			r.Reset(src, imf.NewParser(""), nil)
			rows := 0
			for {
				_, err := r.Read()
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				rows++
			}
			require.Equal(b, 1440, rows)
		}
	}
}
