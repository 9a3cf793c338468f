package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/internal/units"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

// job is one run.
type job struct {
	config
	flags          *script.Flags
	demo, recover  bool
	stdout, stderr io.Writer
	logger         *slog.Logger

	host virt.Host // nil: that of the configuration
}

// run does the job, tells of it and returns the exit code.
func (j *job) run(ctx context.Context) (int, error) {
	if j.flags.DryRun {
		return j.plan(ctx)
	}
	now := time.Now()
	r := &report.Report{Name: j.Name, Host: script.Host(), Day: julian.DateOf(now.UTC()), Start: now, Version: script.Version("cronbackupmachines")}
	err := j.image(ctx, r)
	if j.recover && err == nil && len(r.Jobs) == 0 {
		return script.ExitOK, nil // nothing was left to be put in order
	}
	out := script.Output{Stdout: j.stdout, Stderr: j.stderr, JSON: j.flags.JSON, Verbose: j.flags.Verbose || j.demo}
	return out.Tell(ctx, &j.Report, r, err)
}

// image images the machines, or only puts them in order, and adds what became of each to
// the report.
func (j *job) image(ctx context.Context, r *report.Report) error {
	s, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	do := s.engine.Run
	if j.recover {
		do = s.engine.Recover
	}
	results, err := do(ctx)
	for _, result := range results {
		r.Jobs = append(r.Jobs, result.Job())
	}
	return err
}

// sides are what a run works with.
type sides struct {
	engine *vmimage.Engine
	script.Closers
}

func (j *job) open(ctx context.Context) (*sides, error) {
	s := new(sides)
	if err := j.connect(ctx, s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// patience is how long a host that cannot be reached is waited for: at boot it may come
// later than we do.
const patience = time.Minute

func (j *job) connect(ctx context.Context, s *sides) error {
	if err := script.CheckTarget(j.Target.Path); err != nil && !j.recover {
		return err
	}
	var journal *vmimage.Journal // none: nothing is written down where nothing is done
	if !j.flags.DryRun {
		var err error
		if journal, err = vmimage.OpenJournal(j.State); err != nil {
			return err
		}
		s.Add(func() { journal.Close() })
		unlock, err := script.Lock(j.State)
		if err != nil {
			return fmt.Errorf("state: %w", err)
		}
		s.Add(unlock)
	}
	bar, finish := script.Progress(j.stderr)
	s.Add(finish)
	var target vmimage.Target
	opened, err := plain.Open(j.Target.Path, &plain.Options{Progress: func(p plain.Progress) {
		bar(p.Machine+"/"+p.ID, p.Done, p.Size)
	}})
	switch {
	case err == nil:
		s.Add(func() { opened.Close() })
		target = opened
	case j.recover:
		target = away{err} // the machines come back, whatever is with their images
	default:
		return fmt.Errorf("target: %w", err)
	}
	host := j.host
	if host == nil {
		h, err := libvirt.Open(ctx, j.Host.URI, nil)
		for end := time.Now().Add(patience); errors.Is(err, virt.ErrLost) && time.Now().Before(end) && ctx.Err() == nil; {
			time.Sleep(time.Second)
			h, err = libvirt.Open(ctx, j.Host.URI, nil)
		}
		if err != nil {
			return fmt.Errorf("host %s: %w", j.Host.URI, err)
		}
		s.Add(func() { h.Close() })
		host = h
	}
	s.engine, err = vmimage.New(vmimage.Config{
		Keeper: vmimage.Keeper{Target: target, Policy: j.Target.Policy(), Space: diskspace.Planner{Reserve: j.Target.Reserve}},
		Host:   host, Journal: journal, Open: disk.Open, Machines: j.machines(), Parallel: j.Parallel,
		Overlay: j.overlay(), Overlays: j.Host.Overlays, TPM: j.Host.TPM, Logger: j.logger,
	})
	if err != nil {
		return &script.UsageError{Err: err}
	}
	return nil
}

// away is a target that cannot be reached.
type away struct{ err error }

func (a away) Dir() string { return "" }
func (a away) Images(context.Context) ([]vmimage.Image, error) {
	return nil, a.err
}
func (a away) Store(_ context.Context, i vmimage.Image, _ vmimage.Content) (vmimage.Image, error) {
	return i, a.err
}
func (a away) Verify(_ context.Context, i vmimage.Image) (vmimage.Image, error) { return i, a.err }
func (a away) Remove(context.Context, vmimage.Image) error                      { return a.err }
func (a away) Clean(context.Context, string) ([]string, error)                  { return nil, a.err }

// plan prints what a run would do.
func (j *job) plan(ctx context.Context) (int, error) {
	s, err := j.open(ctx)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	p, err := s.engine.Plan(ctx)
	if err != nil {
		return 0, err
	}
	code := script.ExitCode(p.Short)
	for _, m := range p.Machines {
		if m.Refused != "" {
			code = script.Worse(code, script.ExitWarnings)
		}
	}
	if j.flags.JSON {
		return code, writePlan(j.stdout, j.Name, p)
	}
	return code, printPlan(j.stdout, p)
}

func printPlan(w io.Writer, p *vmimage.Plan) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "machine\tstate\tdown for\tto read\ttakes\tremoved then\t")
	for _, m := range p.Machines {
		if m.Refused != "" {
			fmt.Fprintf(tw, "%s\tnot touched: %s\n", m.Name, m.Refused)
			continue
		}
		var remove []string
		for _, i := range m.Retention.Remove {
			remove = append(remove, i.ID)
		}
		fmt.Fprintf(tw, "%s\t%v\t%s\t%s\t%s\t%s\n", m.Name, m.State, forecast(m.State == virt.Running && m.Mode == vmimage.Cold, m.Down),
			units.Bytes(m.Bytes()), forecast(true, m.Took), remove)
	}
	for _, n := range p.Needs {
		fmt.Fprintf(tw, "%s needs %s\n", n.Path, units.Bytes(int64(n.Bytes)))
	}
	for _, i := range p.MakeRoom {
		fmt.Fprintf(tw, "to make room %s %s of %s goes first\n", i.Machine, i.ID, units.Bytes(i.Allocated()))
	}
	if p.Short != nil {
		fmt.Fprintln(tw, "it does not fit, so nothing would be touched:", p.Short)
	}
	return tw.Flush()
}

