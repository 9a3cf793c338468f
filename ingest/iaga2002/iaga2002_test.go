package iaga2002_test

import (
	"time"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
)

// header returns the header of a file of minutes.
func header() iaga2002.Header {
	return iaga2002.Header{
		Source: "Example Institute", Station: "Testville", Code: "TST",
		Latitude: "17.290", Longitude: "78.920", Elevation: "327",
		Reported: "XYZF", Orientation: "HDZF", Sampling: "1 second",
		Interval: "1-minute (00:30-01:29)", Type: "provisional",
	}
}

// row returns the values at a time and some milliseconds.
func row(from string, ms int, values ...int) sample.Row {
	t, err := time.Parse(time.RFC3339, from)
	if err != nil {
		panic(err)
	}
	r := sample.RowAt(t.UnixMilli() + int64(ms))
	for i, v := range values {
		r.Values[i] = sample.Value(v)
	}
	return r
}
