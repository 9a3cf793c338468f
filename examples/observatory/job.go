package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/julian"
)

// job is one call of the program.
type job struct {
	config
	flags          *script.Flags
	day            julian.Date
	resend         bool
	speed          int
	stdout, stderr io.Writer
	logger         *slog.Logger
	now            func() time.Time
	board          *board
}

// wrong returns what is wrong with the flags.
func (j *job) wrong(verb string) error {
	switch known := verb == "run" || verb == "sweep" || verb == "status" || verb == "verify"; {
	case j.flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", j.flags.Arg(0))
	case verb == "" && j.flags.Config != "" || verb != "" && !known:
		return fmt.Errorf("the command is %q: want run, sweep, status or verify", verb)
	case verb != "" && j.flags.Config == "":
		return fmt.Errorf("%s wants a -config", verb)
	case j.flags.Config == "" && (j.flags.DryRun || j.flags.JSON):
		return errors.New("-dry-run and -json want -config")
	case verb != "verify" && (j.day.IsValid() || j.resend):
		return errors.New("-day and -resend are for verify")
	case j.flags.DryRun && verb == "status":
		return errors.New("-dry-run is not for status: that changes nothing")
	case j.flags.JSON && verb == "run" && !j.flags.DryRun:
		return errors.New("-json is not for run: see status")
	case j.flags.Config != "" && j.speed != demoSpeed:
		return errors.New("-speed is for the demonstration")
	case j.speed < 1:
		return fmt.Errorf("-speed is %d: want 1 or more", j.speed)
	}
	return nil
}

// sweep delivers once what all accounts have. What has gone wrong the board has said.
func (j *job) sweep(ctx context.Context) (int, error) {
	unlock, err := script.Lock(j.State)
	if err != nil {
		return 0, err
	}
	defer unlock()
	failed := make([]error, len(j.Accounts))
	var wg sync.WaitGroup
	for i := range j.Accounts {
		wg.Go(func() { failed[i] = j.delivery(i).sweep(ctx) })
	}
	wg.Wait()
	code := script.ExitOK
	if ctx.Err() != nil {
		err = errors.New("stopped; the next sweep does what was left")
	}
	for _, e := range failed {
		code = script.Worse(code, script.ExitCode(e))
	}
	switch {
	case j.flags.JSON:
		err = errors.Join(err, writeStatus(j.stdout, j.board.statuses()))
	case j.flags.Verbose:
		err = errors.Join(err, printStatus(j.stdout, j.board.statuses(), j.now()))
	}
	return code, err
}

// run delivers what all accounts have until ctx ends.
func (j *job) run(ctx context.Context) error {
	unlock, err := script.Lock(j.State)
	if err != nil {
		return err
	}
	defer unlock()
	j.deliver(ctx, time.Duration(j.Poll))
	return nil
}

// deliver lets all accounts be at work until ctx ends.
func (j *job) deliver(ctx context.Context, poll time.Duration) {
	var wg sync.WaitGroup
	for i := range j.Accounts {
		wg.Go(func() { j.delivery(i).run(ctx, poll) })
	}
	wg.Wait()
}

// nowhere is a sink for those who only look.
type nowhere struct{}

func (nowhere) Send(context.Context, *ingest.Batch) ingest.Receipt {
	return ingest.Receipt{Outcome: ingest.Later}
}

// plan prints what waits to be sent.
func (j *job) plan(ctx context.Context) (int, error) {
	type waiting struct {
		Account string      `json:"account"`
		Stream  string      `json:"stream"`
		Day     julian.Date `json:"day"`
		Waiting int         `json:"waiting"` // rows
	}
	all := []waiting{}
	code := script.ExitOK
	for i := range j.Accounts {
		a := &j.Accounts[i]
		for _, day := range julian.Window(julian.DateOf(j.now().UTC()), a.Days) {
			checks, err := j.look(ctx, a, day)
			if err != nil {
				fmt.Fprintf(j.stderr, "observatory: account %s: %v\n", a.Name, err)
				code = script.ExitFailed
			}
			for _, c := range checks {
				if rows := rowsIn(c.Waiting); rows > 0 {
					all = append(all, waiting{a.Name, c.Stream, c.Day, rows})
				}
			}
		}
	}
	if j.flags.JSON {
		return code, json.NewEncoder(j.stdout).Encode(map[string]any{"schema": "obskeep/observatory-plan/v1", "waiting": all})
	}
	tw := tabwriter.NewWriter(j.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "account\tstream\tday\twaiting")
	for _, w := range all {
		fmt.Fprintf(tw, "%s\t%s\t%v\t%d\n", w.Account, w.Stream, w.Day, w.Waiting)
	}
	return code, tw.Flush()
}

// look compares a day without asking the receiver.
func (j *job) look(ctx context.Context, a *account, day julian.Date) ([]ingest.Check, error) {
	if err := a.folders(); err != nil {
		return nil, err
	}
	c := j.feedConfig(a, nowhere{}, j.logger)
	if _, err := os.Stat(c.Dir); !errors.Is(err, fs.ErrNotExist) {
		return ingest.Verify(ctx, c, day)
	}
	empty, err := os.MkdirTemp("", "obskeep-") // nothing was accepted yet
	if err != nil {
		return nil, err
	}
	c.Dir = empty
	checks, err := ingest.Verify(ctx, c, day)
	return checks, errors.Join(err, os.Remove(empty))
}

func rowsIn(spans []ingest.Span) (rows int) {
	for _, s := range spans {
		rows += s.Rows
	}
	return rows
}
