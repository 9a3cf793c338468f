package transfer

import (
	"errors"
	"time"
)

// errVain ends a fetch in which the difference to a large file is looked for,
// and it has nothing in common with what is wanted.
var errVain = errors.New("nothing in common")

// A search is in vain if so many bytes have come of which hardly any were there,
// and more are to come, over a line so fast that they are sent sooner than looked for.
const (
	vainMin  = 64 << 20 // bytes
	vainLeft = 64 << 20 // bytes
	vainRate = 16 << 20 // bytes a second
)

func (f *fetched) inVain(t tally) bool {
	left := f.t.info.Size - t.literal - t.matched
	return t.literal >= vainMin && t.matched < t.literal/16 && left >= vainLeft && f.t.old.Size >= hashMin &&
		float64(t.literal) >= time.Since(f.begun).Seconds()*vainRate
}
