package sum

import "encoding/binary"

// Weak returns the weak sum of block: Σ xᵢ modulo 2¹⁶ in its low half and
// Σ (n−i)·xᵢ in its high half, over bytes taken as signed numbers. The sum of
// no bytes is 0.
//
// It is the sum of chapter 3 of Tridgell, "Efficient Algorithms for Sorting and
// Synchronization" (1999), with M = 2¹⁶.
func Weak(block []byte) uint32 {
	const (
		step = 8 * 8
		// bias makes a signed byte unsigned, 128 too high.
		bias = 0x8080808080808080
		// lanes are the even bytes of a word, each with room for 16 bits.
		lanes = 0x00ff00ff00ff00ff
	)
	le := binary.LittleEndian
	var s1, s2 uint32
	whole := uint64(len(block) / step * step)
	for ; len(block) >= step; block = block[step:] {
		c := (*[step]byte)(block)
		w0, w1, w2, w3 := le.Uint64(c[0:8])^bias, le.Uint64(c[8:16])^bias, le.Uint64(c[16:24])^bias, le.Uint64(c[24:32])^bias
		w4, w5, w6, w7 := le.Uint64(c[32:40])^bias, le.Uint64(c[40:48])^bias, le.Uint64(c[48:56])^bias, le.Uint64(c[56:64])^bias
		// a0 and a1 sum the bytes at even and odd places of the words, b0 and
		// b1 those sums. No lane runs over: b0+b1 reaches 2·255·36 = 18360.
		a0, a1 := w0&lanes, w0>>8&lanes
		b0, b1 := a0, a1
		a0, a1 = a0+w1&lanes, a1+w1>>8&lanes
		b0, b1 = b0+a0, b1+a1
		a0, a1 = a0+w2&lanes, a1+w2>>8&lanes
		b0, b1 = b0+a0, b1+a1
		a0, a1 = a0+w3&lanes, a1+w3>>8&lanes
		b0, b1 = b0+a0, b1+a1
		a0, a1 = a0+w4&lanes, a1+w4>>8&lanes
		b0, b1 = b0+a0, b1+a1
		a0, a1 = a0+w5&lanes, a1+w5>>8&lanes
		b0, b1 = b0+a0, b1+a1
		a0, a1 = a0+w6&lanes, a1+w6>>8&lanes
		b0, b1 = b0+a0, b1+a1
		a0, a1 = a0+w7&lanes, a1+w7>>8&lanes
		b0, b1 = b0+a0, b1+a1
		// The byte at place j of word k counts 64−8k−j = 8·(8−k) − j times;
		// b0 and b1 hold word k 8−k times. A product gathers lanes in its top.
		a, b := a0+a1, b0+b1
		b = b&0x0000ffff0000ffff + b>>16&0x0000ffff0000ffff
		s2 += step*s1 + 8*(uint32(b)+uint32(b>>32))
		s2 -= 2*uint32(a*0x0000000100020003>>48) + uint32(a1*0x0001000100010001>>48)
		s1 += uint32(a * 0x0001000100010001 >> 48)
	}
	s1 -= uint32(128 * whole)
	s2 -= uint32(128 * (whole * (whole + 1) / 2))
	for _, x := range block {
		s1 += uint32(int8(x))
		s2 += s1
	}
	return s1&0xffff | s2<<16
}

// Roller is the weak sum of a window that moves over data a byte at a time. It
// is a small value; the zero Roller is that of an empty window, which stays empty.
type Roller struct{ s1, s2, n uint32 }

// NewRoller returns the Roller of window, which it does not keep.
func NewRoller(window []byte) Roller {
	w := Weak(window)
	return Roller{w & 0xffff, w >> 16, uint32(len(window))}
}

// Roll returns the Roller of the window one byte on: old leaves it and new
// joins it.
func (r Roller) Roll(old, new byte) Roller {
	// By value: through a pointer r would live in memory in the loop that
	// searches, and take twice the time.
	s1 := r.s1 + uint32(int8(new)) - uint32(int8(old))
	return Roller{s1, r.s2 + s1 - r.n*uint32(int8(old)), r.n}
}

// Sum returns the Weak of the window.
func (r Roller) Sum() uint32 { return r.s1&0xffff | r.s2<<16 }
