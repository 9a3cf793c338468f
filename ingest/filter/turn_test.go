package filter_test

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/ingest/filter"
	"github.com/obskeep/obskeep/ingest/sample"
)

func nan() float64 { return math.NaN() }

// series returns hdzf with other elements in the places of H and D.
func series(h, d sample.Element) sample.Series {
	s := hdzf
	s.Elements = slices.Clone(hdzf.Elements)
	s.Elements[0], s.Elements[1] = h, d
	return s
}

// exact is H cos D and H sin D to a hundred digits, by the exponential series of a complex number.
func exact(length *big.Float, minutes *big.Rat) (x, y *big.Float) {
	float := func() *big.Float { return new(big.Float).SetPrec(400) }
	pi, _ := float().SetString("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
	angle := float().SetRat(minutes)
	angle.Quo(angle.Mul(angle, pi), float().SetInt64(180*60))
	cos, sin := float().SetInt64(0), float().SetInt64(0)
	term := float().SetInt64(1)
	for n := range int64(200) {
		to := cos
		if n%2 == 1 {
			to = sin
		}
		if n%4 < 2 {
			to.Add(to, term)
		} else {
			to.Sub(to, term)
		}
		term.Quo(term.Mul(term, angle), float().SetInt64(n+1))
	}
	return cos.Mul(cos, length), sin.Mul(sin, length)
}

// near reports whether v is x rounded, where x is not so near to a half that a float64
// cannot tell.
func near(v sample.Value, x *big.Float) bool {
	d, _ := new(big.Float).Sub(x, new(big.Float).SetInt64(int64(v))).Float64()
	return math.Abs(d) <= 0.5+1e-6
}

// X and Y of H and D are those of an exact computation.
func TestHDZ_IsExact(t *testing.T) {
	t.Parallel()
	for unit, each := range map[string]int64{"arcmin": 1, "deg": 60} {
		in := series(hdzf.Elements[0], sample.Element{Name: "D", Unit: unit, Decimals: 2})
		rapid.Check(t, func(t *rapid.T) {
			r := filter.HDZ{DECBAS: rapid.IntRange(-216_000, 216_000).Draw(t, "DECBAS"), H0: float64(rapid.IntRange(-70_000, 70_000).Draw(t, "H0")) + 0.25}
			h, d := sample.Value(rapid.Int32Range(-1e7, 1e7).Draw(t, "H")), sample.Value(rapid.Int32Range(-1e5, 1e5).Draw(t, "D"))
			f, err := filter.New(in, r)
			require.NoError(t, err)
			got := f.Apply([]sample.Row{at(0, h, d, 7, 8)}, drop)[0]
			minutes := new(big.Rat).Add(big.NewRat(int64(d)*each, 100), big.NewRat(int64(r.DECBAS), 10))
			x, y := exact(new(big.Float).SetInt64(int64(h)+int64(r.H0*100)), minutes)
			require.True(t, near(got.Values[0], x) && near(got.Values[1], y), "%v, want %v %v", got.Values, x, y)
			require.Equal(t, []sample.Value{7, 8}, got.Values[2:4])
		})
	}
}

// X and Y of H and E are those of an exact computation.
func TestHEZ_IsExact(t *testing.T) {
	t.Parallel()
	in := series(hdzf.Elements[0], sample.Element{Name: "E", Unit: "nT", Decimals: 2})
	rapid.Check(t, func(t *rapid.T) {
		millionths := rapid.Int64Range(-21600e6, 21600e6).Draw(t, "D0")
		r := filter.HEZ{D0: float64(millionths) / 1e6, H0: 39_000.5, E0: -3.25}
		h, e := sample.Value(rapid.Int32Range(-1e7, 1e7).Draw(t, "H")), sample.Value(rapid.Int32Range(-1e7, 1e7).Draw(t, "E"))
		f, err := filter.New(in, r)
		require.NoError(t, err)
		got := f.Apply([]sample.Row{at(0, h, e, 7, 8)}, drop)[0]
		minutes := big.NewRat(millionths, 1e6)
		hx, hy := exact(new(big.Float).SetInt64(int64(h)+3_900_050), minutes)
		ex, ey := exact(new(big.Float).SetInt64(int64(e)-325), minutes)
		x, y := hx.Sub(hx, ey), hy.Add(hy, ex)
		require.True(t, near(got.Values[0], x) && near(got.Values[1], y), "%v, want %v %v", got.Values, x, y)
	})
}

// Quarters of a turn are exact.
func TestHDZ_TurnsByQuartersExactly(t *testing.T) {
	t.Parallel()
	for degrees, want := range map[sample.Value][]sample.Value{
		0: {100, 0}, 90: {0, 100}, 180: {-100, 0}, -90: {0, -100}, 270: {0, -100}, -180: {-100, 0}, 3690: {0, 100},
	} {
		got, _ := apply(t, hdzf, []sample.Row{at(0, 100, degrees*60*100, 0, 0)}, filter.HDZ{})
		require.Equal(t, want, got[0].Values[:2], "%d degrees", degrees)
	}
}

// A turn keeps the length of the horizontal component, up to the rounding.
func TestHDZ_KeepsTheLength(t *testing.T) {
	t.Parallel()
	f := make1(t, hdzf, filter.HDZ{DECBAS: 5527, H0: 39_000})
	rapid.Check(t, func(t *rapid.T) {
		h, d := rapid.Int32Range(-1e6, 1e6).Draw(t, "H"), rapid.Int32().Draw(t, "D")
		d = max(d, math.MinInt32+2)
		v := f.Apply([]sample.Row{at(0, sample.Value(h), sample.Value(d))}, drop)[0].Values
		require.InDelta(t, float64(h)+39_000_00, math.Hypot(float64(v[0]), float64(v[1])), 0.7072)
	})
}

// The series has X and Y in the places of what they are made of, with the decimals of H.
func TestHDZ_NamesWhatItMakes(t *testing.T) {
	t.Parallel()
	in := hdzf
	in.Elements = []sample.Element{{Name: "D", Unit: "deg", Decimals: 4}, {Name: "H", Unit: "nT", Decimals: 1}, {Name: "F", Unit: "nT", Decimals: 2}}
	f := make1(t, in, filter.HDZ{})
	want := []sample.Element{{Name: "Y", Unit: "nT", Decimals: 1}, {Name: "X", Unit: "nT", Decimals: 1}, in.Elements[2]}
	require.Empty(t, cmp.Diff(want, f.Series().Elements))
	require.Equal(t, "D", in.Elements[0].Name)
	got := f.Apply([]sample.Row{at(0, 90_0000, 5, 6)}, drop)
	require.Empty(t, cmp.Diff([]sample.Row{at(0, 5, 0, 6)}, got))
}

// What is missing or not observed is never taken for a number.
func TestTurns_KeepWhatIsMissing(t *testing.T) {
	t.Parallel()
	const m, n = sample.Missing, sample.NotObserved
	hez := series(hdzf.Elements[0], sample.Element{Name: "E", Unit: "nT", Decimals: 2})
	for _, c := range []struct{ given, want sample.Row }{
		{at(0, m, 1, 2, 3), at(0, m, m, 102, 3)},
		{at(0, 1, m, 2, 3), at(0, m, m, 102, 3)},
		{at(0, n, 1, 2, 3), at(0, n, n, 102, 3)},
		{at(0, 1, n, 2, 3), at(0, n, n, 102, 3)},
		{at(0, m, n, 2, 3), at(0, m, m, 102, 3)},
		{at(0, n, m, m, m), at(0, m, m, m, m)},
		{at(0, n, n, n, n), at(0, n, n, n, n)},
		{at(0, -1e4, 0, math.MaxInt32, 3), at(0, 0, 0, m, 3)}, // too great
	} {
		got, _ := apply(t, hdzf, []sample.Row{c.given}, filter.HDZ{DECBAS: 1, H0: 100, Z0: 1})
		require.Empty(t, cmp.Diff(c.want, got[0]))
		got, _ = apply(t, hez, []sample.Row{c.given}, filter.HEZ{D0: 1, H0: 100, Z0: 1})
		require.Empty(t, cmp.Diff(c.want, got[0]))
	}
	// The least number becomes what stands for another thing.
	got, _ := apply(t, hdzf, []sample.Row{at(0, 1, 0, math.MinInt32+2, 3)}, filter.HDZ{Z0: -0.01})
	require.Empty(t, cmp.Diff(at(0, 1, 0, m, 3), got[0]))
}
