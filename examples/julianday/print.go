package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/obskeep/obskeep/julian"
)

// listing is what -json prints, and its schema.
type listing struct {
	Schema string `json:"schema"`
	Days   []day  `json:"days"` // newest first
}

type day struct {
	Date string      `json:"date"` // of the calendar
	Day  julian.Date `json:"day"`
	MJD  int         `json:"mjd"`
}

func printDays(w io.Writer, days []julian.Date, asJSON bool) error {
	var lines strings.Builder
	l := listing{Schema: "obskeep/julianday/v1"}
	for _, d := range slices.Backward(days) {
		fmt.Fprintln(&lines, d)
		l.Days = append(l.Days, day{d.In(time.UTC).Format(time.DateOnly), d, d.MJD()})
	}
	if asJSON {
		return json.NewEncoder(w).Encode(l)
	}
	_, err := io.WriteString(w, lines.String())
	return err
}

func printVersion(w io.Writer) error {
	version, goVersion := "(unknown)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goVersion = info.Main.Version, info.GoVersion
	}
	_, err := fmt.Fprintln(w, "julianday", version, goVersion)
	return err
}
