package diskspace_test

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/obskeep/obskeep/diskspace"
	"github.com/stretchr/testify/require"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// disks is a machine with a volume for each first element of a path.
func disks(usage map[string]diskspace.Usage) func(string) (diskspace.Usage, error) {
	return func(path string) (diskspace.Usage, error) {
		first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		u, ok := usage[first]
		if !ok {
			return diskspace.Usage{}, errNoVolume
		}
		return u, nil
	}
}

var errNoVolume = errors.New("no such volume")

func backup() diskspace.Usage {
	return diskspace.Usage{Volume: 1, Total: 100 * gib, Free: 15 * gib, Avail: 10 * gib, Inodes: 1000, TotalInodes: 10_000}
}

func home() diskspace.Usage {
	return diskspace.Usage{Volume: 2, Total: 50 * gib, Free: 5 * gib, Avail: 5 * gib, Inodes: 1000, TotalInodes: 10_000}
}

func planner(r diskspace.Reserve) *diskspace.Planner {
	return &diskspace.Planner{
		Reserve: r,
		Stat:    disks(map[string]diskspace.Usage{"backup": backup(), "images": backup(), "home": home()}),
	}
}

// shortfall returns the only ShortfallError in err.
func shortfall(t *testing.T, err error) diskspace.ShortfallError {
	t.Helper()
	all := shortfalls(t, err)
	require.Len(t, all, 1)
	return all[0]
}

func shortfalls(t *testing.T, err error) []diskspace.ShortfallError {
	t.Helper()
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok, "%v", err)
	var all []diskspace.ShortfallError
	for _, e := range joined.Unwrap() {
		s, ok := errors.AsType[*diskspace.ShortfallError](e)
		require.True(t, ok, "%v", e)
		all = append(all, *s)
	}
	return all
}

// Two jobs that each fit do not fit together on one volume, by whatever paths
// they come to it.
func TestFits_AddsUpNeedsOnOneVolume(t *testing.T) {
	t.Parallel()
	p := planner(diskspace.Reserve{})
	day := diskspace.Need{Path: "/backup/268", Bytes: 6 * gib}
	image := diskspace.Need{Path: "/images/web01", Bytes: 4*gib + 1}
	require.NoError(t, p.Fits(day))
	require.NoError(t, p.Fits(image))
	require.NoError(t, p.Fits(day, diskspace.Need{Path: "/images/x", Bytes: 4 * gib}), "to the last byte")
	require.NoError(t, p.Fits(day, diskspace.Need{Path: "/home/x", Bytes: 5 * gib}), "two volumes")
	got := shortfall(t, p.Fits(day, image))
	want := diskspace.ShortfallError{Path: "/backup/268", Need: 10*gib + 1, Avail: 10 * gib}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shortfall (-want +got):\n%s", diff)
	}
	require.EqualValues(t, 1, got.Short())
}

func TestFits_NamesEveryVolumeThatIsShort(t *testing.T) {
	t.Parallel()
	err := planner(diskspace.Reserve{}).Fits(
		diskspace.Need{Path: "/backup/268", Bytes: 11 * gib, Inodes: 2000},
		diskspace.Need{Path: "/home/x", Bytes: 7 * gib},
	)
	want := []diskspace.ShortfallError{
		{Path: "/backup/268", Need: 11 * gib, Avail: 10 * gib},
		{Path: "/backup/268", Need: 2000, Avail: 1000, Inodes: true},
		{Path: "/home/x", Need: 7 * gib, Avail: 5 * gib},
	}
	if diff := cmp.Diff(want, shortfalls(t, err)); diff != "" {
		t.Errorf("shortfalls (-want +got):\n%s", diff)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func TestFits_LeavesTheReserveUntouched(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule    string
		reserve diskspace.Reserve
		fits    uint64 // bytes; one more does not fit
	}{
		{"no reserve", diskspace.Reserve{}, 10 * gib},
		{"bytes", diskspace.Reserve{Bytes: 4 * gib}, 6 * gib},
		{"a share of the whole volume, not of what is free", diskspace.Reserve{Percent: 6}, 4 * gib},
		{"the larger of both: bytes", diskspace.Reserve{Bytes: 8 * gib, Percent: 6}, 2 * gib},
		{"the larger of both: the share", diskspace.Reserve{Bytes: 4 * gib, Percent: 8}, 2 * gib},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			p := planner(tc.reserve)
			require.NoError(t, p.Fits(diskspace.Need{Path: "/backup", Bytes: tc.fits}))
			s := shortfall(t, p.Fits(diskspace.Need{Path: "/backup", Bytes: tc.fits + 1}))
			require.EqualValues(t, 1, s.Short())
		})
	}
}

