package vmimage_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
)

// image is one of a machine, taken at a time such as "2026-09-25 02:00"; a "?"
// behind it says that it is not verified.
func image(machine, at string) vmimage.Image {
	text, doubtful := strings.CutSuffix(at, "?")
	taken, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	i := vmimage.Image{Machine: machine, ID: text, Taken: taken}
	if !doubtful {
		i.Verified = taken.Add(time.Hour)
	}
	return i
}

func images(machine string, at ...string) (list []vmimage.Image) {
	for _, a := range at {
		list = append(list, image(machine, a))
	}
	return list
}

// kept and removed are a plan as text.
func kept(r vmimage.Retention) (lines []string) {
	for _, k := range r.Keep {
		lines = append(lines, k.ID+": "+strings.Join(k.Reasons, ", "))
	}
	return lines
}

func removed(r vmimage.Retention) (ids []string) {
	for _, i := range r.Remove {
		ids = append(ids, i.ID)
	}
	return ids
}

func TestPlan_KeepsWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		policy vmimage.Policy
		images []vmimage.Image
		keep   []string
		remove []string
	}{
		{"no rule keeps all", vmimage.Policy{Least: 1}, images("a", "2026-09-25 02:00", "2026-09-18 02:00?"),
			[]string{"2026-09-25 02:00: no rule", "2026-09-18 02:00: no rule"}, nil},
		{"the last", vmimage.Policy{Last: 2}, images("a", "2026-09-18 02:00", "2026-09-25 02:00", "2026-09-11 02:00"),
			[]string{"2026-09-25 02:00: last 1", "2026-09-18 02:00: last 2"}, []string{"2026-09-11 02:00"}},
		{"of each day the newest", vmimage.Policy{Daily: 2}, images("a", "2026-09-25 02:00", "2026-09-25 14:00", "2026-09-23 02:00", "2026-09-22 02:00"),
			[]string{"2026-09-25 14:00: daily 1", "2026-09-23 02:00: daily 2"}, []string{"2026-09-22 02:00", "2026-09-25 02:00"}},
		{"days begin where the policy says", vmimage.Policy{Daily: 2, In: time.FixedZone("", -3*3600)}, images("a", "2026-09-25 02:00", "2026-09-24 04:00", "2026-09-24 02:00"),
			[]string{"2026-09-25 02:00: daily 1", "2026-09-24 02:00: daily 2"}, []string{"2026-09-24 04:00"}},
		{"weeks are of ISO 8601", vmimage.Policy{Weekly: 2}, images("a", "2027-01-03 02:00", "2026-12-28 02:00", "2026-12-27 02:00"),
			[]string{"2027-01-03 02:00: weekly 1", "2026-12-27 02:00: weekly 2"}, []string{"2026-12-28 02:00"}},
		{"rules add up", vmimage.Policy{Last: 1, Monthly: 2, Yearly: 2}, images("a", "2026-09-25 02:00", "2026-08-28 02:00", "2026-08-21 02:00", "2025-12-26 02:00"),
			[]string{"2026-09-25 02:00: last 1, monthly 1, yearly 1", "2026-08-28 02:00: monthly 2", "2025-12-26 02:00: yearly 2"}, []string{"2026-08-21 02:00"}},
		{"what is not verified fills no place", vmimage.Policy{Last: 1}, images("a", "2026-09-25 02:00?", "2026-09-18 02:00", "2026-09-11 02:00?", "2026-09-04 02:00"),
			[]string{"2026-09-25 02:00: newer than all that are verified", "2026-09-18 02:00: last 1"}, []string{"2026-09-04 02:00", "2026-09-11 02:00"}},
		{"at least so many", vmimage.Policy{Yearly: 1, Least: 3}, images("a", "2026-09-25 02:00", "2026-09-18 02:00", "2026-09-11 02:00", "2026-09-04 02:00"),
			[]string{"2026-09-25 02:00: yearly 1", "2026-09-18 02:00: least 2", "2026-09-11 02:00: least 3"}, []string{"2026-09-04 02:00"}},
		{"machine by machine", vmimage.Policy{Last: 1}, slices.Concat(images("b", "2026-09-25 02:00", "2026-09-18 02:00"), images("a", "2026-01-02 02:00")),
			[]string{"2026-01-02 02:00: last 1", "2026-09-25 02:00: last 1"}, []string{"2026-09-18 02:00"}},
		{"a clock that was wrong", vmimage.Policy{Daily: 1}, images("a", "2099-01-01 02:00", "2026-09-25 02:00", "2026-09-18 02:00"),
			[]string{"2099-01-01 02:00: daily 1"}, []string{"2026-09-18 02:00", "2026-09-25 02:00"}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			r := row.policy.Plan(row.images)
			require.Empty(t, cmp.Diff(row.keep, kept(r)))
			require.Empty(t, cmp.Diff(row.remove, removed(r)))
		})
	}
}

