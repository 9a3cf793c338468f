// Observatory delivers the growing files of an observatory's instruments to its accounts
// with a data centre, each row once; at least once by mail, and by MQTT without a reader. It
// is the loop that looks, cuts, uploads and remembers. What is delivered, and what that
// promises, says package ingest.
//
//	observatory [-config FILE] [-json] [-v] [-dry-run] [-version] run|sweep|status|verify [-day 2026-268] [-resend]
//
//	  - run delivers until it is told to end. Each account has its own state and pace: one that
//	    is broken, or whose receiver is down, delays no other.
//	  - sweep delivers once, for cron. A receiver that is down is said, and is no error.
//	  - status prints how far run or sweep has come, whether they are at work or not.
//	  - verify compares a day, yesterday unless -day says which: what the sources have, what
//	    was accepted, and what the receiver says it holds. With -resend the next sweep
//	    sends again what was lost there.
//
// For systemd:
//
//	[Service]
//	User=observatory
//	ExecStart=/usr/local/bin/observatory -config /etc/obskeep/observatory.toml run
//	Restart=always
//	[Install]
//	WantedBy=multi-user.target
//
// Or in /etc/cron.d/obskeep:
//
//	0-59 * * * *  observatory  /usr/local/bin/observatory -config /etc/obskeep/observatory.toml sweep
//
// Without -config it makes a small world: a station whose files grow, a receiver that fails
// for a while, and the count of what has arrived. Its clock runs 60 times as fast, or
// as -speed says.
//
// The configuration is TOML; see [config]. With -dry-run run and sweep print what waits to
// be sent, and verify sends nothing again. The exit code is 0 when all is well, 1 if
// something failed or differs, 2 for wrong flags or a wrong configuration, 3 if status
// tells of trouble, 4 if the disk of the state is full, 75 if another one is at work on the
// same state. All runs are of one user, whose the state is.
package main

import (
	"context"
	"io"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
)

func main() { script.Main("observatory", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	j := job{stdout: stdout, stderr: stderr, now: time.Now}
	j.flags = script.NewFlags("observatory", "[-config FILE] [-json] [-v] [-dry-run] [-version] run|sweep|status|verify [-day 2026-268] [-resend]")
	j.flags.Var(&j.day, "day", "the `day` to verify, as 2026-268 (default yesterday)")
	j.flags.BoolVar(&j.resend, "resend", false, "let the next sweep send again what verify finds lost")
	j.flags.IntVar(&j.speed, "speed", demoSpeed, "how many `times` as fast the demonstration's clock runs")
	if done, err := j.flags.Parse(args, stdout); done || err != nil {
		return 0, err
	}
	verb := j.flags.Arg(0)
	if verb != "" { // flags may stand before and behind it
		if done, err := j.flags.Parse(j.flags.Args()[1:], stdout); done || err != nil {
			return 0, err
		}
	}
	if err := j.wrong(verb); err != nil {
		return 0, &script.UsageError{Err: err}
	}
	j.logger = j.flags.Logger(stderr)
	if j.flags.Config == "" {
		return 0, j.demonstrate(ctx)
	}
	if err := script.ReadConfig(j.flags.Config, &j.config); err != nil {
		return 0, err
	}
	j.board = newBoard(&j.config, stderr)
	switch {
	case verb == "status":
		return j.status()
	case verb == "verify":
		return j.verify(ctx)
	case j.flags.DryRun:
		return j.plan(ctx)
	case verb == "sweep":
		return j.sweep(ctx)
	}
	return 0, j.run(ctx)
}