// forecast is how long something takes, as far as that is known.
func forecast(happens bool, d time.Duration) string {
	switch {
	case !happens:
		return "-"
	case d == 0:
		return "not known"
	}
	return d.Round(100 * time.Millisecond).String()
}

// writePlan prints a plan as one JSON object.
func writePlan(w io.Writer, name string, p *vmimage.Plan) error {
	type machine struct {
		Name   string   `json:"name"`
		State  string   `json:"state"`
		Why    string   `json:"not_touched,omitempty"`
		Down   float64  `json:"down_seconds"`
		Took   float64  `json:"takes_seconds"`
		Read   int64    `json:"read_bytes"`
		Remove []string `json:"remove"`
	}
	out := struct {
		Schema   string    `json:"schema"`
		Name     string    `json:"name"`
		Machines []machine `json:"machines"`
		MakeRoom []string  `json:"make_room"`
		Fits     bool      `json:"fits"`
		Why      string    `json:"why,omitempty"`
	}{Schema: "obskeep/machines-plan/v1", Name: name, Machines: []machine{}, MakeRoom: []string{}, Fits: p.Short == nil}
	for _, m := range p.Machines {
		line := machine{m.Name, m.State.String(), m.Refused, m.Down.Seconds(), m.Took.Seconds(), m.Bytes(), []string{}}
		for _, i := range m.Retention.Remove {
			line.Remove = append(line.Remove, i.ID)
		}
		out.Machines = append(out.Machines, line)
	}
	for _, i := range p.MakeRoom {
		out.MakeRoom = append(out.MakeRoom, i.Machine+"/"+i.ID)
	}
	if p.Short != nil {
		out.Why = p.Short.Error()
	}
	return json.NewEncoder(w).Encode(out)
}
