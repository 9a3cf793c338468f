package keep_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/keep"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// The clock of these tests stands at 06:00 of today.
var (
	today = julian.Date{Year: 2026, Day: 268}
	now   = today.In(time.UTC).Add(6 * time.Hour)
)

// site is a source and a target in memory.
type site struct {
	source, target storetest.Mem
	config         keep.Config
}

func newSite() *site {
	s := new(site)
	s.config = keep.Config{
		Source: &s.source, SourceDays: julian.MustParsePattern("%Y/%j"),
		Target: &s.target, TargetDays: julian.MustParsePattern("supim/%Y/%j"),
		Now:      func() time.Time { return now },
		Transfer: &transfer.Options{Retries: -1},
	}
	return s
}

// writes makes a file at the source, changed an hour after the day's end.
func (s *site) writes(day julian.Date, name, text string) {
	s.writesAt(day, name, text, min(day.AddDays(1).In(time.UTC).Sub(now), 0))
}

func (s *site) writesAt(day julian.Date, name, text string, age time.Duration) {
	s.source.Put(transfer.Info{Name: dir(day) + "/" + name, ModTime: now.Add(age).Add(-time.Hour)}, []byte(text))
}

// keptBefore makes a kept day in the target.
func (s *site) keptBefore(d julian.Date) {
	s.target.Put(transfer.Info{Name: "supim/" + dir(d) + "/a.dat"}, []byte("kept before"))
	s.target.Put(transfer.Info{Name: "supim/" + dir(d) + "/" + keep.ManifestName}, fmt.Appendf(nil, "%x  a.dat\n", sha256.Sum256([]byte("kept before"))))
}

func dir(d julian.Date) string { return julian.MustParsePattern("%Y/%j").Format(d) }

// run plans and runs for today and two days before.
func (s *site) run(t *testing.T) map[julian.Date]keep.Result {
	t.Helper()
	results, err := s.try(t.Context())
	require.NoError(t, err)
	return results
}

func (s *site) try(ctx context.Context) (map[julian.Date]keep.Result, error) {
	k, err := keep.New(s.config)
	if err != nil {
		return nil, err
	}
	p, err := k.Plan(ctx, today, today, 2)
	if err != nil {
		return nil, err
	}
	results := make(map[julian.Date]keep.Result)
	_, err = k.Run(ctx, p, func(r keep.Result) { results[r.Date] = r })
	return results, err
}

// holds are the files of the target without manifests, with their bytes.
func (s *site) holds() map[string]string {
	files := make(map[string]string)
	for _, name := range s.target.Names() {
		info, err := s.target.Stat(context.Background(), name)
		if err == nil && info.Mode.IsRegular() && !strings.HasSuffix(name, keep.ManifestName) {
			files[name] = string(s.target.Data(name))
		}
	}
	return files
}

func TestRun_KeepsTodayAndTheDaysBefore(t *testing.T) {
	s := newSite()
	for i := range 4 {
		s.writes(today.AddDays(-i), "ne.dat", fmt.Sprint("day ", i))
	}
	results := s.run(t)
	require.Len(t, results, 3)
	for d, r := range results {
		require.Equal(t, report.OK, r.Outcome, "%v: %v", d, r.Err)
		require.True(t, r.Kept)
		require.Equal(t, 1, r.Stats.Verified)
	}
	want := map[string]string{
		"supim/2026/266/ne.dat": "day 2", "supim/2026/267/ne.dat": "day 1", "supim/2026/268/ne.dat": "day 0",
	}
	if diff := cmp.Diff(want, s.holds()); diff != "" {
		t.Errorf("target (-want +got):\n%s", diff)
	}
	require.Contains(t, string(s.target.Data("supim/2026/268/"+keep.ManifestName)), "  ne.dat\n")

	again := s.run(t)
	for d, r := range again {
		require.Equal(t, keep.Held, r.State, "%v", d)
		require.Equal(t, report.OK, r.Outcome)
		require.Zero(t, r.Stats.Literal)
	}
}

