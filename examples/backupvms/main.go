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
	"fmt"
	"io"

	"github.com/obskeep/obskeep/examples/internal/script"
)

func main() { script.Main("backupvms", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	flags := script.NewFlags("backupvms", "[-config FILE] [-dry-run] [-json] [-v] [-version]")
	if done, err := flags.Parse(args, stdout); done || err != nil {
		return 0, err
	}
	if flags.NArg() > 0 {
		return 0, &script.UsageError{Err: fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	j := job{flags: flags, stdout: stdout, stderr: stderr, logger: flags.Logger(stderr)}
	if flags.Config == "" {
		return j.demonstrate(ctx)
	}
	if err := script.ReadConfig(flags.Config, &j.config); err != nil {
		return 0, err
	}
	return j.run(ctx)
}
