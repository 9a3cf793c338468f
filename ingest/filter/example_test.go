package filter_test

import (
	"fmt"
	"log"
	"time"

	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/sample"
)

// The minutes of XYZF of an observatory whose variometer measures HDZ every second.
func Example() {
	nT := func(name string) sample.Element { return sample.Element{Name: name, Unit: "nT", Decimals: 2} }
	source := sample.Series{
		Station: "TST", Cadence: time.Second,
		Elements: []sample.Element{nT("H"), {Name: "D", Unit: "arcmin", Decimals: 2}, nT("Z"), nT("F")},
	}
	f, err := filter.New(source,
		filter.Range{Element: "F", Min: 40_000, Max: 46_000},
		filter.Step{Element: "F", Max: 20, Within: 10 * time.Second},
		filter.HDZ{DECBAS: -553, H0: 39_400, Z0: 17_000},
		filter.Minutes{},
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("reach", f.Reach())

	first := time.Date(2026, 9, 25, 4, 29, 16, 0, time.UTC)
	var rows []sample.Row
	for second := range 90 {
		row := sample.RowAt(first.Add(time.Duration(second) * time.Second).UnixMilli())
		copy(row.Values[:], []sample.Value{100_10, -250, 300_50, 43_122_70})
		if second == 70 {
			row.Values[3] = 99_999_99
		}
		rows = append(rows, row)
	}
	made := f.Apply(rows, func(rule string, n int) { fmt.Println(rule, n) })
	last := made[len(made)-1]
	fmt.Println(last.UTC().Format(time.TimeOnly), last.Values[:4])
	// Output:
	// reach 1m5s
	// range of F 1
	// 04:30:00 [3949452 -66410 1730050 4312270]
}