// A kept day is never changed and never overwritten: a new state of the source
// is kept beside it, as often as there is one.
func TestRun_NeverChangesAKeptDay(t *testing.T) {
	s := newSite()
	yesterday := today.AddDays(-1)
	s.writes(yesterday, "a.dat", "first")
	s.writes(yesterday, "b.dat", "same")
	s.run(t)
	s.writesAt(yesterday, "a.dat", "second, corrected", 0)
	r := s.run(t)[yesterday]
	require.Equal(t, keep.Changed, r.State)
	require.Equal(t, report.Warning, r.Outcome)
	require.True(t, r.Kept)
	require.Equal(t, int64(len("second, corrected")), r.Stats.Literal, "what has not changed is not fetched")
	require.Equal(t, 2, r.Stats.Verified)
	require.Equal(t, int64(len("second, corrected")+len("same")), r.Bytes)
	s.writesAt(yesterday, "c.dat", "third", 0)
	require.Equal(t, report.Warning, s.run(t)[yesterday].Outcome)

	want := map[string]string{
		"supim/2026/267/a.dat": "first", "supim/2026/267/b.dat": "same",
		"supim/2026/267.rev2/a.dat": "second, corrected", "supim/2026/267.rev2/b.dat": "same",
		"supim/2026/267.rev3/a.dat": "second, corrected", "supim/2026/267.rev3/b.dat": "same", "supim/2026/267.rev3/c.dat": "third",
	}
	if diff := cmp.Diff(want, s.holds()); diff != "" {
		t.Errorf("target (-want +got):\n%s", diff)
	}
	require.Equal(t, keep.Held, s.run(t)[yesterday].State)

	k, err := keep.New(s.config)
	require.NoError(t, err)
	kept, err := k.Kept(t.Context())
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, []int{1, 2, 3}, kept[0].Revisions)
}

// A file that only got a new time makes no revision.
func TestRun_MakesNoRevisionOfTheSameBytes(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "same")
	s.run(t)
	s.writesAt(today, "a.dat", "same", 10*time.Minute)
	r := s.run(t)[today]
	require.Equal(t, keep.Held, r.State)
	require.Equal(t, report.OK, r.Outcome)
	require.Equal(t, []string{"supim/2026/268/a.dat"}, slices.Collect(mapKeys(s.holds())))
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// A day that loses files at the source stays whole here, without a warning.
func TestRun_KeepsWhatTheSourceRemoves(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	s.writes(today, "b.dat", "b")
	s.run(t)
	require.NoError(t, s.source.Remove(t.Context(), dir(today)+"/a.dat"))
	require.Equal(t, report.OK, s.run(t)[today].Outcome)
	require.NoError(t, s.source.Remove(t.Context(), dir(today)+"/b.dat"))
	require.NoError(t, s.source.Remove(t.Context(), dir(today)))
	r := s.run(t)[today]
	require.Equal(t, report.OK, r.Outcome)
	require.Equal(t, keep.Held, r.State)
	require.Len(t, s.holds(), 2)
}

func TestPlan_CompleteDays(t *testing.T) {
	rows := []struct {
		name    string
		config  func(*keep.Config)
		age     time.Duration // of the newest file
		marker  string
		day     int // before today
		state   keep.State
		outcome report.Outcome
	}{
		{"nothing changed for the settling time", nil, -11 * time.Minute, "", 0, keep.Ready, report.OK},
		{"today was changed just now", nil, -9 * time.Minute, "", 0, keep.Unfinished, report.OK},
		{"yesterday was changed just now", nil, -9 * time.Minute, "", 1, keep.Unfinished, report.Warning},
		{"a shorter settling time", func(c *keep.Config) { c.Settled = time.Minute }, -2 * time.Minute, "", 0, keep.Ready, report.OK},
		{"no marker yet", func(c *keep.Config) { c.Marker = "DONE" }, -time.Hour, "", 0, keep.Unfinished, report.OK},
		{"a marker, and no wait", func(c *keep.Config) { c.Marker = "DONE" }, -time.Second, "DONE", 0, keep.Ready, report.OK},
		{"a marker and a settling time", func(c *keep.Config) { c.Marker, c.Settled = "DONE", time.Minute }, -time.Second, "DONE", 0, keep.Unfinished, report.OK},
		{"stamped in the future", nil, time.Hour, "", 0, keep.Unfinished, report.OK},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSite()
			if row.config != nil {
				row.config(&s.config)
			}
			day := today.AddDays(-row.day)
			s.writesAt(day, "a.dat", "a", row.age+time.Hour)
			if row.marker != "" {
				s.writesAt(day, row.marker, "", row.age+time.Hour)
			}
			r := s.run(t)[day]
			require.Equal(t, row.state, r.State, r.Why)
			require.Equal(t, row.outcome, r.Outcome)
			require.Equal(t, row.state == keep.Ready, len(s.holds()) > 0)
		})
	}
}

// clockStore is a source with a clock of its own.
type clockStore struct {
	*storetest.Mem
	now time.Time
}

func (c clockStore) Now(context.Context) (time.Time, error) { return c.now, nil }

// Whether a day is settled goes by the clock that stamps its files.
func TestPlan_GoesByTheClockOfTheSource(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		s := newSite()
		s.config.Source = clockStore{&s.source, now.Add(off)}
		s.writesAt(today, "a.dat", "a", time.Hour+off-time.Minute) // a minute ago, there
		require.Equal(t, keep.Unfinished, s.run(t)[today].State, "%v off", off)
		s.writesAt(today, "a.dat", "a", time.Hour+off-11*time.Minute)
		require.Equal(t, keep.Ready, s.run(t)[today].State, "%v off", off)
	}
}

