package iaga2002_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
)

func fragmentHeader() *iaga2002.Header {
	return &iaga2002.Header{
		Source: "synthetic", Station: "none", Code: "TST", Latitude: "0.000", Longitude: "0.000", Elevation: "0",
		Reported: "XYZF", Orientation: "XYZF", Sampling: "1 second", Interval: "1-minute (00:30-01:29)", Type: "variation",
	}
}

func fragmentSeries() sample.Series {
	s := sample.Series{Station: "TST", Cadence: time.Minute, Level: sample.Variation}
	for _, name := range []string{"X", "Y", "Z"} {
		s.Elements = append(s.Elements, sample.Element{Name: name, Unit: "nT", Decimals: 2})
	}
	return s
}

func fragmentRows(n int) []sample.Row {
	var rows []sample.Row
	for i := range n {
		r := sample.RowAt(time.Date(2024, 3, 15, 3, 55+i, 0, 0, time.UTC).UnixMilli())
		copy(r.Values[:], []sample.Value{3950010 + sample.Value(i), sample.Missing, 1730050})
		rows = append(rows, r)
	}
	return rows
}

// A fragment has the name that its first row asks for, and the rows.
func TestFragment_IsReadAsItWasMade(t *testing.T) {
	t.Parallel()
	name, data, err := fragmentHeader().Fragment(fragmentSeries(), fragmentRows(5))
	require.NoError(t, err)
	require.Equal(t, "tst202403150355vmin.min", name)
	r := iaga2002.NewReader(bytes.NewReader(data), &sample.Options{Name: name})
	for _, want := range fragmentRows(5) {
		row, err := r.Read()
		require.NoError(t, err)
		require.Equal(t, want, row)
	}
	_, again, err := fragmentHeader().Fragment(fragmentSeries(), fragmentRows(5))
	require.NoError(t, err)
	require.Equal(t, data, again)
}

// A fragment is made only of rows that the header describes.
func TestFragment_RefusesRowsOfAnotherSeries(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*sample.Series){
		"the rows are of station ABC":            func(s *sample.Series) { s.Station = "ABC" },
		"is not that of a row every 1s":          func(s *sample.Series) { s.Cadence = time.Second },
		`the type "variation" is not definitive`: func(s *sample.Series) { s.Level = sample.Definitive },
		"element 1 of the rows is H, with 2":     func(s *sample.Series) { s.Elements[0].Name = "H" },
		"element 2 of the rows is Y, with 1":     func(s *sample.Series) { s.Elements[1].Decimals = 1 },
		"element 5 of the rows is X, with 2": func(s *sample.Series) {
			s.Elements = append(s.Elements, sample.Element{Name: "F", Decimals: 2}, s.Elements[0])
		},
	} {
		s := fragmentSeries()
		change(&s)
		_, _, err := fragmentHeader().Fragment(s, fragmentRows(5))
		require.ErrorContains(t, err, want)
	}
	_, _, err := fragmentHeader().Fragment(fragmentSeries(), nil)
	require.ErrorIs(t, err, iaga2002.NoRows)
	_, _, err = fragmentHeader().Fragment(fragmentSeries(), fragmentRows(1))
	require.ErrorIs(t, err, iaga2002.MinSamples)
}
