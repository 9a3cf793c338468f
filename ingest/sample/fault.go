package sample

import (
	"fmt"
	"slices"
)

// Rule is one rule of a format. Rules are compared by their addresses, and a
// [Fault] wraps the rule that is broken: errors.Is(err, iaga2002.TimeGap).
type Rule struct {
	Format  string // "iaga2002"
	Name    string // "TIME-GAP"
	Text    string // what the rule asks for
	Refused bool   // the receiver's reader refuses a file that breaks the rule
}

func (r *Rule) Error() string { return r.Format + ": " + r.Name + ": " + r.Text }

// Rules are the rules of a format. They are made when a program begins, and not added to
// afterwards.
type Rules struct {
	format string
	all    []*Rule
}

// NewRules returns Rules without a rule.
func NewRules(format string) *Rules { return &Rules{format: format} }

// Add adds a rule.
func (r *Rules) Add(name, text string) *Rule {
	r.all = append(r.all, &Rule{Format: r.format, Name: name, Text: text})
	return r.all[len(r.all)-1]
}

// Refused adds a rule that the receiver's reader has as well.
func (r *Rules) Refused(name, text string) *Rule {
	rule := r.Add(name, text)
	rule.Refused = true
	return rule
}

// All returns the rules in the order in which they were added.
func (r *Rules) All() []*Rule { return slices.Clone(r.all) }

// Fault is a place of a file that breaks a rule.
type Fault struct {
	Rule   *Rule
	File   string // as in Options.Name; empty if that is
	Line   int    // counted from 1; after the last line if the file as a whole is at fault
	Column int    // in bytes from 1; zero if the line as a whole is at fault
	Offset int64  // of that column, or of the line, in bytes from the beginning of the file
	Found  string // what stands there, at most 80 bytes of it
}

func (f *Fault) Error() string {
	where := fmt.Sprintf("line %d", f.Line)
	if f.Column > 0 {
		where += fmt.Sprintf(" column %d", f.Column)
	}
	if f.File != "" {
		where = f.File + " " + where
	}
	return fmt.Sprintf("%s: %s, on %s (byte %d): %s: found %q", f.Rule.Format, f.Rule.Name, where, f.Offset, f.Rule.Text, f.Found)
}

// Unwrap returns the rule.
func (f *Fault) Unwrap() error { return f.Rule }

// Mode says which faults end the reading of a file.
type Mode uint8

const (
	Strict   Mode = iota // every fault
	Receiver             // those that the receiver's reader refuses
	Lenient              // none: a line from which no row can be made is left out
)

func (m Mode) refuses(r *Rule) bool {
	return m == Strict || m == Receiver && r.Refused
}

// maxFound bounds Fault.Found.
const maxFound = 80