func TestRun_AbsentDays(t *testing.T) {
	s := newSite()
	results := s.run(t)
	require.Equal(t, report.OK, results[today].Outcome, "today may still come")
	require.Equal(t, report.Missed, results[today.AddDays(-1)].Outcome)
	require.Equal(t, report.Missed, results[today.AddDays(-2)].Outcome)

	// A folder without a file in it is no day.
	require.NoError(t, s.source.Mkdir(t.Context(), transfer.Info{Name: dir(today.AddDays(-1)), Mode: fs.ModeDir | 0o755}))
	require.Equal(t, report.Missed, s.run(t)[today.AddDays(-1)].Outcome)
	require.Empty(t, s.holds())
}

// A day is complete under its name, or not there: whichever operation of the
// target is the last before a crash. The next run finishes it.
func TestRun_ACrashAtAnyStepLeavesNoPartOfADay(t *testing.T) {
	crash := errors.New("crash")
	for n := 1; ; n++ {
		s := newSite()
		s.config.Transfer.Workers = 1
		for i := range 3 {
			s.writes(today, fmt.Sprintf("sub/%d.dat", i), strings.Repeat("x", i))
		}
		ops, crashed := 0, false
		s.target.Fault = func(op, name string) error {
			if ops++; ops >= n {
				crashed = true
				return crash
			}
			return nil
		}
		_, _ = s.try(t.Context()) // may fail, in one way or another
		s.target.Fault = nil
		whole := map[string]string{"supim/2026/268/sub/0.dat": "", "supim/2026/268/sub/1.dat": "x", "supim/2026/268/sub/2.dat": "xx"}
		shown := s.holds()
		for name := range shown {
			if transfer.IsReserved(name) {
				delete(shown, name)
			}
		}
		if len(shown) > 0 {
			if diff := cmp.Diff(whole, shown); diff != "" {
				t.Fatalf("crash at step %d: the day is shown (-want +got):\n%s", n, diff)
			}
		}
		require.Equal(t, report.OK, s.run(t)[today].Outcome, "after a crash at step %d", n)
		if diff := cmp.Diff(whole, s.holds()); diff != "" {
			t.Fatalf("after a crash at step %d and another run (-want +got):\n%s", n, diff)
		}
		if !crashed {
			require.Greater(t, n, 20)
			return
		}
	}
}

// A run that was cut is gone on with by the next: nothing is fetched twice.
func TestRun_GoesOnWhereTheLastOneStopped(t *testing.T) {
	s := newSite()
	s.config.Transfer.Workers = 1
	for i := range 5 {
		s.writes(today, fmt.Sprintf("%d.dat", i), "0123456789")
	}
	reads := 0
	s.source.Fault = func(op, name string) error {
		if op == "read" {
			if reads++; reads > 3 {
				return transfer.ErrLost
			}
		}
		return nil
	}
	r, err := s.try(t.Context())
	require.NoError(t, err)
	require.Equal(t, report.Failed, r[today].Outcome)
	require.ErrorIs(t, r[today].Err, transfer.ErrLost)
	s.source.Fault = nil
	second := s.run(t)[today]
	require.Equal(t, report.OK, second.Outcome)
	require.Equal(t, int64(20), second.Stats.Literal)
	require.Len(t, s.holds(), 5)
}

// A file that cannot be read does not keep the others from being kept; it is
// named. When it can be read, the whole is kept beside.
func TestRun_KeepsTheRestOfADayWithAnUnreadableFile(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	s.writes(today, "b.dat", "b")
	s.source.Fault = func(op, name string) error {
		if op == "open" && strings.HasSuffix(name, "a.dat") {
			return fs.ErrPermission
		}
		return nil
	}
	for range 2 {
		r := s.run(t)[today]
		require.Equal(t, report.Warning, r.Outcome)
		require.ErrorIs(t, r.Err, fs.ErrPermission)
		require.ErrorContains(t, r.Err, "a.dat")
	}
	require.Equal(t, map[string]string{"supim/2026/268/b.dat": "b"}, s.holds())
	s.source.Fault = nil
	s.run(t)
	require.Equal(t, "a", s.holds()["supim/2026/268.rev2/a.dat"])
}

// A day of which nothing can be read is not kept at all.
func TestRun_KeepsNothingOfADayThatCannotBeRead(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	s.source.Fault = func(op, _ string) error {
		if op == "open" {
			return fs.ErrPermission
		}
		return nil
	}
	r := s.run(t)[today]
	require.Equal(t, report.Failed, r.Outcome)
	require.ErrorIs(t, r.Err, fs.ErrPermission)
	require.False(t, r.Kept)
}

