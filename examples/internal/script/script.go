// Package script is what the example mains share: a strict configuration, a
// lock, exit codes, a progress bar, and a report that arrives.
//
// The conventions are cron's: silent when all is well, so that cron mails
// only trouble; one clear line on standard error for what stops a run.
package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/obskeep/obskeep/report"
)

// Exit codes of all mains.
const (
	ExitOK       = 0
	ExitFailed   = 1  // something was tried and did not succeed
	ExitUsage    = 2  // wrong flags or configuration
	ExitWarnings = 3  // done, but look: warnings, or something missed
	ExitNoSpace  = 4  // a disk has not enough room
	ExitBusy     = 75 // another run is at work; sysexits' EX_TEMPFAIL
)

// UsageError is an error of the one who called: flags or configuration.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ExitCode is the exit code of an error.
func ExitCode(err error) int {
	_, usage := errors.AsType[*UsageError](err)
	_, busy := errors.AsType[*BusyError](err)
	_, unsent := errors.AsType[*UnsentError](err)
	switch {
	case err == nil:
		return ExitOK
	case usage:
		return ExitUsage
	case busy:
		return ExitBusy
	case errors.Is(err, syscall.ENOSPC):
		return ExitNoSpace
	case unsent:
		return ExitWarnings
	}
	return ExitFailed
}

// Worse returns the worse of two exit codes: what stopped a run before what it
// left undone, and that before what has only to be looked at.
func Worse(a, b int) int {
	order := []int{ExitOK, ExitWarnings, ExitFailed, ExitNoSpace, ExitBusy, ExitUsage}
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}

// ReportCode is the exit code of what a report tells.
func ReportCode(r *report.Report) int {
	for _, job := range r.Jobs {
		if errors.Is(job.Err, syscall.ENOSPC) {
			return ExitNoSpace
		}
	}
	switch r.Outcome() {
	case report.OK:
		return ExitOK
	case report.Failed:
		return ExitFailed
	}
	return ExitWarnings
}

// Main runs a main: the context ends with SIGINT or SIGTERM, a second signal
// ends the process at once, an error is printed as one line and becomes the
// exit code, unless run returns one of its own.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		text := strings.ReplaceAll(err.Error(), "\n", "\n"+name+": ") // errors that were joined
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, text)
		if code == ExitOK {
			code = ExitCode(err)
		}
	}
	os.Exit(code)
}

// Version is the program's name with what its build knows of itself.
func Version(name string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return name
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (version == "" || version == "(devel)") {
			version = s.Value
		}
	}
	return fmt.Sprintf("%s %s (%s)", name, version, info.GoVersion)
}

// Host is the name of this machine.
func Host() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
