package transfer_test

import (
	"math/big"
	"testing"

	"github.com/obskeep/obskeep/transfer"
	"github.com/stretchr/testify/require"
)

// The weak checksum is the polynomial that its documentation gives.
func TestWeakSum_IsThePolynomialOfItsFormula(t *testing.T) {
	t.Parallel()
	base := new(big.Int).SetUint64(0x9e3779b97f4a7c15)
	word := new(big.Int).Lsh(big.NewInt(1), 64)
	for _, n := range []int{0, 1, 7, 8, 9, 64, 1000} {
		p := randomBytes(uint64(n), n)
		want := new(big.Int)
		for _, x := range p {
			want.Mul(want, base).Add(want, big.NewInt(int64(x))).Mod(want, word)
		}
		require.Equal(t, want.Uint64(), transfer.WeakSum(p), "%d bytes", n)
	}
}

// A checksum rolled along the data is at each offset that of the window.
func FuzzRoll_AgreesWithTheSumOfTheWindow(f *testing.F) {
	f.Add([]byte("the quick brown fox"), uint8(4))
	f.Add(make([]byte, 100), uint8(63))
	f.Add(randomBytes(1, 300), uint8(0))
	f.Fuzz(func(t *testing.T, p []byte, window uint8) {
		n := int(window) + 1
		if len(p) < n {
			return
		}
		power := transfer.WeakPower(n)
		sum := transfer.WeakSum(p[:n])
		for i := n; i < len(p); i++ {
			sum = transfer.Roll(sum, power, p[i-n], p[i])
			if want := transfer.WeakSum(p[i-n+1 : i+1]); sum != want {
				t.Fatalf("at %d: %#x rolled, %#x computed", i-n+1, sum, want)
			}
		}
	})
}
