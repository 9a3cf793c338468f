// Package filter holds the include and exclude rules of an rsync session:
// their text, their form on the wire, and what they match.
//
// A [Rule] is what a user writes after --filter: "- *.tmp", "+ /2026/***".
// A [List] is asked by the side that sends ([List.Excluded]) and by the side
// that deletes ([List.Protected]). The first rule that matches decides; a name
// that none matches is included.
//
// A pattern is matched as rsync's manual says, section PATTERN MATCHING RULES:
//
//   - One without "/" and without "**" is matched against the last element of
//     the name.
//   - One that begins with "/" is matched against the whole name, counted from
//     the root of the transfer.
//   - Any other is matched against the end of the name, at an element's border.
//   - "*" and "?" stand for bytes other than "/", "**" for any, "[...]" for a
//     class as in shells. "\" quotes the next byte, but only in a pattern that
//     has one of "*", "?" and "[".
//   - One that ends in "/" matches directories only; one that ends in "/***"
//     a directory and everything in it.
//
// A rule is asked about one name. That everything in an excluded directory is
// excluded too is the business of who walks: it does not go in.
//
// # Guarantees
//
//   - Parse(r.String()) returns r for every rule r that Parse returned.
//   - A rule that this package does not follow is refused by name, never
//     taken for another.
//   - Matching takes no longer than the length of the pattern times that of the
//     name, and allocates nothing for patterns that people write.
//   - [Read] never panics and never allocates much more than has arrived.
package filter

import (
	"errors"
	"fmt"
	"strings"
)

// A Rule includes or excludes the names that a pattern matches. The zero Rule
// has no pattern and matches nothing.
type Rule struct {
	Exclude bool
	// Pattern is not empty and has neither a NUL byte nor, for DirOnly, the
	// slash at its end.
	Pattern string
	// DirOnly restricts the rule to directories.
	DirOnly bool
	// Negate makes the rule apply to the names that it would not match.
	Negate bool
	// SenderSide and ReceiverSide tell where the rule counts; if they are
	// equal, it counts on both sides.
	SenderSide, ReceiverSide bool
	// Perishable rules protect nothing in a directory that is itself deleted.
	// [List.Protected] does not know of such a directory and takes them like
	// any other. Protocol version 29 does not know the mark.
	Perishable bool
}

// ErrRule is returned for a text that is no rule, or none of those followed here.
var ErrRule = errors.New("filter rule not understood")

// unsupported names what rsync has and this package has not.
var unsupported = map[byte]string{
	':': "per-directory merge files",
	'.': "merge files",
	'/': "matching against the absolute path",
	'C': "the rules of CVS",
	'x': "names of extended attributes",
	'e': "exclusion of a merge file",
	'w': "splitting at white space",
	'n': "merge files without inheritance",
}

// Parse reads a rule as it is on the wire: "-" or "+", modifiers among "!"
// (negate), "s" (sender side), "r" (receiver side) and "p" (perishable), a
// space, the pattern. The error is an ErrRule that says what is wrong.
func Parse(text string) (Rule, error) {
	r, err := parse(text)
	if err != nil {
		return Rule{}, fmt.Errorf("filter: %w: %q: %w", ErrRule, text, err)
	}
	return r, nil
}

func parse(text string) (Rule, error) {
	head, pattern, ok := strings.Cut(text, " ")
	if !ok || head == "" {
		return Rule{}, errors.New("neither - PATTERN nor + PATTERN")
	}
	var r Rule
	switch head[0] {
	case '-':
		r.Exclude = true
	case '+':
	default:
		return Rule{}, unknown(head[0])
	}
	for _, c := range []byte(head[1:]) {
		switch c {
		case '!':
			r.Negate = true
		case 's':
			r.SenderSide = true
		case 'r':
			r.ReceiverSide = true
		case 'p':
			r.Perishable = true
		default:
			return Rule{}, unknown(c)
		}
	}
	if strings.IndexByte(pattern, 0) >= 0 {
		return Rule{}, errors.New("a NUL byte in the pattern")
	}
	// A lone slash is no directory of an empty name.
	if len(pattern) > 1 {
		pattern, r.DirOnly = strings.CutSuffix(pattern, "/")
	}
	if pattern == "" {
		return Rule{}, errors.New("no pattern")
	}
	r.Pattern = pattern
	return r, nil
}

func unknown(c byte) error {
	if what, ok := unsupported[c]; ok {
		return fmt.Errorf("%q: %s: not supported", c, what)
	}
	return fmt.Errorf("%q: unknown", c)
}

// String returns the rule as on the wire, which is also how a user writes it.
func (r Rule) String() string {
	var b strings.Builder
	mark := func(on bool, c byte) {
		if on {
			b.WriteByte(c)
		}
	}
	mark(r.Exclude, '-')
	mark(!r.Exclude, '+')
	mark(r.Negate, '!')
	mark(r.SenderSide, 's')
	mark(r.ReceiverSide, 'r')
	mark(r.Perishable, 'p')
	b.WriteByte(' ')
	b.WriteString(r.Pattern)
	mark(r.DirOnly, '/')
	return b.String()
}

// A List of rules; the first that matches a name decides. The nil List
// excludes and protects nothing. It may be asked by several goroutines at once.
type List []Rule

// Excluded reports whether the sending side leaves name out. Rules for the
// receiver alone are passed over. name is relative to the root of the transfer,
// without a slash at either end; the root itself, ".", is never excluded.
func (l List) Excluded(name string, isDir bool) bool {
	for i := range l {
		if r := &l[i]; (r.SenderSide || !r.ReceiverSide) && r.matches(name, isDir) {
			return r.Exclude
		}
	}
	return false
}

// Protected reports whether the side that deletes must keep name. Rules for
// the sender alone are passed over. name is as for Excluded.
func (l List) Protected(name string, isDir bool) bool {
	for i := range l {
		if r := &l[i]; (r.ReceiverSide || !r.SenderSide) && r.matches(name, isDir) {
			return r.Exclude
		}
	}
	return false
}

func (r *Rule) matches(name string, isDir bool) bool {
	if name == "." || r.Pattern == "" {
		return false
	}
	hit := (isDir || !r.DirOnly) && matchName(r.Pattern, name, isDir)
	return hit != r.Negate
}