// A reserve that is used up already stops what writes to that volume, and
// nothing else.
func TestFits_NeedingNothingAlwaysFits(t *testing.T) {
	t.Parallel()
	p := planner(diskspace.Reserve{Percent: 50})
	require.NoError(t, p.Fits())
	require.NoError(t, p.Fits(diskspace.Need{Path: "/backup"}))
	require.Error(t, p.Fits(diskspace.Need{Path: "/backup", Bytes: 1}))
	onlyInodes := shortfall(t, p.Fits(diskspace.Need{Path: "/backup", Inodes: 1}))
	require.True(t, onlyInodes.Inodes)
}

// Of 15 GiB free, 5 are kept for root.
func TestFits_CountsOnlySpaceThisProcessMayUse(t *testing.T) {
	t.Parallel()
	p := planner(diskspace.Reserve{})
	s := shortfall(t, p.Fits(diskspace.Need{Path: "/backup", Bytes: 12 * gib}))
	require.EqualValues(t, 10*gib, s.Avail)
}

func TestFits_CountsInodes(t *testing.T) {
	t.Parallel()
	p := planner(diskspace.Reserve{Percent: 5}) // 500 of 10,000 inodes
	require.NoError(t, p.Fits(diskspace.Need{Path: "/backup", Inodes: 500}))
	got := shortfall(t, p.Fits(
		diskspace.Need{Path: "/backup", Inodes: 400}, diskspace.Need{Path: "/images", Inodes: 101},
	))
	want := diskspace.ShortfallError{Path: "/backup", Need: 501, Avail: 1000, Reserve: 500, Inodes: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shortfall (-want +got):\n%s", diff)
	}
}

// btrfs and vfat say that they have no inodes at all, and mean no limit.
func TestFits_TakesNoInodesInTotalForNoLimit(t *testing.T) {
	t.Parallel()
	p := &diskspace.Planner{Stat: disks(map[string]diskspace.Usage{"usb": {Volume: 1, Total: gib, Avail: gib}})}
	require.NoError(t, p.Fits(diskspace.Need{Path: "/usb", Bytes: 1, Inodes: 1_000_000}))
}

// Quotas leave two directories of one volume different amounts.
func TestFits_TakesTheLeastThatAVolumeOffers(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"wide", "narrow"} {
		second := map[string]string{"wide": "narrow", "narrow": "wide"}[first]
		p := &diskspace.Planner{Stat: disks(map[string]diskspace.Usage{
			"wide": {Volume: 1, Avail: gib, Inodes: 9, TotalInodes: 9}, "narrow": {Volume: 1, Avail: mib, Inodes: 1, TotalInodes: 9},
		})}
		err := p.Fits(
			diskspace.Need{Path: first, Bytes: mib, Inodes: 1}, diskspace.Need{Path: second, Bytes: mib, Inodes: 1},
		)
		require.Len(t, shortfalls(t, err), 2)
	}
}

func TestFits_NeverWrapsAround(t *testing.T) {
	t.Parallel()
	const most = math.MaxUint64
	p := planner(diskspace.Reserve{})
	huge := diskspace.Need{Path: "/backup", Bytes: most, Inodes: most}
	require.Len(t, shortfalls(t, p.Fits(huge, huge)), 2)
	require.Len(t, shortfalls(t, p.Fits(diskspace.Need{Path: "/backup", Bytes: 1, Inodes: 1}, huge)), 2)
	p.Reserve.Bytes = most
	s := shortfall(t, p.Fits(diskspace.Need{Path: "/backup", Bytes: gib}))
	require.EqualValues(t, uint64(most)-10*gib, s.Short())
	require.NotEmpty(t, s.Error())
}

func TestFits_PassesOnTheErrorOfStat(t *testing.T) {
	t.Parallel()
	err := planner(diskspace.Reserve{}).Fits(diskspace.Need{Path: "/backup", Bytes: 11 * gib}, diskspace.Need{Path: "/tape"})
	require.ErrorIs(t, err, errNoVolume)
	require.NotErrorIs(t, err, syscall.ENOSPC)
}

