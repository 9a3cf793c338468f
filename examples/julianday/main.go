// Julianday prints a day of the year and the days before it.
//
//	julianday [-n 2] [-date 2026-09-25] [-utc-offset -3h] [-json] [-version]
//
// It prints the day first and then the n days before it, newest first, one on
// a line, as year and day of the year: 2026-268. The day is today in UTC, or
// today where clocks are -utc-offset ahead of UTC; -date gives another one, as
// calendar date or as 2026-268, and -utc-offset then has no effect. The time
// zone of the machine is never looked at.
//
// With -json it prints one object instead:
//
//	{"schema":"obskeep/julianday/v1","days":[{"date":"2026-09-25","day":"2026-268","mjd":61308}]}
//
// It exits with 0 when done, 1 if printing failed, and 2, after one line on
// standard error, if it was called wrongly.
//
// It replaces julianday.sh. In a crontab, and in a shell:
//
//	15 6 * * *  cd /data/supim && tar -cf /backup/supim-$(julianday -n 0).tar "$(julianday -n 0 | tr - /)"
//
//	for day in $(julianday); do du -sh "/backup/supim/${day%-*}/${day#*-}"; done
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/obskeep/obskeep/julian"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	var day julian.Date
	flags := flag.NewFlagSet("julianday", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one line, without the usage
	n := flags.Int("n", 2, "how many `days` before the day to print too")
	offset := flags.Duration("utc-offset", 0, "how far local clocks are ahead of UTC, less than 24h either way")
	asJSON := flags.Bool("json", false, "print one JSON object")
	version := flags.Bool("version", false, "print the version and exit")
	flags.Func("date", "the `day`, as 2026-09-25 or 2026-268 (default now)", func(s string) error {
		d, ok := julian.MustParsePattern("%Y-%m-%d").Match(s)
		if !ok && d.Set(s) != nil {
			return errors.New("want a day that exists, as 2026-09-25 or 2026-268")
		}
		day = d
		return nil
	})
	err := flags.Parse(args)
	if !day.IsValid() {
		day = julian.DateOf(time.Now().UTC().Add(*offset))
	}
	switch before := day.DaysSince(julian.Date{Year: 0, Day: 1}); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, "usage: julianday [-n 2] [-date 2026-09-25] [-utc-offset -3h] [-json] [-version]")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return 0
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *n < 0 || *n > before:
		err = fmt.Errorf("-n %d: want 0 to %d days before %v", *n, before, day)
	case offset.Abs() >= 24*time.Hour:
		err = fmt.Errorf("-utc-offset %v: want less than 24h either way", *offset)
	}
	if err != nil {
		fmt.Fprintln(stderr, "julianday:", err)
		return 2
	}

	if *version {
		err = printVersion(stdout)
	} else {
		err = printDays(stdout, julian.Window(day, *n), *asJSON)
	}
	if err != nil {
		fmt.Fprintln(stderr, "julianday:", err)
		return 1
	}
	return 0
}
