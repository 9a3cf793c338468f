package impf_test

import (
	"fmt"
	"time"

	"github.com/obskeep/obskeep/ingest/impf"
	"github.com/obskeep/obskeep/ingest/sample"
)

// The first minutes of an hour, with metadata.
func ExampleMetadata_Message() {
	s := sample.Series{Station: "ESK", Cadence: time.Minute, Level: sample.Variation, Elements: []sample.Element{
		{Name: "X", Unit: "nT", Decimals: 2}, {Name: "Y", Unit: "nT", Decimals: 2}, {Name: "Z", Unit: "nT", Decimals: 2},
	}}
	start := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	rows := []sample.Row{sample.RowAt(start.UnixMilli()), sample.RowAt(start.Add(time.Minute).UnixMilli())}
	rows[0].Values[0], rows[0].Values[1], rows[0].Values[2] = 1759502, -32919, 4670270
	rows[1].Values[0], rows[1].Values[1], rows[1].Values[2] = sample.Missing, -32918, 4670301

	topic, data, err := impf.Metadata{GIN: "edi", Latitude: "55.314"}.Message(s, rows)
	fmt.Println(topic, err)
	fmt.Println(string(data))
	// Output:
	// impf/esk/pt1m/1/xyzs <nil>
	// {"startDate":"2023-01-01T00:00","ginCode":"edi","latitude":55.314,"geomagneticFieldX":[17595.02,null],"geomagneticFieldY":[-329.19,-329.18],"geomagneticFieldZ":[46702.70,46703.01]}
}

func ExampleParse() {
	series, rows, err := impf.Parse("impf/ler/1hz/3/xyzs", []byte(`{"startDate":"2023-01-01T00:00:00","geomagneticFieldS":[49000.00,null]}`))
	fmt.Println(series.Station, series.Cadence, series.Level, err)
	for _, r := range rows {
		fmt.Println(r.UTC().Format(time.TimeOnly), r.Values[3], r.Values[3].Measured())
	}
	// Output:
	// LER 1s quasi-definitive <nil>
	// 00:00:00 4900000 true
	// 00:00:01 -2147483648 false
}
