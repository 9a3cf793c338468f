package julian_test

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/obskeep/obskeep/julian"
)

// Each morning a job looks at today and the two days before, in folders named
// by the day of the year.
func Example() {
	now := time.Date(2026, time.January, 1, 6, 0, 0, 0, time.UTC)
	source := julian.MustParsePattern("/data/supim/%Y/%j")
	for _, day := range julian.Window(julian.DateOf(now), 2) {
		fmt.Println(source.Format(day))
	}
	// Output:
	// /data/supim/2025/364
	// /data/supim/2025/365
	// /data/supim/2026/001
}

// The day in force at an observatory is that of its own clocks.
func ExampleDateOf() {
	brasilia := time.FixedZone("BRT", -3*60*60)
	at := time.Date(2026, time.September, 26, 1, 30, 0, 0, time.UTC)
	fmt.Println(julian.DateOf(at), julian.DateOf(at.In(brasilia)))
	// Output: 2026-269 2026-268
}

// Meeus, Astronomical Algorithms, example 7.f.
func ExampleFromCivil() {
	d, err := julian.FromCivil(1978, time.November, 14)
	fmt.Println(d, err)
	// Output: 1978-318 <nil>
}

func ExampleParse() {
	for _, s := range []string{"2026-268", "2026268", "2026-366", "2026-09-25"} {
		fmt.Println(julian.Parse(s))
	}
	// Output:
	// 2026-268 <nil>
	// 2026-268 <nil>
	// 0000-000 julian: day out of range: 2026-366: the year has 365 days
	// 0000-000 julian: invalid syntax: "2026-09-25" at offset 7: want a day like 2026-060 or 2026060
}

// Meeus, Astronomical Algorithms, example 7.g.
func ExampleDate_Civil() {
	year, month, day := julian.Date{Year: 1988, Day: 113}.Civil()
	fmt.Println(day, month, year)
	// Output: 22 April 1988
}

func ExampleDate_In() {
	day := julian.Date{Year: 2026, Day: 268}
	fmt.Println(day.In(time.UTC))
	// Output: 2026-09-25 00:00:00 +0000 UTC
}

// A Date is a flag value.
func ExampleDate_Set() {
	day := julian.Date{Year: 2026, Day: 1}
	flags := flag.NewFlagSet("fetch", flag.ContinueOnError)
	flags.Var(&day, "day", "the `day` to fetch")
	if err := flags.Parse([]string{"-day", "2026-268"}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(day)
	// Output: 2026-268
}

// How long ago was the last good day, over a leap year?
func ExampleDate_DaysSince() {
	last, today := julian.Date{Year: 2024, Day: 364}, julian.Date{Year: 2025, Day: 1}
	fmt.Println(today.DaysSince(last), last.AddDays(3) == today)
	// Output: 3 true
}

func ExampleDays() {
	for d := range julian.Days(julian.Date{Year: 2024, Day: 365}, julian.Date{Year: 2025, Day: 2}) {
		fmt.Println(d)
	}
	// Output:
	// 2024-365
	// 2024-366
	// 2025-001
	// 2025-002
}

func ExampleWindow() {
	fmt.Println(julian.Window(julian.Date{Year: 2026, Day: 268}, 2))
	// Output: [2026-266 2026-267 2026-268]
}

// After an outage, a job asks which days of the last week it has to make good.
func ExampleMissing() {
	today := julian.Date{Year: 2026, Day: 268}
	kept := []julian.Date{{Year: 2026, Day: 264}, {Year: 2026, Day: 262}, {Year: 2026, Day: 263}, {Year: 2026, Day: 266}}
	fmt.Println(julian.Missing(kept, today.AddDays(-6), today))
	// Output: [2026-265 2026-267 2026-268]
}

// Meeus, Astronomical Algorithms, example 7.a: the launch of Sputnik 1.
func ExampleJD_sputnik() {
	launch := time.Date(1957, time.October, 4, 19, 26, 24, 0, time.UTC)
	fmt.Printf("%.2f\n", julian.JD(launch))
	// Output: 2436116.31
}

// Meeus, Astronomical Algorithms, example 7.c. A float64 of this size is good
// to about 40 µs.
func ExampleFromJD() {
	fmt.Println(julian.FromJD(2436116.31).Round(time.Millisecond))
	// Output: 1957-10-04 19:26:24 +0000 UTC
}

func ExampleFromMJD() {
	d := julian.FromMJD(40587)
	fmt.Println(d, d.MJD())
	// Output: 1970-001 40587
}

// A listing of folders becomes the days that are kept.
func ExamplePattern_Match() {
	p := julian.MustParsePattern("%Y/%j")
	for _, folder := range []string{"2026/267", "2026/268", "2026/268.partial", "2026/366", "lost+found"} {
		day, ok := p.Match(folder)
		fmt.Println(folder, day, ok)
	}
	// Output:
	// 2026/267 2026-267 true
	// 2026/268 2026-268 true
	// 2026/268.partial 0000-000 false
	// 2026/366 0000-000 false
	// lost+found 0000-000 false
}

// A walk of a store goes only where days can be.
func ExamplePattern_MatchPrefix() {
	dir, rest := julian.MustParsePattern("/data/supim/%Y/%j").Split()
	fmt.Println(dir, rest, rest.Depth())
	for _, folder := range []string{".", "2026", "tools", "2026/268"} {
		fmt.Println(folder, rest.MatchPrefix(folder))
	}
	// Output:
	// /data/supim %Y/%j 2
	// . true
	// 2026 true
	// tools false
	// 2026/268 false
}

func ExampleParsePattern() {
	_, err := julian.ParsePattern("/data/supim/%Y/%D")
	fmt.Println(err)
	// Output: julian: invalid pattern: "/data/supim/%Y/%D" at offset 15: unknown verb "%D"
}

// A path with one name for each day serves for files as well as folders.
func ExamplePattern_Format() {
	p := julian.MustParsePattern("%Y/%m/supim%y%j.tar")
	name := p.Format(julian.Date{Year: 2026, Day: 268})
	fmt.Println(name, strings.Count(name, "/")+1 == p.Depth())
	// Output: 2026/09/supim26268.tar true
}
