// Backupvms fetches the images of virtual machines from the server that makes them
// to the machine that keeps them, each week: it makes room, fetches what is new, reads back
// every byte, removes what the policy lets go, and mails a report with the sizes, checksums
// and downtime of each machine, and which machine has no new image.
//
//	backupvms [-config FILE] [-dry-run] [-json] [-v] [-version]
//
// It replaces backupvms.sh. In /etc/cron.d/obskeep, when cronbackupmachines has
// ended on the server:
//
//	0 8 * * 0  backup  /usr/local/bin/backupvms -config /etc/obskeep/vms.toml
//
// With rsync on the server only what differs from the newest image here is sent. A run
// that was cut is gone on with by the next.
//
// Without -config it makes a small world in a temporary folder, with an SSH
// server and a mail server on the loopback, and does the real job there.
//
// The configuration is TOML; see [config] and the README for its keys. Nothing
// is printed when all is well, unless standard error is a terminal. The exit
// code is 0 when all is well, 1 if something failed, 2 for wrong flags or a
// wrong configuration, 3 for warnings, such as a machine without a new image, 4 if
// there is not enough space, 75 if another run is at work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/obskeep/obskeep/examples/internal/script"
)

func main() { script.Main("backupvms", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	j := job{stdout: stdout, stderr: stderr}
	flags := flag.NewFlagSet("backupvms", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one line, without the usage
	file := flags.String("config", "", "configuration `file`; none: a demonstration")
	flags.BoolVar(&j.dryRun, "dry-run", false, "print what would be done, and do nothing")
	flags.BoolVar(&j.json, "json", false, "print one JSON object")
	flags.BoolVar(&j.verbose, "v", false, "print the report, and what is done")
	version := flags.Bool("version", false, "print the version and exit")
	err := flags.Parse(args)
	switch {
	case err == flag.ErrHelp:
		flags.SetOutput(stdout)
		fmt.Fprintln(stdout, "usage: backupvms [-config FILE] [-dry-run] [-json] [-v] [-version]")
		flags.PrintDefaults()
		return script.ExitOK, nil
	case err != nil:
		return 0, &script.UsageError{Err: err}
	case flags.NArg() > 0:
		return 0, &script.UsageError{Err: fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	case *version:
		fmt.Fprintln(stdout, script.Version("backupvms"))
		return script.ExitOK, nil
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

	w, err := newWorld(ctx)
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