// A day whose source changes while it is fetched is not kept as it is.
func TestRun_DoesNotKeepADayThatChangesMeanwhile(t *testing.T) {
	changes := map[string]func(s *site){
		"a file more":  func(s *site) { s.writesAt(today, "c.dat", "late", time.Hour) },
		"a file grows": func(s *site) { s.writesAt(today, "a.dat", "aaaa", time.Hour) },
		"a file less":  func(s *site) { _ = s.source.Remove(context.Background(), dir(today)+"/b.dat") },
		"a file grows on": func(s *site) {
			size := 1
			s.source.Fault = func(op, name string) error {
				if op == "read" && strings.HasSuffix(name, "a.dat") {
					size++
					s.writesAt(today, "a.dat", strings.Repeat("a", size), time.Hour)
				}
				return nil
			}
			_ = s.source.Fault("read", "a.dat") // this time already
		},
		"a folder more": func(s *site) { s.writesAt(today, "sub/c.dat", "late", time.Hour) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s := newSite()
			s.config.Transfer.Workers = 1
			s.writes(today, "a.dat", "a")
			s.writes(today, "b.dat", "b")
			once := false
			s.source.Fault = func(op, name string) error {
				if op == "read" && strings.HasSuffix(name, "a.dat") && !once {
					once = true
					change(s)
				}
				return nil
			}
			r := s.run(t)[today]
			require.True(t, once)
			if name == "a file less" && r.Outcome == report.OK {
				return // it was not fetched yet: the day is what it is now
			}
			require.Equal(t, report.Warning, r.Outcome, "%v", r.Err)
			require.ErrorIs(t, r.Err, transfer.ErrChanged)
			require.False(t, r.Kept)
			s.source.Fault = nil
			s.config.Settled = time.Nanosecond
			s.config.Now = func() time.Time { return now.Add(24 * time.Hour) }
			require.True(t, s.run(t)[today].Kept)
		})
	}
}

// spaceStore is a target that tells how much space it has.
type spaceStore struct {
	*storetest.Mem
	usage diskspace.Usage
}

func (s spaceStore) Usage(context.Context, string) (diskspace.Usage, error) { return s.usage, nil }

// A day that does not fit, with the reserve, is not begun.
func TestRun_DoesNotBeginADayThatDoesNotFit(t *testing.T) {
	s := newSite()
	s.config.Target = spaceStore{&s.target, diskspace.Usage{Total: 1 << 20, Free: 100 + 3*4096 - 1, Avail: 100 + 3*4096 - 1, Inodes: 100, TotalInodes: 100}}
	s.config.Reserve = diskspace.Reserve{Bytes: 100}
	s.writes(today, "a.dat", strings.Repeat("a", 5000))            // two blocks, and one for the folder
	s.writes(today.AddDays(-1), "a.dat", strings.Repeat("a", 500)) // one block less
	results := s.run(t)
	require.Equal(t, report.Failed, results[today].Outcome)
	require.ErrorIs(t, results[today].Err, syscall.ENOSPC)
	short, ok := errors.AsType[*diskspace.ShortfallError](results[today].Err)
	require.True(t, ok)
	require.Equal(t, uint64(1), short.Short())
	require.True(t, results[today.AddDays(-1)].Kept, "what fits is kept")
	require.NotContains(t, strings.Join(s.target.Names(), " "), "268")
}

// Days missed while nothing ran are caught up: all since the last one kept, and
// older gaps as far as they can be filled.
func TestPlan_CatchesUpOnMissedDays(t *testing.T) {
	s := newSite()
	s.config.CatchUp = 10
	for i := range 20 {
		s.writes(today.AddDays(-i), "a.dat", fmt.Sprint(i))
	}
	s.keptBefore(today.AddDays(-16))
	s.keptBefore(today.AddDays(-9))
	require.NoError(t, s.source.Remove(t.Context(), dir(today.AddDays(-5))+"/a.dat"))
	require.NoError(t, s.source.Remove(t.Context(), dir(today.AddDays(-5))))
	require.NoError(t, s.source.Remove(t.Context(), dir(today.AddDays(-10))+"/a.dat"))
	require.NoError(t, s.source.Remove(t.Context(), dir(today.AddDays(-10))))

	k, err := keep.New(s.config)
	require.NoError(t, err)
	p, err := k.Plan(t.Context(), today, today, 2)
	require.NoError(t, err)
	got := map[int]keep.State{}
	for _, d := range p.Days {
		got[today.DaysSince(d.Date)] = d.State
	}
	want := map[int]keep.State{
		12: keep.Ready, 11: keep.Ready, // a gap before the last kept day; 10 is not at the source, and not complained of
		8: keep.Ready, 7: keep.Ready, 6: keep.Ready, 5: keep.Absent, 4: keep.Ready, 3: keep.Ready,
		2: keep.Ready, 1: keep.Ready, 0: keep.Ready,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("days before today (-want +got):\n%s", diff)
	}
	require.Empty(t, p.GivenUp)

	results := s.run(t)
	require.Equal(t, report.Missed, results[today.AddDays(-5)].Outcome)
	require.Len(t, s.holds(), 2+10)
}

