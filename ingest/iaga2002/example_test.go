package iaga2002_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
)

// A logger's file is still being written: its last row is torn.
func ExampleParser() {
	parser := iaga2002.NewParser("")
	file := strings.NewReader(minutes[:len(minutes)-30])
	r := sample.NewReader(file, parser, &sample.Options{Mode: sample.Lenient, Growing: true})
	for {
		row, err := r.Read()
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(row.UTC().Format(time.TimeOnly), row.Values[:4])
	}
	fmt.Printf("%d bytes are whole lines, %d are torn\n", r.Position().Offset, r.Torn())
	// Output:
	// 22:58:00 [3950010 -25025 1730050 4312270]
	// 22:59:00 [3950020 -25025 1730050 4312270]
	// 23:00:00 [3950030 -25025 1730050 4312270]
	// 23:01:00 [3950040 -25025 1730050 4312270]
	// EOF
	// 1278 bytes are whole lines, 41 are torn
}

// A batch is written under the name that it is sent by.
func ExampleWriter() {
	h := iaga2002.Header{
		Source: "Example Institute", Station: "Testville", Code: "TST",
		Latitude: "17.290", Longitude: "78.920", Elevation: "327",
		Reported: "XYZF", Orientation: "HDZF", Sampling: "1 second",
		Interval: "1-minute (00:30-01:29)", Type: "provisional",
	}
	first := time.Date(2024, 12, 31, 23, 58, 0, 0, time.UTC)
	fmt.Println(h.Name(first, true))

	var file strings.Builder
	w, err := iaga2002.NewWriter(&file, &h)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 2 {
		row := sample.RowAt(first.Add(time.Duration(i) * time.Minute).UnixMilli())
		row.Values[0], row.Values[1], row.Values[2] = 3950010, -25025, sample.Missing
		if err := w.Write(row); err != nil {
			fmt.Println(err)
		}
	}
	if err := w.Close(); err != nil {
		fmt.Println(err)
	}
	fmt.Print(file.String()[13*71:])
	// Output:
	// tst202412312358pmin.min
	// 2024-12-31 23:58:00.000 366     39500.10   -250.25  99999.00  88888.00
	// 2024-12-31 23:59:00.000 366     39500.10   -250.25  99999.00  88888.00
}

// The faults of a file, before it is sent.
func ExampleCheck() {
	file := strings.Replace(minutes, "22:59:00.000 366 ", "22:59:00.000 365 ", 1)
	for fault, err := range iaga2002.Check(strings.NewReader(file), "tst20241231vmin.min") {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		fmt.Println(fault)
	}
	// Output:
	// iaga2002: NAME-MATCH, on tst20241231vmin.min line 15 (byte 994): the file name has the code, type, interval and time of the content: found "tst20241231vmin.min"
	// iaga2002: DOY, on tst20241231vmin.min line 16 column 25 (byte 1089): the day of the year is that of the date: found "365"
}
