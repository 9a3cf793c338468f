package ingest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
)

// No more is offered on a day than the budget has, and live batches leave a fifth of it,
// whatever is asked for and when; a clock that is set back gives nothing anew.
func TestBudget_HoldsForADay(t *testing.T) {
	t.Parallel()
	const perDay = 100
	start := julian.Date{Year: 2026, Day: 268}.In(time.UTC)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		var b budget
		live, all := 0, 0
		share := r.IntN(11)
		for minute := range 1439 {
			now := start.Add(time.Duration(minute) * time.Minute)
			if r.IntN(50) == 0 {
				now = now.Add(-24 * time.Hour)
			}
			k := Backfill
			if r.IntN(10) < share {
				k = Live
			}
			if !b.allows(perDay, k, now) {
				continue
			}
			b.count(k, now)
			all++
			if k == Live {
				live++
			}
		}
		require.LessOrEqual(t, all, perDay+1, "the first may have come before the day") // before the clock was right
		require.LessOrEqual(t, live, perDay*4/5+1)
		require.Equal(t, perDay*4/5 > 0, b.allows(perDay, Live, start.Add(24*time.Hour)), "a new day")
	}
}

// Live batches of a steady stream are never kept waiting, and a backlog may use all that
// they leave.
func TestBudget_IsEnough(t *testing.T) {
	t.Parallel()
	start := julian.Date{Year: 2026, Day: 268}.In(time.UTC)
	var b budget
	for minute := range 1440 {
		now := start.Add(time.Duration(minute) * time.Minute)
		if minute%5 == 0 {
			for range 4 { // streams
				require.True(t, b.allows(1440, Live, now), minute)
				b.count(Live, now)
			}
		}
		for b.allows(1440, Backfill, now) {
			b.count(Backfill, now)
		}
	}
	require.GreaterOrEqual(t, b.All, 1410)
	require.LessOrEqual(t, b.All, 1440)
}

// Live batches cannot spend in the morning what the evening needs.
func TestBudget_SpreadsLiveBatchesOverTheDay(t *testing.T) {
	t.Parallel()
	start := julian.Date{Year: 2026, Day: 268}.In(time.UTC)
	var b budget
	for hour := range 24 {
		now := start.Add(time.Duration(hour) * time.Hour)
		for b.allows(1440, Live, now) {
			b.count(Live, now)
		}
		require.LessOrEqual(t, b.Live, hour*48+30)
	}
	require.LessOrEqual(t, b.Live, 1152)
}
