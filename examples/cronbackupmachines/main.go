// Cronbackupmachines images the virtual machines of the host it runs on, each
// week: it shuts each machine down in order, freezes its disks, starts it again at once,
// and stores a verified image of the frozen disks while the machine runs. It
// makes room first, and mails a report.
//
//	cronbackupmachines [-config FILE] [-dry-run] [-json] [-v] [-version] [recover]
//
// With the word recover it only puts in order what a run has left that was killed:
// it starts machines, merges their disks, and removes what is left over. Each run
// does so first; call it also at boot. It replaces cronbackupmachines.sh. In
// /etc/cron.d/obskeep:
//
//	0 2 * * 0  root  /usr/local/bin/cronbackupmachines -config /etc/obskeep/machines.toml
//	@reboot    root  /usr/local/bin/cronbackupmachines -config /etc/obskeep/machines.toml recover
//
// Without -config it makes itself a private libvirtd with two tiny machines,
// if libvirt and QEMU are installed, else machines in memory, and does the real
// job there.
//
// The configuration is TOML; see [config] and the README for its keys. Nothing
// is printed when all is well, unless standard error is a terminal. The exit
// code is 0 when all is well, 1 if something failed, 2 for wrong flags or a
// wrong configuration, 3 for warnings or machines that were not touched, 4 if
// there is not enough space, 75 if another run is at work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/obskeep/obskeep/examples/internal/script"
)

func main() { script.Main("cronbackupmachines", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	flags := script.NewFlags("cronbackupmachines", "[-config FILE] [-dry-run] [-json] [-v] [-version] [recover]")
	if done, err := flags.Parse(args, stdout); done || err != nil {
		return 0, err
	}
	recovers := flags.NArg() == 1 && flags.Arg(0) == "recover"
	switch {
	case flags.NArg() > 0 && !recovers:
		return 0, &script.UsageError{Err: fmt.Errorf("unexpected argument %q: want nothing, or recover after the flags", flags.Arg(0))}
	case recovers && (flags.DryRun || flags.Config == ""):
		return 0, &script.UsageError{Err: errors.New("recover wants a -config, and no -dry-run")}
	}
	j := job{flags: flags, recover: recovers, stdout: stdout, stderr: stderr, logger: flags.Logger(stderr)}
	if flags.Config == "" {
		return j.demonstrate(ctx)
	}
	if err := script.ReadConfig(flags.Config, &j.config); err != nil {
		return 0, err
	}
	return j.run(ctx)
}