// Days further back than the catch-up are given up, and named.
func TestPlan_NamesTheDaysItGivesUp(t *testing.T) {
	s := newSite()
	s.config.CatchUp = 3
	s.target.Put(transfer.Info{Name: "supim/" + dir(today.AddDays(-9)) + "/a.dat"}, nil)
	k, err := keep.New(s.config)
	require.NoError(t, err)
	p, err := k.Plan(t.Context(), today, today, 2)
	require.NoError(t, err)
	require.Equal(t, []julian.Date{today.AddDays(-8), today.AddDays(-7), today.AddDays(-6)}, p.GivenUp)
}

func TestPlan_CrossesTheYearEnd(t *testing.T) {
	for _, day := range []julian.Date{{Year: 2027, Day: 1}, {Year: 2025, Day: 2}, {Year: 2028, Day: 60}, {Year: 2028, Day: 61}} {
		s := newSite()
		for i := range 3 {
			s.source.Put(transfer.Info{Name: dir(day.AddDays(-i)) + "/a.dat", ModTime: now.Add(-time.Hour)}, []byte("a"))
		}
		k, err := keep.New(s.config)
		require.NoError(t, err)
		p, err := k.Plan(t.Context(), today, day, 2)
		require.NoError(t, err)
		_, err = k.Run(t.Context(), p, func(r keep.Result) { require.True(t, r.Kept, "%v: %v", r.Date, r.Err) })
		require.NoError(t, err)
		require.Len(t, s.holds(), 3)
	}
	require.Equal(t, "2024/366", dir(julian.Date{Year: 2025, Day: 1}.AddDays(-1)))
}

// Kept days go only when newer ones are there in the number to keep, oldest
// first, and never the newest.
func TestRun_RemovesOnlyTheOldestBeyondTheNumberToKeep(t *testing.T) {
	s := newSite()
	for i := range 3 {
		s.writes(today.AddDays(-i), "a.dat", "a")
	}
	s.run(t)
	s.writesAt(today.AddDays(-2), "a.dat", "changed", 0)
	s.run(t)
	s.config.Keep = 2
	s.run(t)
	require.NotContains(t, s.holds(), "supim/2026/266/a.dat")
	require.NotContains(t, s.holds(), "supim/2026/266.rev2/a.dat", "its revisions go with a day")
	require.Len(t, s.holds(), 2)

	s.config.Keep = 1
	s.source.Fault = func(op, _ string) error {
		if op == "list" {
			return fs.ErrPermission
		}
		return nil
	}
	s.run(t)
	require.Len(t, s.holds(), 2, "none goes when something failed")
	s.source.Fault = nil
	for range 2 {
		s.run(t)
		require.Equal(t, map[string]string{"supim/2026/268/a.dat": "a"}, s.holds(), "the newest stays")
	}
}

// What is beyond the number to keep goes first only if the new days do not fit
// otherwise, and stays when something failed.
func TestRun_MakesRoomByWhatIsBeyondTheNumberToKeep(t *testing.T) {
	for _, fits := range []bool{true, false} {
		s := newSite()
		usage := diskspace.Usage{Total: 1 << 20, Free: 1 << 20, Avail: 1 << 20}
		if !fits {
			usage.Avail = 0
		}
		s.config.Target = spaceStore{&s.target, usage}
		s.config.Keep, s.config.CatchUp = 1, 30
		for i := range 2 {
			s.writes(today.AddDays(-3-i), "a.dat", "a")
			s.keptBefore(today.AddDays(-3 - i))
		}
		s.writes(today, "a.dat", "does not fit")
		s.source.Fault = func(op, name string) error {
			if op == "open" {
				return fs.ErrPermission
			}
			return nil
		}
		require.Equal(t, report.Failed, s.run(t)[today].Outcome)
		_, there := s.holds()["supim/2026/264/a.dat"]
		require.Equal(t, fits, there)
	}
}

// A slip in the configuration does not cost a year: no run removes more days
// than one can add.
func TestRun_RemovesNoMoreThanARunCanAdd(t *testing.T) {
	s := newSite()
	s.config.Keep, s.config.CatchUp = 1, 3
	for i := range 30 {
		s.keptBefore(today.AddDays(-i))
	}
	k, err := keep.New(s.config)
	require.NoError(t, err)
	p, err := k.Plan(t.Context(), today, today, 2)
	require.NoError(t, err)
	require.Len(t, p.Remove, 4)
	require.Equal(t, today.AddDays(-29), p.Remove[0].Date)
}