// plans calls check for many policies and lists of images.
func plans(t *testing.T, check func(r *rand.Rand, p vmimage.Policy, list []vmimage.Image)) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 3000 {
		p := vmimage.Policy{Last: r.IntN(4) - 1, Daily: r.IntN(4) - 1, Weekly: r.IntN(3), Monthly: r.IntN(3), Yearly: r.IntN(2), Least: r.IntN(4) - 1}
		var list []vmimage.Image
		for i := range r.IntN(20) {
			taken := time.Unix(r.Int64N(int64(1+r.IntN(1000))*86400), 0)
			image := vmimage.Image{Machine: fmt.Sprint(r.IntN(2)), ID: fmt.Sprint(i), Taken: taken}
			if r.IntN(3) > 0 {
				image.Verified = taken.Add(time.Hour)
			}
			list = append(list, image)
		}
		check(r, p, list)
	}
}

// A plan never removes the newest verified image of a machine, nor more than leave Least of
// them, whatever the policy and however old they are.
func TestPlan_NeverRemovesTheLastGoodImage(t *testing.T) {
	t.Parallel()
	plans(t, func(_ *rand.Rand, p vmimage.Policy, list []vmimage.Image) {
		plan := p.Plan(list)
		require.Len(t, list, len(plan.Keep)+len(plan.Remove))
		for _, machine := range []string{"0", "1"} {
			good := slices.DeleteFunc(slices.Clone(list), func(i vmimage.Image) bool { return i.Machine != machine || i.Verified.IsZero() })
			slices.SortFunc(good, func(a, b vmimage.Image) int { return b.Taken.Compare(a.Taken) })
			left := 0
			for _, k := range plan.Keep {
				if k.Machine == machine && !k.Verified.IsZero() {
					left++
				}
			}
			require.GreaterOrEqual(t, left, min(max(1, p.Least), len(good)), "%+v", p)
			require.True(t, len(good) == 0 || slices.ContainsFunc(plan.Keep, func(k vmimage.Kept) bool {
				return k.Machine == machine && !k.Verified.IsZero() && k.Taken.Equal(good[0].Taken)
			}), "%+v removes the newest", p)
		}
	})
}

// The same images give the same plan, in whatever order they come.
func TestPlan_IsTheSameInWhateverOrderTheyCome(t *testing.T) {
	t.Parallel()
	plans(t, func(r *rand.Rand, p vmimage.Policy, list []vmimage.Image) {
		shuffled := slices.Clone(list)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		require.Empty(t, cmp.Diff(p.Plan(list), p.Plan(shuffled)))
	})
}

// After what a plan removes is gone, the same policy removes nothing more.
func TestPlan_RemovesNothingMoreTheSecondTime(t *testing.T) {
	t.Parallel()
	plans(t, func(_ *rand.Rand, p vmimage.Policy, list []vmimage.Image) {
		var rest []vmimage.Image
		for _, k := range p.Plan(list).Keep {
			rest = append(rest, k.Image)
		}
		require.Empty(t, p.Plan(rest).Remove, "%+v", p)
	})
}

// A plan that removes more than a set share at once is refused.
func TestCheck_RefusesToRemoveTooMuchAtOnce(t *testing.T) {
	t.Parallel()
	list := images("a", "2026-09-25 02:00", "2026-09-18 02:00", "2026-09-11 02:00", "2026-09-04 02:00")
	for _, row := range []struct {
		last  int
		share float64
		err   string
	}{
		{4, 0, ""},
		{3, 0, ""},
		{2, 0.5, ""},
		{1, 0.5, "a: 3 of 4 images would be removed, which is more than 50 %: is the policy right?"},
		{1, 0.75, ""},
	} {
		err := vmimage.Policy{Last: row.last}.Plan(list).Check(row.share)
		if row.err == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, row.err)
		}
	}
}

func ExamplePolicy_Plan() {
	policy := vmimage.Policy{Last: 2, Monthly: 12}
	r := policy.Plan(images("web", "2026-09-25 02:00", "2026-09-18 02:00", "2026-09-11 02:00", "2026-08-28 02:00"))
	for _, k := range r.Keep {
		fmt.Println("keep", k.ID, k.Reasons)
	}
	for _, i := range r.Remove {
		fmt.Println("remove", i.ID)
	}
	// Output:
	// keep 2026-09-25 02:00 [last 1 monthly 1]
	// keep 2026-09-18 02:00 [last 2]
	// keep 2026-08-28 02:00 [monthly 2]
	// remove 2026-09-11 02:00
}
