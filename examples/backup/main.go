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
	"fmt"
	"io"

	"github.com/obskeep/obskeep/examples/internal/script"
)

func main() { script.Main("backup", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	j := job{stdout: stdout, stderr: stderr}
	flags := script.NewFlags("backup", "[-config FILE] [-day 2026-268] [-days 2] [-dry-run] [-json] [-v] [-version]")
	flags.Var(&j.day, "day", "the `day` to end with, as 2026-268 (default today)")
	flags.IntVar(&j.days, "days", 2, "how many `days` before it to look at too")
	if done, err := flags.Parse(args, stdout); done || err != nil {
		return 0, err
	}
	var wrong error
	switch {
	case flags.NArg() > 0:
		wrong = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case j.days < 0:
		wrong = fmt.Errorf("-days is %d: it cannot be negative", j.days)
	case flags.Config == "" && j.day.IsValid():
		wrong = errors.New("-day wants a -config: the demonstration has today's days only")
	}
	if wrong != nil {
		return 0, &script.UsageError{Err: wrong}
	}
	j.flags, j.logger = flags, flags.Logger(stderr)
	if flags.Config == "" {
		return j.demonstrate(ctx)
	}
	if err := script.ReadConfig(flags.Config, &j.config); err != nil {
		return 0, err
	}
	return j.run(ctx)
}
