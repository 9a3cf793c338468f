package filter

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/obskeep/obskeep/ingest/sample"
)

// HDZ makes X = H cos D and Y = H sin D, where H and D are what was measured and its
// baseline. X takes the place of H, with its decimals, and Y that of D. H is in nT, D in
// minutes of arc or in degrees. The other elements pass, Z with a baseline.
type HDZ struct {
	DECBAS int     // baseline of D, tenths of a minute of arc, east
	H0, Z0 float64 // baselines of H and Z, nT; rounded to their decimals
}

func (HDZ) String() string { return "HDZ to XYZ" }

func (r HDZ) on(in sample.Series) (stage, error) {
	h, err := find(in, "H", "nT")
	d, err2 := find(in, "D", "arcmin", "deg")
	if err := cmp.Or(err, err2); err != nil {
		return stage{}, err
	}
	out, z, err := toXYZ(in, h, d, r.Z0)
	if err != nil {
		return stage{}, err
	}
	h0, err := counts(r.H0, in.Elements[h])
	if err != nil {
		return stage{}, err
	}
	if r.DECBAS < -maxDECBAS || r.DECBAS > maxDECBAS {
		return stage{}, fmt.Errorf("DECBAS %d is more than a turn, which has %d tenths of a minute", r.DECBAS, maxDECBAS)
	}
	// Angles are counted in tenths of a minute of arc, with the decimals of D.
	decimals := power10(in.Elements[d].Decimals)
	base, each := int64(r.DECBAS)*decimals, int64(10)
	if in.Elements[d].Unit == "deg" {
		each *= 60
	}
	return stage{series: out, apply: func(rows []sample.Row, _ func(string, int)) []sample.Row {
		for i := range rows {
			v := &rows[i].Values
			z.add(v)
			if !v[h].Measured() || !v[d].Measured() {
				v[h] = absent(v[h], v[d])
				v[d] = v[h]
				continue
			}
			sin, cos := sincos(each*int64(v[d])+base, maxDECBAS*decimals)
			length := float64(int64(v[h]) + h0)
			v[h], v[d] = value(length*cos), value(length*sin)
		}
		return rows
	}}, nil
}

const maxDECBAS = 360 * 60 * 10 // tenths of a minute in a turn

// HEZ makes X = H cos D0 - E sin D0 and Y = H sin D0 + E cos D0, where H and E are what a
// variometer measures along its axes, and their baselines. X takes the place of H and Y
// that of E. Both are in nT with the same decimals. The other elements pass, Z with a baseline.
type HEZ struct {
	D0         float64 // declination of the axis of H, minutes of arc, east; used to a millionth
	H0, E0, Z0 float64 // baselines, nT; rounded to the decimals of H, E and Z
}

func (HEZ) String() string { return "HEZ to XYZ" }

func (r HEZ) on(in sample.Series) (stage, error) {
	h, err := find(in, "H", "nT")
	e, err2 := find(in, "E", "nT")
	if err := cmp.Or(err, err2); err != nil {
		return stage{}, err
	}
	if a, b := in.Elements[h].Decimals, in.Elements[e].Decimals; a != b {
		return stage{}, fmt.Errorf("there are %d decimals of H, and %d of E", a, b)
	}
	out, z, err := toXYZ(in, h, e, r.Z0)
	if err != nil {
		return stage{}, err
	}
	h0, err := counts(r.H0, in.Elements[h])
	e0, err2 := counts(r.E0, in.Elements[e])
	if err := cmp.Or(err, err2); err != nil {
		return stage{}, err
	}
	if !(math.Abs(r.D0) <= maxDECBAS/10) {
		return stage{}, fmt.Errorf("D0 %v is more than a turn, which has %d minutes", r.D0, maxDECBAS/10)
	}
	const millionths = 1_000_000
	sin, cos := sincos(int64(math.Round(r.D0*millionths)), maxDECBAS/10*millionths)
	return stage{series: out, apply: func(rows []sample.Row, _ func(string, int)) []sample.Row {
		for i := range rows {
			v := &rows[i].Values
			z.add(v)
			if !v[h].Measured() || !v[e].Measured() {
				v[h] = absent(v[h], v[e])
				v[e] = v[h]
				continue
			}
			north, east := float64(int64(v[h])+h0), float64(int64(v[e])+e0)
			v[h] = value(float64(north*cos) - float64(east*sin))
			v[e] = value(float64(north*sin) + float64(east*cos))
		}
		return rows
	}}, nil
}

// baseline is added to an element.
type baseline struct {
	element int
	counts  int64 // zero: nothing is done
}

func (b baseline) add(v *[sample.MaxElements]sample.Value) {
	if b.counts != 0 && v[b.element].Measured() {
		v[b.element] = value(float64(int64(v[b.element]) + b.counts))
	}
}

// toXYZ is a series in which X and Y are in the places of two elements, and the baseline
// of its Z, which need not be there if it has none.
func toXYZ(in sample.Series, x, y int, z0 float64) (sample.Series, baseline, error) {
	out := in
	out.Elements = slices.Clone(in.Elements)
	out.Elements[x].Name = "X"
	out.Elements[y] = out.Elements[x]
	out.Elements[y].Name = "Y"
	if z0 == 0 {
		return out, baseline{}, nil
	}
	z, err := find(in, "Z", "nT")
	if err != nil {
		return out, baseline{}, err
	}
	n, err := counts(z0, in.Elements[z])
	return out, baseline{z, n}, err
}

// absent is what is made of two values of which one is no number.
func absent(a, b sample.Value) sample.Value {
	if a == sample.Missing || b == sample.Missing {
		return sample.Missing
	}
	return sample.NotObserved
}

// value rounds half away from zero.
func value(x float64) sample.Value {
	x = math.Round(x)
	if x <= float64(sample.NotObserved) || x > math.MaxInt32 {
		return sample.Missing
	}
	return sample.Value(x)
}

// sincos returns the sine and the cosine of an angle, of which a turn, a multiple of
// four, has so many. Those of package math are not the same on every machine.
func sincos(angle, turn int64) (sin, cos float64) {
	quarter := turn / 4
	angle = (angle%turn + turn) % turn
	n := (angle + quarter/2) / quarter // the nearest quarter
	x := float64(angle-n*quarter) * (2 * math.Pi / float64(turn))
	sin, cos = float64(x*series(x*x, &sines)), series(x*x, &cosines)
	switch n % 4 {
	case 1:
		return cos, -sin
	case 2:
		return -sin, -cos
	case 3:
		return -cos, sin
	}
	return sin, cos
}

// The Taylor series of sin(x)/x and cos(x), the last term first, as the quotients of
// neighbouring terms. Up to an eighth of a turn they are as good as a float64.
var (
	sines   = [8]float64{1. / (16 * 17), 1. / (14 * 15), 1. / (12 * 13), 1. / (10 * 11), 1. / (8 * 9), 1. / (6 * 7), 1. / (4 * 5), 1. / (2 * 3)}
	cosines = [8]float64{1. / (15 * 16), 1. / (13 * 14), 1. / (11 * 12), 1. / (9 * 10), 1. / (7 * 8), 1. / (5 * 6), 1. / (3 * 4), 1. / (1 * 2)}
)

func series(square float64, quotients *[8]float64) float64 {
	sum := 1.0
	for _, q := range quotients {
		// A product that is converted is not fused with the subtraction.
		sum = 1 - float64(float64(square*q)*sum)
	}
	return sum
}
