package julian_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
)

func dates(tb testing.TB, texts ...string) []julian.Date {
	tb.Helper()
	var ds []julian.Date
	for _, s := range texts {
		ds = append(ds, date(tb, s))
	}
	return ds
}

// Days crosses the end of a year without a gap, whether it has 365 days or 366.
func TestDays_CrossesTheYearEnd(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, first, last string
		want              []string
	}{
		{"a common year has no day 366", "2025-364", "2026-001", []string{"2025-364", "2025-365", "2026-001"}},
		{"a leap year has a day 366", "2024-365", "2025-001", []string{"2024-365", "2024-366", "2025-001"}},
		{"both ends are included", "2026-268", "2026-268", []string{"2026-268"}},
		{"no days if the last is before the first", "2026-268", "2026-267", nil},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got := slices.Collect(julian.Days(date(t, row.first), date(t, row.last)))
			if d := cmp.Diff(dates(t, row.want...), got); d != "" {
				t.Errorf("Days (-want +got):\n%s", d)
			}
		})
	}
}

func TestDays_StopsWhenTheLoopDoes(t *testing.T) {
	t.Parallel()
	n := 0
	for range julian.Days(date(t, "2026-001"), date(t, "2026-365")) {
		if n++; n == 3 {
			break
		}
	}
	require.Equal(t, 3, n)
}

// Window crosses the end of a year without a gap.
func TestWindow_CrossesTheYearEnd(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, today string
		n           int
		want        []string
	}{
		{"today and the two days before, oldest first", "2026-268", 2, []string{"2026-266", "2026-267", "2026-268"}},
		{"over the end of a leap year", "2025-001", 2, []string{"2024-365", "2024-366", "2025-001"}},
		{"over the end of a common year", "2026-002", 2, []string{"2025-365", "2026-001", "2026-002"}},
		{"today alone", "2026-268", 0, []string{"2026-268"}},
		{"nothing for a negative number", "2026-268", -1, nil},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got := julian.Window(date(t, row.today), row.n)
			if d := cmp.Diff(dates(t, row.want...), got); d != "" {
				t.Errorf("Window (-want +got):\n%s", d)
			}
		})
	}
}

// Missing returns exactly the days of the range that are not kept.
func TestMissing_ReturnsExactlyTheGaps(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule        string
		kept        []string
		first, last string
		want        []string
	}{
		{"a hole", []string{"2026-266", "2026-268"}, "2026-266", "2026-268", []string{"2026-267"}},
		{"holes over the end of a year", []string{"2024-365", "2025-002"}, "2024-364", "2025-003", []string{"2024-364", "2024-366", "2025-001", "2025-003"}},
		{"in any order, with duplicates", []string{"2026-268", "2026-266", "2026-268"}, "2026-266", "2026-268", []string{"2026-267"}},
		{"kept days outside the range do not count", []string{"2026-001", "2026-300"}, "2026-267", "2026-268", []string{"2026-267", "2026-268"}},
		{"all if none is kept", nil, "2026-267", "2026-268", []string{"2026-267", "2026-268"}},
		{"none if all are kept", []string{"2026-267", "2026-268"}, "2026-267", "2026-268", nil},
		{"none of an empty range", nil, "2026-268", "2026-267", nil},
	} {
		t.Run(row.rule, func(t *testing.T) {
			kept := dates(t, row.kept...)
			got := julian.Missing(kept, date(t, row.first), date(t, row.last))
			if d := cmp.Diff(dates(t, row.want...), got); d != "" {
				t.Errorf("Missing (-want +got):\n%s", d)
			}
			if d := cmp.Diff(dates(t, row.kept...), kept); d != "" {
				t.Errorf("kept was changed (-was +is):\n%s", d)
			}
		})
	}
}
