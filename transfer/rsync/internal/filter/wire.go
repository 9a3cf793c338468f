package filter

import (
	"fmt"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// On the wire a rule is an int, its length, and its text; the int 0 ends the
// list.

const (
	// maxText is the longest rule that is read: a path and its modifiers.
	maxText = 4096 + 16
	// maxList bounds what a list may take of memory; ruleSize is what a rule
	// costs beside its text.
	maxList  = 8 << 20
	ruleSize = 64
)

// Write writes the list. An error is that of w.
func (l List) Write(w *wire.Writer) {
	for _, r := range l {
		text := r.String()
		w.Int(int32(len(text)))
		w.Write([]byte(text))
	}
	w.Int(0)
}

// Read reads a list. The error is that of r; or an ErrRule for a rule that is
// not followed here, which r has from then on too; or a wire.ErrInvalid for a
// rule longer than a path can be, or more than 8 MiB of rules.
func Read(r *wire.Reader) (List, error) {
	var l List
	for room := maxList; ; {
		n := r.Int()
		if r.Err() != nil {
			return nil, r.Err()
		}
		if n == 0 {
			return l, nil
		}
		room -= ruleSize + int(n)
		if n < 0 || n > maxText || room < 0 {
			r.Fail(fmt.Errorf("filter: %w: a rule of %d bytes after %d rules", wire.ErrInvalid, n, len(l)))
			return nil, r.Err()
		}
		text := string(r.Bytes(int(n)))
		if r.Err() != nil {
			return nil, r.Err()
		}
		rule, err := Parse(text)
		if err != nil {
			r.Fail(err)
			return nil, r.Err()
		}
		l = append(l, rule)
	}
}
