package script

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
)

// Flags are the flags of a main that does a job: those that all of them have, and its own.
type Flags struct {
	*flag.FlagSet
	Config                string // empty: a demonstration
	DryRun, JSON, Verbose bool

	usage   string
	version bool
}

// NewFlags makes the flags of a main. usage is what may follow its name.
func NewFlags(name, usage string) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), usage: usage}
	f.SetOutput(io.Discard) // an error is one line, without the usage
	f.StringVar(&f.Config, "config", "", "configuration `file`; none: a demonstration")
	f.BoolVar(&f.DryRun, "dry-run", false, "print what would be done, and do nothing")
	f.BoolVar(&f.JSON, "json", false, "print one JSON object")
	f.BoolVar(&f.Verbose, "v", false, "print the report, and what is done")
	f.BoolVar(&f.version, "version", false, "print the version and exit")
	return f
}

// Parse parses the arguments. done means that only the usage or the version was asked
// for, and has been printed.
func (f *Flags) Parse(args []string, stdout io.Writer) (done bool, err error) {
	switch err := f.FlagSet.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(stdout)
		fmt.Fprintf(stdout, "usage: %s %s\n", f.Name(), f.usage)
		f.PrintDefaults()
		return true, nil
	case err != nil:
		return false, &UsageError{err}
	case f.version:
		fmt.Fprintln(stdout, Version(f.Name()))
		return true, nil
	}
	return false, nil
}

// Logger logs what is done, if that is wanted.
func (f *Flags) Logger(w io.Writer) *slog.Logger {
	if !f.Verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
