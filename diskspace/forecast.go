package diskspace

import (
	"math"
	"slices"
	"time"
)

// Sample is how much of a volume was in use at some moment.
type Sample struct {
	At   time.Time
	Used uint64 // bytes
}

// maxSamples bounds the pairs that TimeToFull looks at to half a million.
const maxSamples = 1000

// TimeToFull returns how long after the latest sample total bytes will be in
// use if growth goes on: 0 if they are already, at most the longest Duration.
// It is false if the use does not grow, or if there are fewer than two
// moments to tell from.
//
// Growth is the median of the slopes of all pairs of samples (Theil 1950, Sen
// 1968), so that a day of bulk copies or a clean-up, up to 29 % of the samples,
// does not move it. Samples may come in any order; of more than 1000 the latest
// 1000 count. Total is Usage.Total, less what must stay free.
func TimeToFull(history []Sample, total uint64) (time.Duration, bool) {
	samples := slices.SortedStableFunc(slices.Values(history), func(a, b Sample) int { return a.At.Compare(b.At) })
	samples = samples[max(0, len(samples)-maxSamples):]
	var slopes []float64 // bytes a second
	for i, a := range samples {
		for _, b := range samples[i+1:] {
			if seconds := b.At.Sub(a.At).Seconds(); seconds > 0 {
				slopes = append(slopes, (float64(b.Used)-float64(a.Used))/seconds)
			}
		}
	}
	if len(slopes) == 0 {
		return 0, false
	}
	growth := median(slopes)
	if growth <= 0 {
		return 0, false
	}
	used := samples[len(samples)-1].Used
	if used >= total {
		return 0, true
	}
	wait := float64(total-used) / growth * float64(time.Second)
	if wait >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(wait), true
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
