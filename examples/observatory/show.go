package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
)

// stale is from when on a status is trouble, with run or a sweep every now and then.
const stale = time.Hour

// status prints what the last sweep has written down of each account.
func (j *job) status() (int, error) {
	var all []*accountStatus
	code := script.ExitOK
	for i := range j.Accounts {
		a := &j.Accounts[i]
		s, err := readStatus(j.dir(a))
		if err != nil {
			return 0, err
		}
		if s == nil {
			s = &accountStatus{Account: a.Name, Station: a.Station, Error: "there is no status: it was not swept yet"}
		}
		if old := j.now().Sub(s.At); s.Error == "" && old > stale {
			s.Error = fmt.Sprintf("it was not swept for %s; is run or cron at work, and is there room in %s?", age(old), j.dir(a))
		}
		for _, stream := range s.Streams {
			if s.Error == "" && stream.nothing() {
				s.Error = fmt.Sprintf("stream %s has delivered nothing yet, and nothing waits: are there files as its folder and file say?", stream.Stream)
			}
		}
		if cmp.Or(s.Error, s.Logger, s.Receiver) != "" {
			code = script.ExitWarnings
		}
		all = append(all, s)
	}
	if j.flags.JSON {
		return code, writeStatus(j.stdout, all)
	}
	return code, printStatus(j.stdout, all, j.now())
}

func writeStatus(w io.Writer, all []*accountStatus) error {
	return json.NewEncoder(w).Encode(map[string]any{"schema": "obskeep/observatory-status/v1", "accounts": all})
}

// printStatus prints a table of each account.
func printStatus(w io.Writer, all []*accountStatus, now time.Time) error {
	for i, a := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s, station %s", a.Account, a.Station)
		if !a.At.IsZero() {
			fmt.Fprintf(w, ": as of %s UTC, %s ago", a.At.Format(time.DateTime), age(now.Sub(a.At)))
		}
		fmt.Fprintln(w)
		for _, trouble := range []struct{ of, text string }{
			{"ERROR", a.Error}, {"the logger", a.Logger}, {"the receiver", a.Receiver}, {"it refused a file", a.Refusal},
		} {
			if trouble.text != "" {
				fmt.Fprintf(w, "  %s: %s\n", trouble.of, trouble.text)
			}
		}
		if len(a.Streams) == 0 {
			continue
		}
		limit := ""
		if a.PerDay > 0 {
			limit = fmt.Sprintf(" of %d", a.PerDay)
		}
		fmt.Fprintf(w, "  files: %d%s offered today, %d under way, %d in doubt\n", a.Offered, limit, a.UnderWay, a.InDoubt)
		if err := a.printStreams(w, now); err != nil {
			return err
		}
	}
	return nil
}

func (a *accountStatus) printStreams(w io.Writer, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  stream\ttoday\tnewest accepted\tage\twaiting\tholes\tbefore today")
	for _, s := range a.Streams {
		today, before := s.today()
		newest, old := "none", ""
		if s.Newest != nil {
			newest, old = s.Newest.Format(time.DateTime), age(now.Sub(*s.Newest))
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%d\t%d\t%d\n", s.Stream, percent(today.Accepted, today.Expected),
			newest, old, today.Waiting+before.Waiting, today.holes(), before.holes())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, s := range a.Streams {
		today, before := s.today()
		for _, odd := range []struct {
			n    int
			what string
		}{
			{today.Refused + before.Refused, "rows were refused"},
			{today.Faults + before.Faults, "lines of its files are at fault"},
		} {
			if odd.n > 0 {
				fmt.Fprintf(w, "  %s: %d %s\n", s.Stream, odd.n, odd.what)
			}
		}
	}
	return nil
}

// percent is 100% only of all.
func percent(part, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", math.Floor(1000*float64(part)/float64(of))/10)
}

// age is a duration in two units at most.
func age(d time.Duration) string {
	switch d = max(d, 0).Truncate(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
