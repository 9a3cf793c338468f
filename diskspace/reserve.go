package diskspace

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/obskeep/obskeep/internal/units"
)

// Reserve is what to leave free on every volume: both amounts, so the larger
// of the two. The zero Reserve leaves nothing.
type Reserve struct {
	Bytes   uint64
	Percent float64 // of the volume's bytes, and of its inodes; from 0 to 100
}

// ParseReserve reads a number of bytes, such as "20 GiB" or "500 MB", or a
// share of the volume, such as "10%" or "2.5 %". The error quotes s.
func ParseReserve(s string) (Reserve, error) {
	if number, ok := strings.CutSuffix(strings.TrimSpace(s), "%"); ok {
		percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return Reserve{}, fmt.Errorf("diskspace: reserve %q is not from 0%% to 100%%", s)
		}
		return Reserve{Percent: percent}, nil
	}
	n, err := units.ParseBytes(s)
	if err != nil {
		return Reserve{}, fmt.Errorf("diskspace: reserve: %w", err)
	}
	return Reserve{Bytes: uint64(n)}, nil
}

// UnmarshalText is [ParseReserve], for configuration files.
func (r *Reserve) UnmarshalText(text []byte) error {
	parsed, err := ParseReserve(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// bytes returns what to leave of a volume of so many bytes.
func (r Reserve) bytes(total uint64) uint64 { return max(r.Bytes, r.share(total)) }

// inodes returns what to leave of so many inodes.
func (r Reserve) inodes(total uint64) uint64 { return r.share(total) }

func (r Reserve) share(total uint64) uint64 {
	if !(r.Percent > 0) {
		return 0
	}
	if r.Percent >= 100 {
		return total
	}
	return min(uint64(math.Ceil(float64(total)/100*r.Percent)), total)
}
