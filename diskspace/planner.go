package diskspace

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/obskeep/obskeep/internal/units"
)

// Need is one planned write.
type Need struct {
	Path   string // where; it need not exist yet
	Bytes  uint64
	Inodes uint64 // files, directories and links to be made
}

// Planner says whether planned writes fit. The zero Planner leaves no reserve
// and asks [Stat]. All its paths are of one machine. Its methods may be called
// concurrently if its Stat may.
type Planner struct {
	Reserve Reserve

	// Stat measures the volume of a path. Nil means Stat of this package; for
	// another machine, call a Stater.
	Stat func(path string) (Usage, error)
}

func (p *Planner) stat(path string) (Usage, error) {
	if p.Stat == nil {
		return statNearest(path)
	}
	return p.Stat(path)
}

// Fits returns nil if all needs fit at once, each volume keeping the reserve.
// Otherwise it joins a [*ShortfallError] for every volume that is short of
// bytes and another for every one short of inodes. What nothing is needed of is
// never short, even if the reserve is used up already. If a path cannot be
// measured, that error is all there is.
func (p *Planner) Fits(needs ...Need) error {
	type volume struct {
		Usage
		Need
	}
	var order []uint64
	volumes := make(map[uint64]*volume)
	for _, n := range needs {
		u, err := p.stat(n.Path)
		if err != nil {
			return fmt.Errorf("diskspace: volume of %s: %w", n.Path, err)
		}
		v := volumes[u.Volume]
		if v == nil {
			v = &volume{Usage: u, Need: Need{Path: n.Path}}
			volumes[u.Volume] = v
			order = append(order, u.Volume)
		}
		// Quotas can leave one directory less than another.
		v.Avail, v.Usage.Inodes = min(v.Avail, u.Avail), min(v.Usage.Inodes, u.Inodes)
		v.Bytes, v.Need.Inodes = add(v.Bytes, n.Bytes), add(v.Need.Inodes, n.Inodes)
	}
	var short []error
	for _, id := range order {
		v := volumes[id]
		bytes := &ShortfallError{
			Path: v.Path, Need: v.Bytes, Avail: v.Avail, Reserve: p.Reserve.bytes(v.Total),
		}
		if v.Bytes > 0 && bytes.Short() > 0 {
			short = append(short, bytes)
		}
		inodes := &ShortfallError{
			Path: v.Path, Need: v.Need.Inodes, Avail: v.Usage.Inodes, Reserve: p.Reserve.inodes(v.TotalInodes),
			Inodes: true,
		}
		if v.Need.Inodes > 0 && v.TotalInodes > 0 && inodes.Short() > 0 {
			short = append(short, inodes)
		}
	}
	return errors.Join(short...)
}

// ShortfallError says what a volume lacks. It is a syscall.ENOSPC.
type ShortfallError struct {
	Path    string // of the first need on the volume
	Need    uint64 // of all needs on it
	Avail   uint64
	Reserve uint64
	Inodes  bool // the amounts are inodes, not bytes

	// Freeable is what would be free besides Avail if all that may go went. It
	// is zero from Fits; Relief sets it when that is still not enough.
	Freeable uint64
}

// Short returns how much is lacking, in bytes or inodes.
func (e *ShortfallError) Short() uint64 {
	need, have := add(e.Need, e.Reserve), add(e.Avail, e.Freeable)
	return need - min(need, have)
}

func (e *ShortfallError) Error() string {
	amount := func(n uint64) string { return units.Bytes(int64(min(n, math.MaxInt64))) }
	what := ""
	if e.Inodes {
		amount, what = func(n uint64) string { return strconv.FormatUint(n, 10) }, " inodes"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "diskspace: %s: need %s%s, have %s", e.Path, amount(e.Need), what, amount(e.Avail))
	if e.Freeable > 0 {
		fmt.Fprintf(&b, " and %s that may go", amount(e.Freeable))
	}
	if e.Reserve > 0 {
		fmt.Fprintf(&b, ", keep %s free", amount(e.Reserve))
	}
	fmt.Fprintf(&b, ": %s short", amount(e.Short()))
	return b.String()
}

// Is reports whether target is syscall.ENOSPC.
func (e *ShortfallError) Is(target error) bool { return target == syscall.ENOSPC }

// Item is something that was kept and may be deleted, such as a day folder or
// an image.
type Item struct {
	Path     string
	Bytes    uint64    // freed when it goes
	Inodes   uint64    // freed when it goes
	Time     time.Time // of what it holds; the zero Time: unknown, so it stays
	LastGood bool      // it must stay: the newest one known to be good
}

// Relief returns which of the items in may would have to go to settle s: the
// oldest first, of equal age by path, and no more than needed. Items that must
// stay, that are on another volume, or that free nothing of what is short are
// passed over. If the rest is not enough, Relief proposes nothing and the error
// is a [*ShortfallError] that says what would still be lacking.
func (p *Planner) Relief(s *ShortfallError, may []Item) ([]Item, error) {
	here, err := p.stat(s.Path)
	if err != nil {
		return nil, fmt.Errorf("diskspace: volume of %s: %w", s.Path, err)
	}
	oldest := slices.SortedStableFunc(slices.Values(may), func(a, b Item) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Path, b.Path))
	})
	left := *s
	left.Freeable = 0
	var gone []Item
	for _, item := range oldest {
		if left.Short() == 0 {
			break
		}
		frees := item.Bytes
		if s.Inodes {
			frees = item.Inodes
		}
		if item.LastGood || item.Time.IsZero() || frees == 0 {
			continue
		}
		u, err := p.stat(item.Path)
		if err != nil {
			return nil, fmt.Errorf("diskspace: volume of %s: %w", item.Path, err)
		}
		if u.Volume == here.Volume {
			gone = append(gone, item)
			left.Freeable = add(left.Freeable, frees)
		}
	}
	if left.Short() > 0 {
		return nil, &left
	}
	return gone, nil
}
