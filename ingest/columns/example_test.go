package columns_test

import (
	"fmt"
	"io"
	"strings"

	"github.com/obskeep/obskeep/ingest/columns"
	"github.com/obskeep/obskeep/ingest/sample"
)

// A logger writes the year, the day of the year, the seconds of a time and two
// values, of which 99999 is missing.
func ExampleParser() {
	nT := func(name string) columns.Field {
		return columns.Field{Element: sample.Element{Name: name, Unit: "nT", Decimals: 2}, Missing: []string{"99999"}}
	}
	parser, err := columns.NewParser(columns.Layout{
		Station: "TST",
		Fields:  []columns.Field{{Time: "%Y"}, {Time: "%j"}, {Time: "%H:%M:%S"}, nT("H"), nT("Z")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	file := strings.NewReader("2024 366 23:59:58 39500.1 17300.5\n2024 366 23:59:59 99999 17300.52\n")
	for r := sample.NewReader(file, parser, nil); ; {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(row.UTC(), row.Values[0].Measured(), row.Values[1])
	}
	// Output:
	// 2024-12-31 23:59:58 +0000 UTC true 1730050
	// 2024-12-31 23:59:59 +0000 UTC false 1730052
}