func TestShortfallError_SaysItInUnitsForPeople(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule, want string
		err        diskspace.ShortfallError
	}{
		{
			"need, have, reserve, and what is short",
			"diskspace: /backup: need 12.3 GiB, have 4 GiB, keep 20 GiB free: 28.3 GiB short",
			diskspace.ShortfallError{Path: "/backup", Need: 12*gib + 300*mib, Avail: 4 * gib, Reserve: 20 * gib},
		},
		{
			"no reserve",
			"diskspace: /backup: need 2 GiB, have 1 GiB: 1 GiB short",
			diskspace.ShortfallError{Path: "/backup", Need: 2 * gib, Avail: gib},
		},
		{
			"inodes",
			"diskspace: /backup: need 501 inodes, have 1000, keep 500 free: 1 short",
			diskspace.ShortfallError{Path: "/backup", Need: 501, Avail: 1000, Reserve: 500, Inodes: true},
		},
		{
			"what may go is not enough",
			"diskspace: /backup: need 4 GiB, have 1 GiB and 2 GiB that may go: 1 GiB short",
			diskspace.ShortfallError{Path: "/backup", Need: 4 * gib, Avail: gib, Freeable: 2 * gib},
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.err.Error())
			require.ErrorIs(t, &tc.err, syscall.ENOSPC)
		})
	}
}

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

// short is a volume that lacks n bytes.
func short(n uint64) *diskspace.ShortfallError {
	return &diskspace.ShortfallError{Path: "/backup", Need: 10*gib + n, Avail: 10 * gib}
}

func paths(items []diskspace.Item) []string {
	var paths []string
	for _, item := range items {
		paths = append(paths, item.Path)
	}
	return paths
}

func TestRelief_TakesTheOldestFirst(t *testing.T) {
	t.Parallel()
	may := []diskspace.Item{
		{Path: "/backup/266", Bytes: gib, Time: day(266)},
		{Path: "/backup/264", Bytes: gib, Time: day(264)},
		{Path: "/backup/265b", Bytes: gib, Time: day(265)},
		{Path: "/backup/265a", Bytes: gib, Time: day(265)},
	}
	for _, tc := range []struct {
		rule  string
		short uint64
		want  []string
	}{
		{"nothing when nothing is short", 0, nil},
		{"one is enough", 1, []string{"/backup/264"}},
		{"one is just enough", gib, []string{"/backup/264"}},
		{"of equal age by path", gib + 1, []string{"/backup/264", "/backup/265a"}},
		{"all", 4 * gib, []string{"/backup/264", "/backup/265a", "/backup/265b", "/backup/266"}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			got, err := planner(diskspace.Reserve{}).Relief(short(tc.short), may)
			require.NoError(t, err)
			require.Equal(t, tc.want, paths(got))
		})
	}
	require.Equal(t, "/backup/266", may[0].Path, "the caller's slice is as it was")
}

func TestRelief_NeverProposesTheLastGoodItem(t *testing.T) {
	t.Parallel()
	good := diskspace.Item{Path: "/backup/264", Bytes: 10 * gib, Time: day(264), LastGood: true}
	other := diskspace.Item{Path: "/backup/265", Bytes: gib, Time: day(265)}
	got, err := planner(diskspace.Reserve{}).Relief(short(gib), []diskspace.Item{good, other})
	require.NoError(t, err)
	require.Equal(t, []string{"/backup/265"}, paths(got))

	got, err = planner(diskspace.Reserve{}).Relief(short(2*gib), []diskspace.Item{good, other})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Empty(t, got)
}

func TestRelief_NeverProposesAnItemOfUnknownAge(t *testing.T) {
	t.Parallel()
	_, err := planner(diskspace.Reserve{}).Relief(short(1), []diskspace.Item{{Path: "/backup/x", Bytes: gib}})
	require.ErrorIs(t, err, syscall.ENOSPC)
}

