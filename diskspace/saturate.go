package diskspace

import (
	"math"
	"math/bits"
)

// add returns a+b, or the largest number if that is larger still.
func add(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

// multiply returns a·b, or the largest number if that is larger still.
func multiply(a, b uint64) uint64 {
	over, product := bits.Mul64(a, b)
	if over != 0 {
		return math.MaxUint64
	}
	return product
}