// A crash while days are removed leaves no part of one, and the next run
// finishes.
func TestRun_ACrashWhileRemovingLeavesNoPartOfADay(t *testing.T) {
	for n := 1; ; n++ {
		s := newSite()
		for i := range 2 {
			s.writes(today.AddDays(-i), "sub/a.dat", "a")
			s.writes(today.AddDays(-i), "sub/b.dat", "b")
		}
		s.run(t)
		s.config.Keep = 1
		ops, crashed := 0, false
		s.target.Fault = func(op, _ string) error {
			if op == "rename" || op == "remove" {
				if ops++; ops >= n {
					crashed = true
					return errors.New("crash")
				}
			}
			return nil
		}
		_, _ = s.try(t.Context())
		s.target.Fault = nil
		require.NoError(t, transfer.RemoveAll(t.Context(), &s.source, dir(today.AddDays(-1))))
		parts := 0
		for name := range s.holds() {
			if strings.HasPrefix(name, "supim/2026/267/") {
				parts++
			}
		}
		require.Contains(t, []int{0, 2}, parts, "crash at step %d", n)
		s.config.Keep = 2
		s.run(t)
		require.Len(t, s.holds(), 2+parts, "after a crash at step %d", n)
		require.NotContains(t, strings.Join(s.target.Names(), "\n"), "trash")
		if !crashed {
			return
		}
	}
}

// A corrupted kept file is found by Verify, and named; so is a missing one.
func TestVerify_NamesACorruptedFile(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "aaaa")
	s.writes(today, "b.dat", "bbbb")
	s.writes(today, "c.dat", "cccc")
	s.run(t)
	info, err := s.target.Stat(t.Context(), "supim/2026/268/a.dat")
	require.NoError(t, err)
	s.target.Put(info, []byte("aXaa")) // same size, same time
	require.NoError(t, s.target.Remove(t.Context(), "supim/2026/268/b.dat"))

	k, err := keep.New(s.config)
	require.NoError(t, err)
	kept, err := k.Kept(t.Context())
	require.NoError(t, err)
	n, err := k.Verify(t.Context(), kept[0])
	require.Equal(t, 1, n)
	ve, ok := errors.AsType[*keep.VerifyError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []string{"a.dat"}, ve.Corrupt)
	require.Equal(t, []string{"b.dat"}, ve.Missing)

	s.target.Put(info, []byte("aaaa"))
	_, err = k.Verify(t.Context(), kept[0])
	ve, ok = errors.AsType[*keep.VerifyError](err)
	require.True(t, ok, "%v", err)
	require.Empty(t, ve.Corrupt)
	require.Equal(t, []string{"b.dat"}, ve.Missing)

	// A daily run finds it as well.
	s.target.Put(info, []byte("aXaa"))
	s.target.Put(transfer.Info{Name: "supim/2026/268/b.dat", ModTime: info.ModTime}, []byte("bbbb"))
	r := s.run(t)[today]
	require.Equal(t, report.Failed, r.Outcome)
	require.ErrorContains(t, r.Err, "a.dat")
}

// Damage to a kept day is not taken for a change at the source: whatever it did
// to size and time, the run fails, names the file, and fetches the day whole
// beside it. Nothing of the damage gets there.
func TestRun_TellsDamageFromAChange(t *testing.T) {
	name := "supim/2026/268/a.dat"
	damages := map[string]func(s *site, info transfer.Info){
		"a byte, with size and time as they were": func(s *site, info transfer.Info) { s.target.Put(info, []byte("aXaa")) },
		"a byte and the time":                     func(s *site, info transfer.Info) { info.ModTime = now; s.target.Put(info, []byte("aXaa")) },
		"cut short":                               func(s *site, info transfer.Info) { s.target.Put(info, []byte("a")) },
		"removed":                                 func(s *site, info transfer.Info) { _ = s.target.Remove(context.Background(), name) },
	}
	for what, damage := range damages {
		for _, changed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, source changed: %v", what, changed), func(t *testing.T) {
				s := newSite()
				s.writes(today, "a.dat", "aaaa")
				s.writes(today, "b.dat", "bbbb")
				s.run(t)
				info, err := s.target.Stat(t.Context(), name)
				require.NoError(t, err)
				damage(s, info)
				if changed {
					s.writesAt(today, "b.dat", "BBBB", 10*time.Minute)
				}
				for range 2 { // and it stays so until somebody has looked
					r := s.run(t)[today]
					require.Equal(t, report.Failed, r.Outcome)
					require.ErrorContains(t, r.Err, "a.dat")
				}
				require.Equal(t, "aaaa", s.holds()["supim/2026/268.rev2/a.dat"])
				require.NotContains(t, s.holds(), "supim/2026/268.rev3/a.dat")
				require.NoError(t, transfer.RemoveAll(t.Context(), &s.target, "supim/2026/268"))
				require.Equal(t, report.OK, s.run(t)[today].Outcome)
				s.writesAt(today, "c.dat", "c", 20*time.Minute)
				require.Equal(t, "supim/2026/268.rev3", s.run(t)[today].Target)
			})
		}
	}
}

