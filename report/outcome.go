package report

import (
	"errors"
	"fmt"
)

// Outcome is how a job ended. Outcomes are ordered: the greater is the worse.
// The zero value is OK.
type Outcome uint8

const (
	OK      Outcome = iota // done, and nothing to look at
	Warning                // done, but look
	Missed                 // did not happen: not there, or not heard of
	Failed                 // tried, and did not succeed
)

// outcomeTexts is in the order of the constants.
var outcomeTexts = [...]string{"ok", "warning", "missed", "failed"}

// ErrOutcome is the cause when a text names no outcome, or a number is none.
var ErrOutcome = errors.New("report: no such outcome")

// String returns "ok", "warning", "missed" or "failed".
func (o Outcome) String() string {
	if int(o) < len(outcomeTexts) {
		return outcomeTexts[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText returns what String returns, or an error that wraps
// [ErrOutcome] if o is none of the constants.
func (o Outcome) MarshalText() ([]byte, error) {
	if o > Failed {
		return nil, fmt.Errorf("%w: %d", ErrOutcome, uint8(o))
	}
	return []byte(o.String()), nil
}

// UnmarshalText accepts what MarshalText returns. Any other text is an error
// that wraps [ErrOutcome], and leaves o as it was.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, t := range outcomeTexts {
		if string(text) == t {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("%w: %q", ErrOutcome, text)
}
