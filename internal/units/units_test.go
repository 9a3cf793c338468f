package units_test

import (
	"fmt"
	"math"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/internal/units"
)

func TestBytes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		n    int64
		want string
	}{
		{"nothing is no bytes", 0, "0 B"},
		{"below 1 KiB every byte counts", 812, "812 B"},
		{"the last exact number", 1023, "1023 B"},
		{"a whole unit has no fraction", 1024, "1 KiB"},
		{"zeros that end a fraction are left out", 1536 << 20, "1.5 GiB"},
		{"zeros that end a whole number stay", 20 << 30, "20 GiB"},
		{"three significant digits below ten", 1300, "1.27 KiB"},
		{"three significant digits below a hundred", 12_900, "12.6 KiB"},
		{"three significant digits below a thousand", 129_000, "126 KiB"},
		{"rounding up to ten drops a decimal", 10_239, "10 KiB"},
		{"four digits between 1000 and 1024", 1023 << 10, "1023 KiB"},
		{"what rounds to 1024 is the next unit", 1<<20 - 1, "1 MiB"},
		{"the largest", math.MaxInt64, "8 EiB"},
		{"the smallest", math.MinInt64, "-8 EiB"},
		{"a negative number keeps its sign", -1536, "-1.5 KiB"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, units.Bytes(row.n))
		})
	}
}

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		text string
		want int64
	}{
		{"without a unit it is bytes", "500", 500},
		{"B is bytes", "812 B", 812},
		{"KiB counts by 1024", "1 KiB", 1024},
		{"kB counts by 1000", "1 kB", 1000},
		{"the space may be left out", "20GiB", 20 << 30},
		{"space around is ignored", "  20   GiB ", 20 << 30},
		{"case does not matter", "20 gib", 20 << 30},
		{"a decimal fraction", "1.5 MB", 1_500_000},
		{"a fraction is taken exactly", "0.3 GB", 300_000_000},
		{"parts of a byte are dropped", "0.1 KiB", 102},
		{"zero", "0", 0},
		{"the largest whole EiB", "7 EiB", 7 << 60},
		{"the largest", "9223372036854775807", math.MaxInt64},
	} {
		t.Run(row.rule, func(t *testing.T) {
			got, err := units.ParseBytes(row.text)
			require.NoError(t, err)
			require.Equal(t, row.want, got)
		})
	}
}

func TestParseBytes_NamesTheTextItRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, text string }{
		{"nothing", ""},
		{"a unit alone", "GiB"},
		{"an ambiguous unit", "20 G"},
		{"an unknown unit", "20 bananas"},
		{"a negative number", "-1"},
		{"two points", "1.5.5 MB"},
		{"a point without digits after it", "1. MB"},
		{"a point without digits before it", ".5 MB"},
		{"a fraction of a byte", "1.5"},
		{"an exponent", "1e9"},
		{"a decimal comma", "1,5 MB"},
		{"one more than an int64 holds", "9223372036854775808"},
		{"more EiB than an int64 holds", "8 EiB"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			_, err := units.ParseBytes(row.text)
			require.ErrorContains(t, err, fmt.Sprintf("%q", row.text))
		})
	}
}

// Bytes is exact below 1 KiB, within half a percent above, and never longer
// than four digits.
func FuzzBytes_IsWithinHalfAPercent(f *testing.F) {
	for _, n := range []int64{0, 1, 1023, 1024, 1025, 1 << 20, 1<<20 - 1, 123456789, 1 << 53, 7 << 60} {
		f.Add(n)
	}
	short := regexp.MustCompile(`^\d{1,4} (B|[KMGTPE]iB)$|^\d\.\d\d? [KMGTPE]iB$|^\d\d\.\d [KMGTPE]iB$`)
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 || n > 7<<60 {
			t.Skip("outside what Bytes can print and ParseBytes can hold")
		}
		text := units.Bytes(n)
		require.Regexp(t, short, text)
		back, err := units.ParseBytes(text)
		require.NoError(t, err)
		if n < 1024 {
			require.Equal(t, n, back)
		} else {
			// ParseBytes drops the part of a byte that three digits may mean.
			require.InDelta(t, float64(n), float64(back), 0.005*float64(n)+1)
		}
	})
}

// ParseBytes never returns a negative number and never panics.
func FuzzParseBytes_IsNeverNegative(f *testing.F) {
	for _, s := range []string{"20 GiB", "1.5 MB", "500", "", "8 EiB", "\xff", "9e99", "1.000000000000000000001 EiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, _ := units.ParseBytes(s)
		require.GreaterOrEqual(t, n, int64(0))
	})
}

func ExampleBytes() {
	fmt.Println(units.Bytes(812))
	fmt.Println(units.Bytes(1_610_612_736))
	// Output:
	// 812 B
	// 1.5 GiB
}

func ExampleParseBytes() {
	reserve, err := units.ParseBytes("20 GiB")
	fmt.Println(reserve, err)
	_, err = units.ParseBytes("20 G")
	fmt.Println(err)
	// Output:
	// 21474836480 <nil>
	// units: size "20 G": unit "G" is ambiguous: write GiB (steps of 1024) or GB (steps of 1000)
}
