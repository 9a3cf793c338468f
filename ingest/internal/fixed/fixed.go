// Package fixed reads lines of text in columns: the fields between blanks, and
// integers of a fixed width, eight characters at once.
//
// # Guarantees
//
//   - Int reads exactly what fmt writes with %8d, and -0 with its sign.
//   - Fields finds what bytes.FieldsFunc finds between blanks and tabs, with its columns.
package fixed

import "math/bits"

const (
	each = 0x01_01_01_01_01_01_01_01
	top  = 0x80 * each
)

// Int reads eight characters, the first in the lowest byte: blanks, a minus or
// none, and digits without leading zeros. It reports whether they are that.
func Int(word uint64) (n uint32, negative, ok bool) {
	digits := word ^ '0'*each
	// The top bit of each byte that is more than 9 when added to 128-10.
	others := (digits + (128-10)*each | digits) & top
	before := bits.TrailingZeros64(^others&top) &^ 7 // bits before the first digit
	if before == 64 || others>>before != 0 || digits>>before&0xff == 0 && before < 56 {
		return 0, false, false
	}
	// What stands before the digits is zero if it is blanks alone.
	sign := (word ^ ' '*each) << (64 - before)
	negative = sign == (' '^'-')<<56
	digits = digits >> before << before
	digits = digits * (10<<8 + 1) >> 8 & 0x00ff_00ff_00ff_00ff
	digits = digits * (100<<16 + 1) >> 16 & 0x0000_ffff_0000_ffff
	digits = digits * (10000<<32 + 1) >> 32
	return uint32(digits), negative, sign == 0 || negative
}
