package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// job is one run.
type job struct {
	*config
	dryRun, json, verbose, demo bool
	stdout, stderr              io.Writer
	logger                      *slog.Logger
}

// run does the job, tells of it and returns the exit code.
func (j *job) run(ctx context.Context) (int, error) {
	now := time.Now()
	r := &report.Report{Name: j.Name, Host: script.Host(), Day: julian.DateOf(now.UTC()), Start: now, Version: script.Version("backupvms")}
	if j.dryRun {
		return j.plan(ctx)
	}
	err := j.fetch(ctx, r)
	out := script.Output{Stdout: j.stdout, Stderr: j.stderr, JSON: j.json, Verbose: j.verbose || j.demo}
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
	// Not made here: where it is missing, a disk may not be mounted.
	if _, err := os.Stat(j.Target.Path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("target: %s: %w; mount its disk, or make the folder: this program never does", j.Target.Path, errors.Unwrap(err))
	}
	if !j.dryRun {
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
	source, closeSource, err := j.openSource(ctx)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	s.Add(closeSource)
	if _, err := source.Stat(ctx, "."); err != nil {
		return fmt.Errorf("source: %s: %w", j.Source.Path, err)
	}
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

func (j *job) openSource(ctx context.Context) (transfer.Store, func(), error) {
	if j.Source.Address == "" {
		s, err := dirstore.Open(j.Source.Path)
		if err != nil {
			return nil, nil, err
		}
		return s, func() { s.Close() }, nil
	}
	s, err := j.Source.SSH.Open(ctx, j.Source.Path, j.logger)
	if err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil
}