// Room on another volume, and items that take none, are of no use.
func TestRelief_ProposesOnlyWhatHelps(t *testing.T) {
	t.Parallel()
	may := []diskspace.Item{
		{Path: "/home/264", Bytes: gib, Inodes: 5, Time: day(264)},
		{Path: "/backup/264", Inodes: 1, Time: day(264)},
		{Path: "/images/265", Bytes: gib, Time: day(265)},
		{Path: "/backup/266", Inodes: 7, Time: day(266)},
	}
	p := planner(diskspace.Reserve{})
	got, err := p.Relief(short(1), may)
	require.NoError(t, err)
	require.Equal(t, []string{"/images/265"}, paths(got))

	inodes := &diskspace.ShortfallError{Path: "/backup", Need: 1008, Avail: 1000, Inodes: true}
	got, err = p.Relief(inodes, may)
	require.NoError(t, err)
	require.Equal(t, []string{"/backup/264", "/backup/266"}, paths(got))
}

// It would be a loss for nothing.
func TestRelief_ProposesNothingIfAllIsNotEnough(t *testing.T) {
	t.Parallel()
	may := []diskspace.Item{
		{Path: "/backup/264", Bytes: gib, Time: day(264)},
		{Path: "/backup/265", Bytes: gib, Time: day(265)},
	}
	s := short(5 * gib)
	got, err := planner(diskspace.Reserve{}).Relief(s, may)
	require.Nil(t, got)
	lacking, ok := errors.AsType[*diskspace.ShortfallError](err)
	require.True(t, ok)
	require.EqualValues(t, 3*gib, lacking.Short())
	require.EqualValues(t, 2*gib, lacking.Freeable)
	require.EqualValues(t, 5*gib, s.Short(), "the caller's error is as it was")

	got, err = planner(diskspace.Reserve{}).Relief(lacking, may)
	require.Nil(t, got)
	require.Equal(t, lacking, err, "asked again, what may go is not counted twice")
}

func TestRelief_NeverWrapsAround(t *testing.T) {
	t.Parallel()
	got, err := planner(diskspace.Reserve{}).Relief(short(5), []diskspace.Item{
		{Path: "/backup/1", Bytes: 2, Time: day(1)},
		{Path: "/backup/2", Bytes: math.MaxUint64, Time: day(2)},
		{Path: "/backup/3", Bytes: math.MaxUint64, Time: day(3)},
	})
	require.NoError(t, err)
	require.Len(t, got, 2)
}

func TestRelief_PassesOnTheErrorOfStat(t *testing.T) {
	t.Parallel()
	_, err := planner(diskspace.Reserve{}).Relief(short(1), []diskspace.Item{{Path: "/tape/1", Bytes: 1, Time: day(1)}})
	require.ErrorIs(t, err, errNoVolume)
	_, err = planner(diskspace.Reserve{}).Relief(&diskspace.ShortfallError{Path: "/tape", Need: 1}, nil)
	require.ErrorIs(t, err, errNoVolume)
}

// When what Relief proposes is gone, the plan fits; and with the youngest of
// the proposed items kept, it does not.
func FuzzRelief_MakesTheNeedFitAndNoMore(f *testing.F) {
	f.Add(uint16(500), uint16(100), uint16(20), []byte{10, 20, 30, 255, 7})
	f.Add(uint16(1), uint16(0), uint16(0), []byte{})
	f.Fuzz(func(t *testing.T, need, avail, reserve uint16, sizes []byte) {
		free := uint64(avail)
		p := &diskspace.Planner{
			Reserve: diskspace.Reserve{Bytes: uint64(reserve)},
			Stat: func(string) (diskspace.Usage, error) {
				return diskspace.Usage{Volume: 1, Total: 1 << 20, Avail: free}, nil
			},
		}
		var may []diskspace.Item
		for i, n := range sizes {
			may = append(may, diskspace.Item{Path: "/backup", Bytes: uint64(n), Time: day(1 + i*7%50), LastGood: n == 255})
		}
		write := diskspace.Need{Path: "/backup", Bytes: uint64(need)}
		err := p.Fits(write)
		if err == nil {
			return
		}
		s, _ := errors.AsType[*diskspace.ShortfallError](err)
		items, err := p.Relief(s, may)
		if err != nil {
			lacking, _ := errors.AsType[*diskspace.ShortfallError](err)
			free += lacking.Freeable + lacking.Short() - 1
			require.Error(t, p.Fits(write))
			free++
			require.NoError(t, p.Fits(write))
			return
		}
		for _, item := range items {
			require.False(t, item.LastGood)
			require.Error(t, p.Fits(write), "fits before the last item is gone")
			free += item.Bytes
		}
		require.NoError(t, p.Fits(write))
	})
}
