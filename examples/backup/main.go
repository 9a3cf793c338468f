// Backup keeps the day folders of an observatory: it fetches today's and those
// of the two days before from the machine that wrote them, if they are there
// and complete, verifies every byte, manages the space and mails a report.
// A day that is kept is never overwritten.
//
//	backup [-config FILE] [-day 2026-268] [-days 2] [-dry-run] [-json] [-v] [-version]
//
// It replaces backup.sh and julianday.sh. In /etc/cron.d/obskeep:
//
//	15 6 * * *  backup  /usr/local/bin/backup -config /etc/obskeep/supim.toml
//
// Without -config it makes a small world in a temporary folder, with an SSH
// server and a mail server on the loopback, and does the real job there.
//
// The configuration is TOML; see [config] and the README for its keys. Nothing
// is printed when all is well, unless standard error is a terminal. The exit
// code is 0 when all is well, 1 if something failed, 2 for wrong flags or a
// wrong configuration, 3 for warnings or days that are missing, 4 if there is
// not enough space, 75 if another run is at work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/julian"
)

func main() { script.Main("backup", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	j := job{stdout: stdout, stderr: stderr, days: 2}
	flags := flag.NewFlagSet("backup", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one line, without the usage
	file := flags.String("config", "", "configuration `file`; none: a demonstration")
	flags.Var(&j.day, "day", "the `day` to end with, as 2026-268 (default today)")
	flags.IntVar(&j.days, "days", j.days, "how many `days` before it to look at too")
	flags.BoolVar(&j.dryRun, "dry-run", false, "print what would be done, and do nothing")
	flags.BoolVar(&j.json, "json", false, "print one JSON object")
	flags.BoolVar(&j.verbose, "v", false, "print the report, and what is done")
	version := flags.Bool("version", false, "print the version and exit")
	err := flags.Parse(args)
	switch {
	case err == flag.ErrHelp:
		flags.SetOutput(stdout)
		fmt.Fprintln(stdout, "usage: backup [-config FILE] [-day 2026-268] [-days 2] [-dry-run] [-json] [-v] [-version]")
		flags.PrintDefaults()
		return script.ExitOK, nil
	case err != nil:
		return 0, &script.UsageError{Err: err}
	case flags.NArg() > 0:
		return 0, &script.UsageError{Err: fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	case j.days < 0:
		return 0, &script.UsageError{Err: fmt.Errorf("-days is %d: it cannot be negative", j.days)}
	case *version:
		fmt.Fprintln(stdout, script.Version("backup"))
		return script.ExitOK, nil
	}
	if *file == "" && j.day.IsValid() {
		return 0, &script.UsageError{Err: errors.New("-day wants a -config: the demonstration has today's days only")}
	}
	j.logger = slog.New(slog.DiscardHandler)
	if j.verbose {
		j.logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	if *file != "" {
		if j.config, err = readConfig(*file); err != nil {
			return 0, err
		}
		return j.run(ctx)
	}

	w, err := newWorld(julian.DateOf(time.Now().UTC()))
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	defer w.close()
	if j.config, err = readConfig(w.config); err != nil {
		return 0, err
	}
	j.demo = !j.json && !j.dryRun
	code, err := j.run(ctx)
	if j.demo {
		fmt.Fprint(stdout, w.guide())
	} else {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return code, err
}
