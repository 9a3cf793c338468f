package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// job is one run.
type job struct {
	config
	flags          *script.Flags
	demo           bool
	stdout, stderr io.Writer
	logger         *slog.Logger
}

// run does the job, tells of it and returns the exit code.
func (j *job) run(ctx context.Context) (int, error) {
	now := time.Now()
	r := &report.Report{Name: j.Name, Host: script.Host(), Day: julian.DateOf(now.UTC()), Start: now, Version: script.Version("backupvms")}
	if j.flags.DryRun {
		return j.plan(ctx)
	}
	err := j.fetch(ctx, r)
	out := script.Output{Stdout: j.stdout, Stderr: j.stderr, JSON: j.flags.JSON, Verbose: j.flags.Verbose || j.demo}
	return out.Tell(ctx, &j.Report, r, err)
}

// fetch fetches, and adds what became of it to the report.
func (j *job) fetch(ctx context.Context, r *report.Report) error {
	s, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	return s.Run(ctx, p, func(res fetch.Result) { r.Jobs = append(r.Jobs, res.Job()) })
}

// sides are the source and the target of a run, with a fetcher between them.
type sides struct {
	*fetch.Fetcher
	script.Closers
}

// open connects both sides, the target locked unless nothing will be done.
func (j *job) open(ctx context.Context) (*sides, error) {
	s := new(sides)
	if err := j.connect(ctx, s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (j *job) connect(ctx context.Context, s *sides) error {
	if err := script.CheckTarget(j.Target.Path); err != nil {
		return err
	}
	if !j.flags.DryRun {
		unlock, err := script.Lock(j.Target.Path)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		s.Add(unlock)
	}
	bar, finish := script.Progress(j.stderr)
	s.Add(finish)
	target, err := plain.Open(j.Target.Path, &plain.Options{Progress: func(p plain.Progress) {
		bar("verify "+p.Machine+"/"+p.ID, p.Done, p.Size)
	}})
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	s.Add(func() { target.Close() })
	source, err := j.Source.Open(ctx, j.Source.Path, j.logger)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	s.Add(func() { source.Close() })
	s.Fetcher, err = fetch.New(fetch.Config{
		Source: source,
		Keeper: vmimage.Keeper{Target: target, Policy: j.Target.Policy(), Space: diskspace.Planner{Reserve: j.Target.Reserve}},
		Expect: time.Duration(j.Expect), Logger: j.logger,
		Transfer: &transfer.Options{Bandwidth: int64(j.Source.Bandwidth), Progress: func(s transfer.Stats) {
			bar("fetch", s.Matched+s.Literal+s.Resumed, s.Size)
		}},
	})
	if err != nil {
		return &script.UsageError{Err: err}
	}
	return nil
}
