package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/internal/units"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/keep"
)

// job is one run.
type job struct {
	config
	flags          *script.Flags
	day            julian.Date
	days           int
	demo           bool
	stdout, stderr io.Writer
	logger         *slog.Logger
}

// run does the job, tells of it and returns the exit code.
func (j *job) run(ctx context.Context) (int, error) {
	today := julian.DateOf(time.Now().In(j.zone()))
	given := j.day.IsValid()
	switch {
	case !given:
		j.day = today
	case j.day.Compare(today) > 0:
		return 0, &script.UsageError{Err: fmt.Errorf("-day %v has not come yet: today is %v", j.day, today)}
	}
	r := &report.Report{Name: j.Name, Host: script.Host(), Day: j.day, Start: time.Now(), Version: script.Version("backup")}
	if k := j.Target.Keep; k > 0 && k <= j.days {
		return 0, &script.UsageError{Err: fmt.Errorf("target.keep is %d: days would be fetched only to be removed; want more than -days %d", k, j.days)}
	}
	if j.flags.DryRun {
		return j.plan(ctx, today, given)
	}
	err := j.keepDays(ctx, today, given, r)
	out := script.Output{Stdout: j.stdout, Stderr: j.stderr, JSON: j.flags.JSON, Verbose: j.flags.Verbose || j.demo}
	return out.Tell(ctx, &j.Report, r, err)
}

// sides are the source and the target of a run, with a keeper between them.
type sides struct {
	*keep.Keeper
	options *transfer.Options
	script.Closers
}

// open connects both sides, the target locked unless nothing will be done.
func (j *job) open(ctx context.Context, given bool) (*sides, error) {
	s := &sides{options: &transfer.Options{Bandwidth: int64(j.Source.Bandwidth)}}
	err := j.connect(ctx, s, given)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (j *job) connect(ctx context.Context, s *sides, given bool) error {
	if err := script.CheckTarget(j.targetDir); err != nil {
		return err
	}
	if !j.flags.DryRun {
		unlock, err := script.Lock(j.targetDir)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		s.Add(unlock)
	}
	target, err := dirstore.Open(j.targetDir)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	s.Add(func() { target.Close() })
	source, err := j.Source.Open(ctx, j.sourceDir, j.logger)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	s.Add(func() { source.Close() })
	catchUp, keepDays := j.catchUp(), j.Target.Keep
	if given { // what was asked for is done, and nothing else
		catchUp, keepDays = -1, 0
	}
	s.Keeper, err = keep.New(keep.Config{
		Source: source, SourceDays: j.sourceDays, Target: target, TargetDays: j.targetDays,
		Origin: j.origin(), Settled: time.Duration(j.Source.Settled), Marker: j.Source.Marker, CatchUp: catchUp,
		Keep: keepDays, Reserve: j.Target.Reserve, Transfer: s.options, Logger: j.logger,
	})
	if err != nil {
		return &script.UsageError{Err: err}
	}
	return nil
}

// keepDays fetches and verifies, and adds what became of it to the report.
func (j *job) keepDays(ctx context.Context, today julian.Date, given bool, r *report.Report) error {
	k, err := j.open(ctx, given)
	if err != nil {
		return err
	}
	defer k.Close()
	p, err := k.Plan(ctx, today, j.day, j.days)
	if err != nil {
		return err
	}
	bar, finish := script.Progress(j.stderr)
	defer finish()
	k.options.Progress = func(s transfer.Stats) { bar(j.Name, s.Matched+s.Literal+s.Resumed, s.Size) }
	removed, err := k.Run(ctx, p, func(res keep.Result) {
		finish()
		r.Jobs = append(r.Jobs, res.Job())
	})
	r.Notes = append(r.Notes, p.Notes(removed)...)
	return err
}

// plan prints what a run would do.
func (j *job) plan(ctx context.Context, today julian.Date, given bool) (int, error) {
	k, err := j.open(ctx, given)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	p, err := k.Plan(ctx, today, j.day, j.days)
	if err != nil {
		return 0, err
	}
	fits := k.Fits(ctx, p)
	if j.flags.JSON {
		err = writePlan(j.stdout, j.Name, p, fits)
	} else {
		err = printPlan(j.stdout, p, fits)
	}
	code := script.ExitCode(fits)
	for _, d := range p.Days {
		if d.Err != nil {
			code = script.Worse(code, script.ExitFailed)
		}
	}
	return code, err
}

func printPlan(w io.Writer, p *keep.Plan, fits error) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "day\tstate\tfiles\tsize\tto fetch\t")
	for _, d := range p.Days {
		why := d.Why
		if d.Err != nil {
			why = d.Err.Error()
		}
		fmt.Fprintf(tw, "%v\t%v\t%d\t%s\t%s\t%s\n", d.Date, d.State, d.Files, units.Bytes(d.Bytes), units.Bytes(d.Fetch), why)
	}
	for _, n := range p.Notes(p.Remove) {
		fmt.Fprintln(tw, n)
	}
	if fits != nil {
		fmt.Fprintln(tw, "it does not fit:", fits)
	}
	return tw.Flush()
}

// writePlan prints a plan as one JSON object.
func writePlan(w io.Writer, name string, p *keep.Plan, fits error) error {
	type day struct {
		Day   julian.Date `json:"day"`
		State string      `json:"state"`
		Why   string      `json:"why,omitempty"`
		Files int         `json:"files"`
		Size  int64       `json:"size_bytes"`
		Fetch int64       `json:"fetch_bytes"`
	}
	out := struct {
		Schema string        `json:"schema"`
		Name   string        `json:"name"`
		Days   []day         `json:"days"`
		Remove []julian.Date `json:"remove"`
		Fits   bool          `json:"fits"`
		Why    string        `json:"why,omitempty"`
	}{Schema: "obskeep/backup-plan/v1", Name: name, Days: []day{}, Remove: []julian.Date{}, Fits: fits == nil}
	for _, d := range p.Days {
		if d.Err != nil {
			d.Why = d.Err.Error()
		}
		out.Days = append(out.Days, day{d.Date, d.State.String(), d.Why, d.Files, d.Bytes, d.Fetch})
	}
	for _, k := range p.Remove {
		out.Remove = append(out.Remove, k.Date)
	}
	if fits != nil {
		out.Why = fits.Error()
	}
	return json.NewEncoder(w).Encode(out)
}
