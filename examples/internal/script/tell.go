package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/obskeep/obskeep/report"
)

// Output is where a main prints, and how much.
type Output struct {
	Stdout, Stderr io.Writer
	JSON           bool // one object instead of text
	Verbose        bool // also when all is well
}

// Tell ends the report of a run, mails it, and prints it where somebody looks or something
// is wrong. err is what ended the run before its work, if that is so. What Tell returns is
// for [Main]. Of a run that found another at work nothing is told: that one will report.
func (o *Output) Tell(ctx context.Context, c *ReportConfig, r *report.Report, err error) (int, error) {
	if _, busy := errors.AsType[*BusyError](err); busy {
		return 0, err
	}
	if err != nil {
		r.Jobs = append(r.Jobs, report.Job{Name: "run", Outcome: report.Failed, Start: r.Start, End: time.Now(), Err: err})
	}
	r.End = time.Now()
	sendErr := c.Deliver(ctx, r)
	if sendErr != nil {
		sendErr = fmt.Errorf("report: %w", sendErr)
	}
	code := ReportCode(r)
	for _, e := range []error{err, sendErr} {
		code = Worse(code, ExitCode(e))
	}
	return code, errors.Join(err, o.print(r, err), sendErr)
}

// print prints the report. What ended a run before its work is one line, which Main prints.
func (o *Output) print(r *report.Report, err error) error {
	switch {
	case o.JSON:
		return r.WriteJSON(o.Stdout)
	case o.Verbose:
		return r.WriteText(o.Stdout)
	case r.Outcome() != report.OK && (err == nil || len(r.Jobs) > 1):
		return r.WriteText(o.Stderr)
	}
	return nil
}

// Closers are what is to be done when a run ends, the last first.
type Closers []func()

// Add adds what is to be done.
func (c *Closers) Add(f func()) { *c = append(*c, f) }

// Close does it.
func (c *Closers) Close() {
	for _, f := range slices.Backward(*c) {
		f()
	}
}