// A kept file that cannot be read is damage, not a file without a sum.
func TestRun_FailsOnAKeptFileThatCannotBeRead(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	s.run(t)
	s.target.Fault = func(op, name string) error {
		if op == "open" && name == "supim/2026/268/a.dat" {
			return syscall.EIO
		}
		return nil
	}
	r := s.run(t)[today]
	require.Equal(t, report.Failed, r.Outcome)
	require.ErrorContains(t, r.Err, "read a.dat")
}

// What is fetched again for damage must fit as well, and what fails is not
// made a warning by a folder without a manifest.
func TestRun_DoesNotFetchADamagedDayThatDoesNotFit(t *testing.T) {
	for _, manifest := range []bool{true, false} {
		s := newSite()
		s.writes(today, "a.dat", "aaaa")
		s.run(t)
		name := "supim/2026/268/" + keep.ManifestName
		if !manifest {
			require.NoError(t, s.target.Remove(t.Context(), name))
			s.writesAt(today, "a.dat", "bbbb", 10*time.Minute)
		} else {
			info, err := s.target.Stat(t.Context(), "supim/2026/268/a.dat")
			require.NoError(t, err)
			s.target.Put(info, []byte("aXaa"))
		}
		s.config.Target = spaceStore{&s.target, diskspace.Usage{Total: 1 << 20}}
		r := s.run(t)[today]
		require.Equal(t, report.Failed, r.Outcome, "manifest: %v", manifest)
		require.ErrorIs(t, r.Err, syscall.ENOSPC)
		require.Len(t, s.holds(), 1)
	}
}

// failingSpace is a target whose space cannot be measured.
type failingSpace struct{ *storetest.Mem }

func (failingSpace) Usage(context.Context, string) (diskspace.Usage, error) {
	return diskspace.Usage{}, syscall.EIO
}

// Days go to make room only when room is known to be lacking.
func TestRun_RemovesNothingWhenSpaceCannotBeMeasured(t *testing.T) {
	s := newSite()
	s.config.Target, s.config.Keep = failingSpace{&s.target}, 1
	for i := range 3 {
		s.keptBefore(today.AddDays(-3 - i))
	}
	s.writes(today, "a.dat", "a")
	require.Equal(t, report.Failed, s.run(t)[today].Outcome)
	require.Len(t, s.holds(), 3)
}

// A file that became a folder at the source is a change like any other.
func TestRun_KeepsAFileThatBecameAFolder(t *testing.T) {
	s := newSite()
	s.writes(today, "a", "file")
	s.writes(today, "b", "b")
	s.run(t)
	require.NoError(t, s.source.Remove(t.Context(), dir(today)+"/a"))
	s.writes(today, "a/new", "in a folder")
	r := s.run(t)[today]
	require.Equal(t, report.Warning, r.Outcome, "%v", r.Err)
	require.True(t, r.Kept, "%v %v", r.Err, r.Notes)
	require.Equal(t, "file", s.holds()["supim/2026/268/a"])
	require.Equal(t, "in a folder", s.holds()["supim/2026/268.rev2/a/new"])
	require.Equal(t, keep.Held, s.run(t)[today].State)
}

// A folder that cannot be listed is told of as long as it is so.
func TestRun_NamesAFolderThatCannotBeListedEachTime(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	s.writes(today, "sub/b.dat", "b")
	s.source.Fault = func(op, name string) error {
		if op == "list" && strings.HasSuffix(name, "/sub") {
			return fs.ErrPermission
		}
		return nil
	}
	for range 2 {
		r := s.run(t)[today]
		require.Equal(t, report.Warning, r.Outcome)
		require.Contains(t, fmt.Sprint(r.Err, r.Notes), "sub")
	}
}

// A file that comes while a day is fetched is not kept unsettled.
func TestRun_DoesNotKeepAFileThatCameMeanwhile(t *testing.T) {
	s := newSite()
	s.writes(today.AddDays(-1), "a.dat", "a")
	s.writes(today, "a.dat", "a")
	s.source.Fault = func(op, name string) error {
		if op == "read" {
			s.source.Fault = nil
			s.writesAt(today, "late.dat", "first half", time.Hour)
		}
		return nil
	}
	r := s.run(t)[today]
	require.ErrorIs(t, r.Err, transfer.ErrChanged)
	require.False(t, r.Kept)
}

// Folders that this package has not kept, and days to come, push out no kept
// day and do not go.
func TestRun_CountsOnlyWhatItHasKept(t *testing.T) {
	s := newSite()
	s.config.Keep = 3
	for i := range 3 {
		s.writes(today.AddDays(-i), "a.dat", "a")
	}
	s.target.Put(transfer.Info{Name: "supim/2026/100/theirs"}, nil)
	s.target.Put(transfer.Info{Name: "supim/2030/001/theirs"}, nil)
	s.keptBefore(julian.Date{Year: 2030, Day: 2})
	s.run(t)
	s.run(t)
	require.Len(t, s.holds(), 6)
}

