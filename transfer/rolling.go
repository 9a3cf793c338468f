package transfer

// The weak checksum is the polynomial of Karp and Rabin ("Efficient
// randomized pattern-matching algorithms", IBM J. Res. Dev. 31(2), 1987): for
// the bytes x₀ … xₙ₋₁
//
//	weak = x₀·mⁿ⁻¹ + x₁·mⁿ⁻² + … + xₙ₋₁   (mod 2⁶⁴)
//
// It takes the place of the sum in chapter 3 of Tridgell's thesis ("Efficient
// Algorithms for Sorting and Synchronization", 1999), for two reasons. A 32-bit
// sum meets a block of the basis by chance once in 2³²/blocks offsets, and each
// time a whole block is hashed for nothing: size/2³² bytes for each byte of
// the source, 32 of them for a basis of 128 GiB. And the thesis's sum depends
// on positions only linearly, so that sparse data and tables meet far more
// often than by chance.
const (
	// weakBase is odd, so that no byte is ever shifted out of the sum, and 5
	// modulo 8, so that its powers repeat as late as they can, after 2⁶² bytes.
	weakBase = 0x9e3779b97f4a7c15

	weakBase2 = weakBase * weakBase & (1<<64 - 1)
	weakBase3 = weakBase2 * weakBase & (1<<64 - 1)
	weakBase4 = weakBase3 * weakBase & (1<<64 - 1)
	weakBase5 = weakBase4 * weakBase & (1<<64 - 1)
	weakBase6 = weakBase5 * weakBase & (1<<64 - 1)
	weakBase7 = weakBase6 * weakBase & (1<<64 - 1)
	weakBase8 = weakBase7 * weakBase & (1<<64 - 1)
)

// weakSum returns the weak checksum of p.
func weakSum(p []byte) uint64 {
	var sum uint64
	// Eight bytes a step: the products do not wait for one another.
	for ; len(p) >= 8; p = p[8:] {
		sum = sum*weakBase8 +
			uint64(p[0])*weakBase7 + uint64(p[1])*weakBase6 +
			uint64(p[2])*weakBase5 + uint64(p[3])*weakBase4 +
			uint64(p[4])*weakBase3 + uint64(p[5])*weakBase2 +
			uint64(p[6])*weakBase + uint64(p[7])
	}
	for _, x := range p {
		sum = sum*weakBase + uint64(x)
	}
	return sum
}

// roll moves the window of a weak checksum one byte on: out leaves it and in
// joins it. The factor of out is weakPower(length of the window).
func roll(sum, power uint64, out, in byte) uint64 {
	return sum*weakBase + (uint64(in) - uint64(out)*power)
}

// weakPower returns weakBase to the power of n.
func weakPower(n int) uint64 {
	power := uint64(1)
	for range n {
		power *= weakBase
	}
	return power
}
