package ingest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

var day = julian.Date{Year: 2026, Day: 268}

func at(hour, minute int) time.Time {
	return day.In(time.UTC).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
}

// A growing file is delivered piece by piece, and each row once.
func TestSweep_SendsOnlyWhatIsNew(t *testing.T) {
	w := newWorld(at(1, 0), 1, ingest.Cut{Least: 2})
	require.NoError(t, w.open())
	value := func(slot int) sample.Value { return sample.Value(slot * 7) }
	total := 0
	for minute := 60; minute < 120; minute += 5 {
		w.now = at(0, minute)
		w.write(w.streams[0], day, text(rowsOf(day, 0, minute, value), 2))
		require.NoError(t, w.feed.Sweep(t.Context()))
		total++
		require.Len(t, w.to.files, total)
		require.Len(t, w.to.values["s0"], minute)
	}
	require.Zero(t, w.to.equal)
}
