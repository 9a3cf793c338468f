package gintest

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
)

// Synthetic makes a file of provisional one-minute data of a station, a fragment whose
// first row is that of start's minute. It says that it was never measured. Files of
// other seeds have other values.
func Synthetic(station string, start time.Time, rows, seed int) (gin.File, error) {
	start = start.UTC().Truncate(time.Minute)
	h := iaga2002.Header{
		Source: "synthetic, of no institute", Station: "Of no observatory", Code: station,
		Latitude: "0.000", Longitude: "0.000", Elevation: "0", Reported: "XYZF", Orientation: "XYZF",
		Sampling: "1 second", Interval: "1-minute (00:30-01:29)", Type: "provisional",
	}
	f := gin.File{Name: h.Name(start, true).String(), Station: station, First: start, Last: start.Add(time.Duration(rows-1) * time.Minute)}
	var b bytes.Buffer
	w, err := iaga2002.NewWriter(&b, &h)
	if err != nil {
		return gin.File{}, fmt.Errorf("gintest: synthetic file: %w", err)
	}
	for i := range rows {
		row := sample.RowAt(start.Add(time.Duration(i) * time.Minute).UnixMilli())
		wave := sample.Value(500 * math.Sin(float64(row.Time)/13e6))
		copy(row.Values[:], []sample.Value{3950000 + wave + sample.Value(seed), -25025 - wave, 1730050, 4312270 + wave})
		if err := w.Write(row); err != nil {
			return gin.File{}, fmt.Errorf("gintest: synthetic file: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return gin.File{}, fmt.Errorf("gintest: synthetic file: %w", err)
	}
	f.Data = b.Bytes()
	return f, nil
}
