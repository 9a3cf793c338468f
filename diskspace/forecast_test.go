package diskspace_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/stretchr/testify/require"
)

const aDay = 24 * time.Hour

// growing is a volume that fills by a day's bytes each day, from used on.
func growing(days int, used, perDay uint64) []diskspace.Sample {
	var samples []diskspace.Sample
	for n := range days {
		samples = append(samples, diskspace.Sample{At: day(1).Add(time.Duration(n) * aDay), Used: used + uint64(n)*perDay})
	}
	return samples
}

func TestTimeToFull(t *testing.T) {
	t.Parallel()
	at := func(days float64, used uint64) diskspace.Sample {
		return diskspace.Sample{At: day(1).Add(time.Duration(days * float64(aDay))), Used: used}
	}
	for _, tc := range []struct {
		rule    string
		history []diskspace.Sample
		total   uint64
		want    time.Duration
		ok      bool
	}{
		{"steady growth", growing(10, 10*gib, gib), 29 * gib, 10 * aDay, true},
		{"two samples are enough", growing(2, 0, gib), 5 * gib, 4 * aDay, true},
		{"one sample is not", growing(1, gib, 0), 5 * gib, 0, false},
		{"nor is none", nil, 5 * gib, 0, false},
		{"nor are two of one moment", []diskspace.Sample{at(0, 1), at(0, 2)}, 5, 0, false},
		{"no growth", growing(10, gib, 0), 5 * gib, 0, false},
		{"shrinking", []diskspace.Sample{at(0, 2*gib), at(1, gib)}, 5 * gib, 0, false},
		{"full now", growing(10, 10*gib, gib), 19 * gib, 0, true},
		{"over full", growing(10, 10*gib, gib), gib, 0, true},
		{"in any order", []diskspace.Sample{at(2, 3*gib), at(0, gib), at(1, 2*gib)}, 4 * gib, aDay, true},
		{"uneven intervals", []diskspace.Sample{at(0, 0), at(1, gib), at(8, 8*gib), at(8.5, 8*gib+gib/2)}, 9*gib + gib/2, aDay, true},
		{"two of one moment among others", []diskspace.Sample{at(0, gib), at(0, gib), at(1, 2*gib)}, 3 * gib, aDay, true},
		{"longer than a Duration can say", []diskspace.Sample{at(0, 0), at(1000, 1)}, math.MaxUint64, math.MaxInt64, true},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			got, ok := diskspace.TimeToFull(tc.history, tc.total)
			require.Equal(t, tc.ok, ok)
			require.InDelta(t, float64(tc.want), float64(got), float64(time.Second))
		})
	}
}

// One sample in four is far off: a bulk copy, a clean-up, a volume that was not
// mounted. The forecast is as if they were not.
func TestTimeToFull_IsNotMovedByAQuarterOfTheSamples(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		history := growing(41, 100*gib, gib)
		for _, i := range rng.Perm(40)[:10] { // not the last
			history[i].Used = rng.Uint64N(1000 * gib)
		}
		got, ok := diskspace.TimeToFull(history, 240*gib)
		require.True(t, ok, "seed %d", seed)
		require.InDelta(t, 100, got.Hours()/24, 40, "seed %d", seed)
	}
}

// Of years of samples the latest thousand count: here 900 that grow and 100 that
// do not, after 2000 on a larger disk.
func TestTimeToFull_LooksAtTheLatestThousandSamples(t *testing.T) {
	t.Parallel()
	history := growing(3000, 0, gib)
	for i := range history {
		switch {
		case i < 2000:
			history[i].Used = 1 << 50
		case i >= 2900:
			history[i].Used = 2900 * gib
		}
	}
	got, ok := diskspace.TimeToFull(history, 2910*gib)
	require.True(t, ok)
	require.InDelta(t, 10, got.Hours()/24, 0.001)
}
