// Package units writes numbers of bytes as people read them, and reads them
// as people write them.
//
// The binary units KiB through EiB count in steps of 1024, the decimal units
// kB through EB in steps of 1000 (IEC 80000-13, clause 4). A bare "G" or "M",
// which programs take for either, is refused.
//
// # Guarantees
//
//   - Bytes is exact below 1 KiB, and within half a percent of n above.
//   - Bytes never prints more than four digits.
//   - ParseBytes(Bytes(n)) is n below 1 KiB and for whole units.
//   - ParseBytes never returns a negative number and never overflows: what
//     an int64 cannot hold is an error.
package units

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

const prefixes = "KMGTPE"

// Bytes returns n, a number of bytes, in binary units with at most three
// significant digits: "812 B", "1.5 GiB", "1023 MiB" (the one case of four).
// Zeros that end a fraction are left out.
func Bytes(n int64) string {
	sign, v := "", float64(n)
	if n < 0 {
		sign, v = "-", -v
	}
	if v < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	unit := -1
	// 1023.5 of one unit would round to 1024 of it: that is 1 of the next.
	for v >= 1023.5 && unit < len(prefixes)-1 || unit < 0 {
		v /= 1024
		unit++
	}
	decimals := 0
	switch {
	case v < 9.995:
		decimals = 2
	case v < 99.95:
		decimals = 1
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if decimals > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return sign + s + " " + prefixes[unit:unit+1] + "iB"
}

// ParseBytes reads a number of bytes: digits, with a fraction if a unit
// follows, and the unit, with or without a space before it and in any case:
// "20 GiB", "20gib", "1.5 MB", "812 B", "500". Parts of a byte are dropped.
// The error quotes s.
func ParseBytes(s string) (int64, error) {
	text := strings.TrimSpace(s)
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	number, unit := text[:end], strings.TrimSpace(text[end:])
	scale, err := unitSize(unit)
	if err != nil {
		return 0, fmt.Errorf("units: size %q: %w", s, err)
	}
	whole, fraction, dotted := strings.Cut(number, ".")
	if whole == "" || dotted && fraction == "" || strings.Contains(fraction, ".") {
		return 0, fmt.Errorf("units: size %q: no number such as 20 or 1.5 before the unit", s)
	}
	if dotted && scale == 1 {
		return 0, fmt.Errorf("units: size %q: a fraction of a byte", s)
	}
	// More digits than this never fit, and big numbers cost time to parse.
	if len(number) > 64 {
		return 0, fmt.Errorf("units: size %q: too many digits", s[:64]+"…")
	}
	r, _ := new(big.Rat).SetString(number)
	r.Mul(r, new(big.Rat).SetInt64(scale))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() {
		return 0, fmt.Errorf("units: size %q: larger than %d bytes", s, int64(math.MaxInt64))
	}
	return n.Int64(), nil
}

// unitSize returns the number of bytes in one unit.
func unitSize(unit string) (int64, error) {
	u := strings.ToUpper(unit)
	if u == "" || u == "B" {
		return 1, nil
	}
	power := strings.Index(prefixes, u[:1]) + 1
	step := int64(0)
	switch {
	case power > 0 && u[1:] == "IB":
		step = 1024
	case power > 0 && u[1:] == "B":
		step = 1000
	case power > 0 && u[1:] == "":
		return 0, fmt.Errorf("unit %q is ambiguous: write %[2]siB (steps of 1024) or %[2]sB (steps of 1000)", unit, u)
	default:
		return 0, fmt.Errorf("unknown unit %q: use B, KiB, MiB, GiB, TiB, PiB, EiB or kB, MB, GB, TB, PB, EB", unit)
	}
	size := int64(1)
	for range power {
		size *= step
	}
	return size, nil
}