// A day of links alone is a day.
func TestRun_KeepsADayOfLinks(t *testing.T) {
	s := newSite()
	require.NoError(t, s.source.Symlink(t.Context(), transfer.Info{Name: dir(today) + "/latest", Target: "../267", ModTime: now.Add(-time.Hour)}))
	require.True(t, s.run(t)[today].Kept)
	require.Equal(t, keep.Held, s.run(t)[today].State)
}

// A manifest that has lost lines does not vouch for the other files.
func TestRun_WarnsOfFilesWithoutASum(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	s.run(t)
	info, err := s.target.Stat(t.Context(), "supim/2026/268/"+keep.ManifestName)
	require.NoError(t, err)
	s.target.Put(info, nil)
	r := s.run(t)[today]
	require.Equal(t, report.Warning, r.Outcome)
	require.Equal(t, 1, r.Unverified)
}

// A folder that somebody else put in a day's place is not overwritten, and
// not taken for verified.
func TestRun_LeavesAFolderWithoutAManifestAlone(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	info, err := s.source.Stat(t.Context(), dir(today)+"/a.dat")
	require.NoError(t, err)
	info.Name = "supim/2026/268/a.dat"
	s.target.Put(info, []byte("?"))
	r := s.run(t)[today]
	require.Equal(t, report.Warning, r.Outcome)
	require.ErrorIs(t, r.Err, keep.ErrNoManifest)
	require.Equal(t, 1, r.Unverified)
	require.Equal(t, map[string]string{info.Name: "?"}, s.holds())
}

// A context that ends stops the run, and the next goes on.
func TestRun_StopsWithItsContext(t *testing.T) {
	s := newSite()
	s.writes(today, "a.dat", "a")
	ctx, cancel := context.WithCancel(t.Context())
	s.source.Fault = func(op, _ string) error {
		if op == "read" {
			cancel()
		}
		return nil
	}
	results, err := s.try(ctx)
	require.True(t, err != nil || results[today].Outcome == report.Failed)
	s.source.Fault = nil
	require.True(t, s.run(t)[today].Kept)
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	rows := map[string]func(*keep.Config){
		"no source":                                   func(c *keep.Config) { c.Source = nil },
		"a pattern that names no day":                 func(c *keep.Config) { c.SourceDays = julian.MustParsePattern("%Y/x") },
		"a target pattern without days":               func(c *keep.Config) { c.TargetDays = julian.MustParsePattern("%Y") },
		"a pattern with hours":                        func(c *keep.Config) { c.SourceDays = julian.MustParsePattern("%Y/%j/%H") },
		"a target pattern with the mark of revisions": func(c *keep.Config) { c.TargetDays = julian.MustParsePattern("%Y/%j.rev2") },
		"a negative number to keep":                   func(c *keep.Config) { c.Keep = -1 },
		"a marker outside the day":                    func(c *keep.Config) { c.Marker = "../DONE" },
	}
	for name, spoil := range rows {
		t.Run(name, func(t *testing.T) {
			c := newSite().config
			spoil(&c)
			_, err := keep.New(c)
			require.Error(t, err)
		})
	}
}

// The manifest of a kept day is one that sha256sum reads.
func TestRun_WritesAManifestThatSha256sumReads(t *testing.T) {
	if _, err := exec.LookPath("sha256sum"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := newSite()
	for _, name := range []string{"a.dat", "sub/b.dat", "line\nbreak", "back\\slash", "\xff", " space", "#hash", "-"} {
		s.writes(today, name, name)
	}
	disk := t.TempDir()
	target, err := dirstore.Open(disk)
	require.NoError(t, err)
	defer target.Close()
	s.config.Target = target
	top := transfer.Info{Name: dir(today), Mode: fs.ModeDir | 0o750, ModTime: now.Add(-2 * time.Hour)}
	require.NoError(t, s.source.SetInfo(t.Context(), top))
	r := s.run(t)[today]
	require.True(t, r.Kept, "%v", r.Err)
	folder, err := target.Stat(t.Context(), "supim/2026/268")
	require.NoError(t, err)
	require.True(t, top.ModTime.Equal(folder.ModTime), "the folder has the time of its source: %v", folder.ModTime)
	require.Equal(t, top.Mode, folder.Mode)
	cmd := exec.Command("sha256sum", "--check", "--strict", "--quiet", keep.ManifestName)
	cmd.Dir = filepath.Join(disk, "supim/2026/268")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	text, err := os.ReadFile(filepath.Join(cmd.Dir, keep.ManifestName))
	require.NoError(t, err)
	require.Equal(t, 8, bytes.Count(text, []byte("\n")))
}
