package iaga2002_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/ingest/sample/sampletest"
)

// BenchmarkReader_Strict reads a day of seconds, 6.2 MB.
func BenchmarkReader_Strict(b *testing.B) {
	file := secondsOfADay(b)
	src := bytes.NewReader(file)
	r := sample.NewReader(src, nil, nil)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(file)
		r.Reset(src, iaga2002.NewParser(""), nil)
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
		require.Equal(b, 86400, rows)
	}
}

func BenchmarkWriter(b *testing.B) {
	file := secondsOfADay(b)
	r := iaga2002.NewReader(bytes.NewReader(file), nil)
	h, err := r.Header()
	require.NoError(b, err)
	rows, err := sampletest.ReadAll(r)
	require.NoError(b, err)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		w, err := iaga2002.NewWriter(io.Discard, &h)
		require.NoError(b, err)
		for _, row := range rows {
			if err := w.Write(row); err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, w.Close())
	}
}

// secondsOfADay returns a file of 86400 rows.
func secondsOfADay(t testing.TB) []byte {
	h := header()
	h.Interval, h.CRLF = "1-second (501-1500)", true
	var file bytes.Buffer
	w, err := iaga2002.NewWriter(&file, &h)
	require.NoError(t, err)
	for i := range 86400 {
		if err := w.Write(row("2024-12-31T00:00:00Z", i*1000, 3950010+i%977, -25-i%333, 1730050-i%7, 4312270)); err != nil {
			t.Fatal(err)
		}
	}
	require.NoError(t, w.Close())
	return file.Bytes()
}
