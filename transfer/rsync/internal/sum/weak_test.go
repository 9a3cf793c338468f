package sum_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/stretchr/testify/require"
)

// defined is the weak sum by its definition.
func defined(block []byte) uint32 {
	var s1, s2 int64
	for i, x := range block {
		s1 += int64(int8(x))
		s2 += int64(len(block)-i) * int64(int8(x))
	}
	return uint32(s1)&0xffff | uint32(s2)<<16
}

func TestWeak_TakesBytesAsSigned(t *testing.T) {
	t.Parallel()
	require.Equal(t, uint32(0), sum.Weak(nil))
	require.Equal(t, uint32(0x0001_0001), sum.Weak([]byte{1}))
	require.Equal(t, uint32(0xffff_ffff), sum.Weak([]byte{0xff}))
	require.Equal(t, uint32(0xff80_ff80), sum.Weak([]byte{0x80}))
	require.Equal(t, uint32(2*1+2)<<16|3, sum.Weak([]byte{1, 2}))
}

// The unrolled loop sums as the definition says, at any length, also where
// every byte is at an end of its range and the lanes are as full as they get.
func TestWeak_IsAsDefined(t *testing.T) {
	t.Parallel()
	r := rand.NewChaCha8([32]byte{1})
	random := make([]byte, 1<<17)
	r.Read(random)
	for _, fill := range [][]byte{random, bytes.Repeat([]byte{0x7f}, 1<<17), bytes.Repeat([]byte{0x80}, 1<<17), bytes.Repeat([]byte{0xff}, 1<<17), make([]byte, 1<<17)} {
		for n := range 1000 {
			require.Equal(t, defined(fill[:n]), sum.Weak(fill[:n]), "%d bytes", n)
		}
		require.Equal(t, defined(fill), sum.Weak(fill))
	}
}

func TestRoller_HasTheWeakOfItsWindow(t *testing.T) {
	t.Parallel()
	data := make([]byte, 5000)
	rand.NewChaCha8([32]byte{2}).Read(data)
	for _, n := range []int{0, 1, 2, 119, 120, 700, 4096} {
		roller := sum.NewRoller(data[:n])
		for i := 0; ; i++ {
			require.Equal(t, sum.Weak(data[i:i+n]), roller.Sum(), "window of %d at %d", n, i)
			if i+n == len(data) {
				break
			}
			if n > 0 {
				roller = roller.Roll(data[i], data[i+n])
			}
		}
	}
}

func FuzzWeak_IsAsDefined(f *testing.F) {
	f.Add([]byte{}, byte(0))
	f.Add(bytes.Repeat([]byte{0x80, 0x7f}, 200), byte(0xff))
	f.Fuzz(func(t *testing.T, block []byte, next byte) {
		require.Equal(t, defined(block), sum.Weak(block))
		if len(block) > 0 {
			roller := sum.NewRoller(block)
			roller = roller.Roll(block[0], next)
			require.Equal(t, defined(append(block[1:len(block):len(block)], next)), roller.Sum())
		}
	})
}

func ExampleRoller() {
	data := []byte("weather")
	window := sum.NewRoller(data[:4])
	window = window.Roll(data[0], data[4])
	fmt.Println(window.Sum() == sum.Weak(data[1:5]))
	// Output: true
}
