package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/internal/disk/disktest"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/internal/filelock"
	"github.com/obskeep/obskeep/julian"
)

var day = julian.Date{Year: 2026, Day: 268}

func at(hour, minute int) time.Time {
	return day.In(time.UTC).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
}

func sevens(slot int) sample.Value { return sample.Value(slot * 7) }

// opened is a world with a feed.
func opened(t *testing.T, now time.Time, cut ingest.Cut) *world {
	t.Helper()
	w := newWorld(now, 1, cut)
	require.NoError(t, w.open())
	return w
}

// sweep lets time go on, and sweeps.
func (w *world) sweep(t *testing.T, after time.Duration) {
	t.Helper()
	w.now = w.now.Add(after)
	require.NoError(t, w.feed.Sweep(t.Context()))
}

// put makes the file of a day hold the rows of these slots.
func (w *world) put(first, end int, value func(int) sample.Value) {
	w.write(w.streams[0], day, text(rowsOf(day, first, end, value), 2))
}

// has checks which rows the receiver has, and that nothing came twice.
func (w *world) has(t *testing.T, first, end int, value func(int) sample.Value) {
	t.Helper()
	want := map[int64]sample.Row{}
	for _, r := range rowsOf(day, first, end, value) {
		want[r.Time] = r
	}
	require.Empty(t, cmp.Diff(want, w.to.values["s0"]))
	require.Zero(t, w.to.equal)
	require.Empty(t, w.to.again)
}

// A growing file is delivered piece by piece, and each row once.
func TestSweep_SendsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	for minute := 60; minute < 120; minute += 5 {
		w.put(0, minute, sevens)
		w.sweep(t, 5*time.Minute)
		w.has(t, 0, minute, sevens)
	}
	require.Len(t, w.to.files, 12)
}

// However a file has changed, what the receiver has in the end is what the file has, or
// had, and each row came once.
func TestSweep_SeesEveryChangeOfAFile(t *testing.T) {
	t.Parallel()
	corrected := func(slot int) sample.Value {
		if slot == 20 {
			return 5
		}
		return sevens(slot)
	}
	for name, c := range map[string]struct {
		change  func(w *world)
		want    func(int) sample.Value
		rows    int
		batches int
	}{
		"is as it was":          {func(w *world) {}, sevens, 60, 1},
		"is touched":            {func(w *world) { w.put(0, 60, sevens) }, sevens, 60, 1},
		"grows":                 {func(w *world) { w.put(0, 65, sevens) }, sevens, 65, 2},
		"is corrected":          {func(w *world) { w.put(0, 60, corrected) }, corrected, 60, 2},
		"grows corrected":       {func(w *world) { w.put(0, 65, corrected) }, corrected, 65, 3},
		"is truncated":          {func(w *world) { w.put(0, 30, sevens) }, sevens, 60, 1},
		"is truncated and back": {func(w *world) { w.put(0, 30, sevens); w.feed.Sweep(context.Background()); w.put(0, 65, sevens) }, sevens, 65, 2},
		"begins later":          {func(w *world) { w.put(40, 65, sevens) }, sevens, 65, 2},
		"is gone":               {func(w *world) { clear(w.fs) }, sevens, 60, 1},
		"is gone and back": {func(w *world) {
			clear(w.fs)
			w.feed.Sweep(context.Background())
			w.put(0, 65, sevens)
		}, sevens, 65, 2},
		"is torn": {func(w *world) {
			data := text(rowsOf(day, 0, 66, sevens), 2)
			w.write(w.streams[0], day, data[:len(data)-3])
		}, sevens, 65, 2},
		"has nonsense": {func(w *world) {
			w.write(w.streams[0], day, slices.Concat([]byte("\x00\x00\x00\n12 ab\n"), text(rowsOf(day, 0, 65, sevens), 2)))
		}, sevens, 65, 2},
		"is not sorted": {func(w *world) {
			rows := rowsOf(day, 0, 65, sevens)
			slices.Reverse(rows)
			w.write(w.streams[0], day, text(rows, 2))
		}, sevens, 65, 2},
		"says rows twice": {func(w *world) {
			w.write(w.streams[0], day, text(slices.Concat(rowsOf(day, 0, 65, sevens), rowsOf(day, 50, 65, sevens)), 2))
		}, sevens, 65, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := opened(t, at(1, 0), ingest.Cut{Least: 2})
			w.put(0, 60, sevens)
			w.sweep(t, 0)
			w.now = w.now.Add(5 * time.Minute)
			c.change(w)
			w.sweep(t, 5*time.Second)
			w.sweep(t, 5*time.Second)
			w.has(t, 0, c.rows, c.want)
			require.Len(t, w.to.files, c.batches)
		})
	}
}

// A file that is filled in at its size, with the time that it had, is seen when all of
// it is read again.
func TestSweep_SeesInTimeWhatCannotBeSeen(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	w.put(0, 60, func(slot int) sample.Value { return sample.Value(100 + slot%10) })
	w.sweep(t, 0)
	file := w.fs[w.streams[0].Source.File(day)]
	then := file.ModTime
	w.put(0, 60, func(slot int) sample.Value { return sample.Value(900 - slot%10) })
	w.fs[w.streams[0].Source.File(day)].ModTime = then
	w.sweep(t, time.Minute)
	require.Len(t, w.to.files, 1)
	w.sweep(t, 10*time.Minute)
	w.has(t, 0, 60, func(slot int) sample.Value { return sample.Value(900 - slot%10) })
}

// A last line without an end is taken when it has stood for a minute.
func TestSweep_TakesALastLineThatStands(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 1})
	data := text(rowsOf(day, 0, 60, sevens), 2)
	w.write(w.streams[0], day, data[:len(data)-1])
	w.sweep(t, 0)
	w.has(t, 0, 59, sevens)
	w.sweep(t, 30*time.Second)
	w.has(t, 0, 59, sevens)
	w.sweep(t, 30*time.Second)
	w.has(t, 0, 60, sevens)

	// One that was not whole is corrected when it is.
	data = text(rowsOf(day, 0, 62, sevens), 2)
	w.now = w.now.Add(time.Minute)
	w.write(w.streams[0], day, data[:len(data)-2])
	w.sweep(t, 0)
	w.sweep(t, time.Minute)
	require.Equal(t, -sevens(61)/10, w.to.values["s0"][at(1, 1).UnixMilli()].Values[1])
	w.write(w.streams[0], day, data)
	w.sweep(t, time.Second)
	w.has(t, 0, 62, sevens)
}

// Rows of another day in a file are delivered, and change nothing of what that day's own
// file says.
func TestSweep_TakesRowsOfAnotherDay(t *testing.T) {
	t.Parallel()
	w := opened(t, at(23, 59), ingest.Cut{Least: 1})
	w.put(1430, 1438, sevens)
	w.sweep(t, 0)
	next := day.AddDays(1)
	w.now = next.In(time.UTC).Add(2 * time.Minute)
	wrong := func(slot int) sample.Value { return 1 }
	w.write(w.streams[0], next, text(slices.Concat(rowsOf(day, 1437, 1440, wrong), rowsOf(next, 0, 2, sevens)), 2))
	w.sweep(t, 0)
	require.Len(t, w.to.values["s0"], 12)
	require.Equal(t, sevens(1437), w.to.values["s0"][at(23, 57).UnixMilli()].Values[0])
	require.EqualValues(t, 1, w.to.values["s0"][at(23, 58).UnixMilli()].Values[0])
}

// A batch is offered again only after it was asked for, byte for byte as it was.
func TestSweep_AsksBeforeItOffersAgain(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	w.put(0, 60, sevens)
	var asked, offered []string
	w.to.fault = func(when string) bool {
		switch when {
		case "cut before":
			offered = append(offered, when)
			return len(offered) == 1
		case "no answer":
			asked = append(asked, when)
			return len(asked) == 1
		}
		return when == "reply lost"
	}
	w.sweep(t, 0)
	require.Len(t, offered, 1)
	require.Len(t, asked, 1)
	w.put(0, 70, sevens)
	w.sweep(t, 10*time.Minute) // it is not there: it is offered again, its reply is lost, and it is there
	w.has(t, 0, 70, sevens)
	require.Len(t, offered, 3)
	require.Len(t, w.to.files, 2)
	require.Len(t, asked, 4)
	require.Empty(t, w.to.again)
	require.Zero(t, w.to.repeated)
}

// A sink that cannot be asked is offered a batch again, byte for byte.
func TestSweep_RepeatsAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(at(1, 0), 1, ingest.Cut{Least: 2})
	w.sink = deaf{w.to}
	require.NoError(t, w.open())
	w.put(0, 60, sevens)
	w.to.fault = func(when string) bool { return when == "reply lost" && len(w.to.files) < 2 }
	w.sweep(t, 0)
	w.put(0, 70, sevens)
	w.to.fault = nil
	w.sweep(t, time.Minute)
	require.Equal(t, 1, w.to.repeated)
}

// deaf is a receiver that cannot be asked.
type deaf struct{ *receiver }

func (d deaf) Ask() {} // another method than that of an Asker

// Older values of a row never follow newer ones.
func TestSweep_NeverSendsOlderOverNewer(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	w.put(0, 60, sevens)
	answers := false
	w.to.fault = func(when string) bool { return !answers && (when == "cut before" || when == "no answer") }
	w.sweep(t, 0) // in doubt
	newer := func(slot int) sample.Value { return sevens(slot) + 1 }
	w.put(0, 60, newer)
	var order []sample.Value
	w.to.stored = func(b *ingest.Batch) { order = append(order, b.Rows[30].Values[0]) }
	answers = true
	w.sweep(t, time.Minute)
	w.sweep(t, time.Minute)
	require.Equal(t, []sample.Value{sevens(30), newer(30)}, order)
	w.has(t, 0, 60, newer)
}

// A value that was accepted is never replaced by a missing one.
func TestSweep_NeverTakesAValueBack(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	rows := rowsOf(day, 0, 65, sevens)
	rows[10].Values[0] = sample.Missing
	rows[11].Values = rowsOf(day, 11, 12, func(int) sample.Value { return sample.Missing })[0].Values
	rows[12].Values[0], rows[12].Values[1] = sample.Missing, 4
	w.write(w.streams[0], day, text(rows, 2))
	w.sweep(t, time.Minute)
	want := rowsOf(day, 0, 65, sevens)
	want[12].Values[1] = 4
	for i, r := range want {
		require.Equal(t, r, w.to.values["s0"][r.Time], i)
	}
}

// No more batches are offered on a day than the budget has, and the newest rows find room
// while a backlog is drained.
func TestSweep_KeepsToTheBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(at(0, 0), 1, ingest.Cut{Least: 2})
	w.perDay = 100
	require.NoError(t, w.open())
	offered, live := 0, 0
	w.to.stored = func(b *ingest.Batch) {
		offered++
		if b.Kind == ingest.Live {
			live++
		}
	}
	yesterday := day.AddDays(-1)
	var gaps []sample.Row // 300 runs, of which each is a batch
	for slot := 0; slot < 1200; slot += 4 {
		gaps = append(gaps, rowsOf(yesterday, slot, slot+2, sevens)...)
	}
	w.write(w.streams[0], yesterday, text(gaps, 2))
	for minute := 0; minute < 1438; minute += 2 {
		w.put(0, minute, sevens)
		w.sweep(t, 2*time.Minute)
	}
	require.LessOrEqual(t, offered, 100)
	require.GreaterOrEqual(t, offered, 95)
	require.GreaterOrEqual(t, live, 75)
}

// A damaged journal is an error, never a guess.
func TestOpen_RefusesADamagedJournal(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	for minute := 60; minute < 80; minute += 5 {
		w.put(0, minute, sevens)
		w.sweep(t, 5*time.Minute)
	}
	f, err := w.disk.Open("journal", false)
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	whole := make([]byte, size)
	_, err = f.ReadAt(whole, 0)
	require.NoError(t, err)
	last := strings.LastIndexByte(strings.TrimSuffix(string(whole), "\n"), '\n') + 1
	for off := range whole {
		damaged := slices.Clone(whole)
		damaged[off] ^= 0x40
		d := disktest.New()
		f, err := d.Open("journal", true)
		require.NoError(t, err)
		_, err = f.WriteAt(damaged, 0)
		require.NoError(t, err)
		_, err = ingest.OpenOn(w.config(), d)
		if off >= last {
			require.NoError(t, err, "the last line may be torn")
			continue
		}
		damage, ok := errors.AsType[*ingest.DamageError](err)
		require.True(t, ok, "byte %d of %d: %v", off, size, err)
		require.LessOrEqual(t, damage.Offset, int64(off))
	}
	for end := last; end < len(whole); end++ { // a power cut leaves any part of the last line
		d := disktest.New()
		f, err := d.Open("journal", true)
		require.NoError(t, err)
		_, err = f.WriteAt(whole[:end], 0)
		require.NoError(t, err)
		_, err = ingest.OpenOn(w.config(), d)
		require.NoError(t, err, "byte %d of %d", end, size)
	}
}

// Nothing is delivered of a file that says that it is of something else.
func TestSweep_DeliversNothingOfSomethingElse(t *testing.T) {
	t.Parallel()
	good := sample.Series{Station: "TST", Elements: elements, Cadence: time.Minute, Level: sample.Variation}
	for want, change := range map[string]func(*sample.Series){
		"the file is of station ABC, want TST":                                    func(s *sample.Series) { s.Station = "ABC" },
		"the file has the elements H.2 Y.2 (with so many decimals), want X.2 Y.2": func(s *sample.Series) { s.Elements = []sample.Element{{Name: "H", Decimals: 2}, elements[1]} },
		"the file has the elements X.1 Y.2 (with so many decimals), want X.2 Y.2": func(s *sample.Series) { s.Elements = []sample.Element{{Name: "X", Decimals: 1}, elements[1]} },
		"the file has a row every 1s, want every 1m0s":                            func(s *sample.Series) { s.Cadence = time.Second },
		"the file has definitive data, want variation":                            func(s *sample.Series) { s.Level = sample.Definitive },
		"": func(s *sample.Series) { *s = sample.Series{} },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			w := newWorld(at(1, 0), 1, ingest.Cut{Least: 2})
			says := good
			change(&says)
			w.streams[0].Source.Parser = func(string) sample.Parser { return says2{lines{elements}, says} }
			require.NoError(t, w.open())
			w.put(0, 60, sevens)
			err := w.feed.Sweep(t.Context())
			if want == "" {
				require.NoError(t, err)
				require.Len(t, w.to.files, 1)
				return
			}
			require.ErrorContains(t, err, want)
			require.Empty(t, w.to.files)
		})
	}
}

// says2 is a parser of files that say what they are.
type says2 struct {
	lines
	series sample.Series
}

func (p says2) Series() sample.Series { return p.series }

// A row in the future is delivered when its time has come, also if the file does not change
// any more: the clock may have been wrong. One of days ahead is none.
func TestSweep_HoldsBackTheFuture(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 30), ingest.Cut{Least: 2})
	w.put(0, 80, sevens)
	w.sweep(t, 0)
	w.put(0, 90, sevens)
	w.sweep(t, -time.Hour) // the clock is set back
	w.has(t, 0, 80, sevens)
	w.sweep(t, 61*time.Minute)
	w.has(t, 0, 90, sevens)

	w = opened(t, at(1, 0), ingest.Cut{Least: 2})
	w.put(0, 90, sevens)
	w.sweep(t, 0)
	w.has(t, 0, 66, sevens) // clocks may be five minutes apart
	w.sweep(t, 9*time.Minute)
	w.has(t, 0, 75, sevens)
	require.Zero(t, w.feed.Counts().Quarantined)
	rows := append(rowsOf(day, 0, 90, sevens), rowsOf(day.AddDays(2), 0, 3, sevens)...)
	w.write(w.streams[0], day, text(rows, 2))
	w.sweep(t, time.Hour)
	w.has(t, 0, 90, sevens)
	require.Equal(t, 3, w.feed.Counts().Quarantined)
}

// Rows that are too young for the stream are held back until they are not.
func TestSweep_HoldsBackByAge(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2, Age: 20 * time.Minute})
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	w.has(t, 0, 41, sevens)
	w.sweep(t, 10*time.Minute)
	w.has(t, 0, 51, sevens)
}

// What is held back at the end of a day goes with the rows before it, also when the next
// day has begun.
func TestSweep_HoldsBackByAgeOverMidnight(t *testing.T) {
	t.Parallel()
	w := opened(t, at(23, 0), ingest.Cut{Every: 10 * time.Minute, Least: 2, Fill: 10, Age: 30 * time.Minute})
	for minute := 23 * 60; minute < 24*60+60; minute++ {
		w.put(23*60, min(minute, 24*60), sevens)
		if next := minute - 24*60; next > 0 {
			w.write(w.streams[0], day.AddDays(1), text(rowsOf(day.AddDays(1), 0, next, sevens), 2))
		}
		w.sweep(t, time.Minute)
	}
	require.LessOrEqual(t, len(w.to.files), 10)
	for _, r := range rowsOf(day, 23*60, 24*60, sevens) {
		require.Equal(t, r, w.to.values["s0"][r.Time])
	}
	require.Zero(t, w.to.equal)
}

// While the receiver is away the status knows what waits, of files too that were never
// offered.
func TestStatus_KnowsWhatWaitsWhileTheReceiverIsAway(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	away := true
	w.to.fault = func(when string) bool { return away && when == "not now" }
	w.write(w.streams[0], day.AddDays(-1), text(rowsOf(day.AddDays(-1), 0, 1440, sevens), 2))
	w.write(w.streams[0], day.AddDays(-2), text(rowsOf(day.AddDays(-2), 0, 1440, sevens), 2))
	w.put(0, 60, sevens)
	waiting := func() (n int) {
		status, err := w.feed.Status()
		require.NoError(t, err)
		for _, d := range status.Streams[0].Days {
			n += d.Waiting
		}
		return n
	}
	w.sweep(t, 0)
	require.Equal(t, 2940, waiting())
	w.put(0, 70, sevens)
	w.sweep(t, 10*time.Minute)
	require.Equal(t, 2950, waiting())
	away = false
	w.sweep(t, 10*time.Minute)
	require.Zero(t, waiting())
	require.Len(t, w.to.values["s0"], 2950)
}

// When the clock is set back, nothing waits for a time that it told before.
func TestSweep_BelievesNoTimeOfAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	w := opened(t, at(2, 0), ingest.Cut{Every: 20 * time.Minute, Least: 1})
	away := true
	w.to.fault = func(when string) bool { return away && when == "not now" }
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	away = false
	w.put(0, 61, sevens)
	w.sweep(t, -time.Hour)
	w.sweep(t, 21*time.Minute)
	w.has(t, 0, 61, sevens)
}

// The same rows make the same batches.
func TestSweep_MakesTheSameBatchesOfTheSameRows(t *testing.T) {
	t.Parallel()
	var first map[string]string
	for range 3 {
		w := opened(t, at(1, 0), ingest.Cut{Least: 2})
		for minute := 60; minute < 100; minute += 7 {
			w.put(0, minute, sevens)
			w.sweep(t, 7*time.Minute)
		}
		if first == nil {
			first = w.to.files
		}
		require.Equal(t, first, w.to.files)
	}
}

// One process at a time has the state.
func TestOpen_OneHasTheState(t *testing.T) {
	t.Parallel()
	w := newWorld(at(1, 0), 1, ingest.Cut{})
	c := w.config()
	c.Dir = t.TempDir()
	f, err := ingest.Open(c)
	require.NoError(t, err)
	_, err = ingest.Open(c)
	require.ErrorIs(t, err, filelock.ErrLocked)
	require.NoError(t, f.Close())
	f, err = ingest.Open(c)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Error(t, f.Sweep(t.Context()))
}

// After an outage of the sink, older rows go in few batches, and the newest first.
func TestSweep_MergesABacklog(t *testing.T) {
	t.Parallel()
	w := newWorld(day.In(time.UTC).Add(-72*time.Hour), 1, ingest.Cut{Least: 2, Every: 5 * time.Minute})
	require.NoError(t, w.open())
	down := true
	w.to.fault = func(when string) bool { return down && when == "not now" }
	var kinds []ingest.Kind
	var days []julian.Date
	w.to.stored = func(b *ingest.Batch) {
		kinds, days = append(kinds, b.Kind), append(days, julian.DateOf(b.Start()))
	}
	for d := range 3 {
		date := day.AddDays(d - 3)
		for hour := range 24 {
			w.now = date.In(time.UTC).Add(time.Duration(hour+1) * time.Hour)
			w.write(w.streams[0], date, text(rowsOf(date, 0, (hour+1)*60, sevens), 2))
			w.sweep(t, 0)
		}
	}
	down = false
	w.now = at(0, 10)
	w.put(0, 10, sevens)
	w.sweep(t, 0)
	w.sweep(t, 0)
	require.Len(t, w.to.values["s0"], 3*1440+10)
	require.LessOrEqual(t, len(kinds), 6)
	require.Zero(t, w.to.equal)
}

// What has not come by the deadline is declared missing, once, and delivered if it comes.
func TestSweep_DeclaresWhatNeverCame(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	rows := rowsOf(day, 0, 1440, sevens)
	w.write(w.streams[0], day, text(slices.Delete(slices.Clone(rows), 100, 150), 2))
	w.sweep(t, 24*time.Hour)
	status, err := w.feed.Status()
	require.NoError(t, err)
	require.Equal(t, []ingest.Span{{First: at(1, 40), Last: at(2, 29), Rows: 50}}, status.Streams[0].Days[1].Holes)
	w.sweep(t, 68*time.Hour)
	require.Zero(t, w.feed.Counts().Missing)
	for range 3 {
		w.sweep(t, time.Hour)
	}
	require.Equal(t, 50, w.feed.Counts().Missing)
	status, err = w.feed.Status()
	require.NoError(t, err)
	require.Equal(t, day, status.Closed)
	require.NoError(t, w.feed.Close())
	require.NoError(t, w.open())
	w.sweep(t, time.Hour)
	require.Zero(t, w.feed.Counts().Missing, "it was declared")
	w.put(0, 1440, sevens)
	w.sweep(t, time.Hour)
	w.has(t, 0, 1440, sevens)
}

// A day of which something is left to be delivered is not given up, however old it is.
func TestSweep_GivesNothingUpThatTheSinkDidNotTake(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	w.to.fault = func(when string) bool { return when == "not now" }
	w.put(0, 60, sevens)
	for range 30 {
		w.sweep(t, 24*time.Hour)
	}
	w.feed, w.to.fault = nil, nil
	require.NoError(t, w.open())
	w.sweep(t, time.Hour)
	w.has(t, 0, 60, sevens)
}

// Status tells how far each stream has come.
func TestStatus_TellsHowFar(t *testing.T) {
	t.Parallel()
	w := newWorld(at(1, 30).AddDate(0, 0, -1), 1, ingest.Cut{Least: 2, Every: 30 * time.Minute})
	w.perDay = 1000
	require.NoError(t, w.open())
	w.now = at(1, 30)
	rows := slices.Delete(rowsOf(day, 0, 90, sevens), 20, 30)
	w.write(w.streams[0], day, text(rows, 2))
	w.sweep(t, 0)
	status, err := w.feed.Status()
	require.NoError(t, err)
	today := status.Streams[0].Days[0]
	require.Equal(t, ingest.DayStatus{
		Day: day, Expected: 91, Accepted: 80, Holes: []ingest.Span{{First: at(0, 20), Last: at(0, 29), Rows: 10}},
	}, today)
	require.Equal(t, at(1, 29), status.Streams[0].Newest)
	require.Equal(t, []int{2, 1000, 0, 0}, []int{status.Offered, status.PerDay, status.UnderWay, status.InDoubt})

	yesterday := day.AddDays(-1)
	w.write(w.streams[0], yesterday, text(rowsOf(yesterday, 0, 1400, sevens), 2))
	w.sweep(t, time.Minute)
	status, err = w.feed.Status()
	require.NoError(t, err)
	require.Equal(t, 40, status.Streams[0].Days[1].Holes[0].Rows, "at its end")

	w.to.fault = func(when string) bool { return when == "reply lost" || when == "no answer" }
	w.write(w.streams[0], day, text(slices.Concat(rows, rowsOf(day, 90, 140, sevens)), 2))
	w.sweep(t, 50*time.Minute)
	status, err = w.feed.Status()
	require.NoError(t, err)
	require.Equal(t, []int{1, 1}, []int{status.UnderWay, status.InDoubt})
	require.Equal(t, 50, status.Streams[0].Days[0].Waiting)
	require.Equal(t, w.now.Add(time.Second), status.Until)
}

// Verify compares what the source has, what was accepted, and what is held; what is lost
// can be sent again.
func TestVerify_FindsWhatDiffers(t *testing.T) {
	t.Parallel()
	w := newWorld(at(1, 0), 1, ingest.Cut{Least: 2})
	w.sink = holder{w.to}
	c := w.config()
	c.Dir = t.TempDir()
	f, err := ingest.Open(c)
	require.NoError(t, err)
	defer f.Close()
	w.feed = f
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	checks, err := ingest.Verify(t.Context(), c, day)
	require.NoError(t, err)
	require.Equal(t, []ingest.Check{{Stream: "s0", Day: day, Source: 60, Accepted: 60, Asked: true, Held: 60}}, checks)

	for _, slot := range []int{7, 8, 30} {
		delete(w.to.values["s0"], at(0, slot).UnixMilli())
	}
	w.put(0, 64, sevens)
	checks, err = ingest.Verify(t.Context(), c, day)
	require.NoError(t, err)
	require.Equal(t, []ingest.Check{{
		Stream: "s0", Day: day, Source: 64, Accepted: 60, Asked: true, Held: 57,
		Waiting: []ingest.Span{{First: at(1, 0), Last: at(1, 3), Rows: 4}},
		Lost:    []ingest.Span{{First: at(0, 7), Last: at(0, 8), Rows: 2}, {First: at(0, 30), Last: at(0, 30), Rows: 1}},
	}}, checks)
	require.NoError(t, f.Resend("s0", checks[0].Lost))
	w.sweep(t, 5*time.Minute)
	w.sweep(t, time.Minute)
	checks, err = ingest.Verify(t.Context(), c, day)
	require.NoError(t, err)
	require.Equal(t, []ingest.Check{{Stream: "s0", Day: day, Source: 64, Accepted: 64, Asked: true, Held: 64}}, checks)
	require.ErrorIs(t, f.Resend("no", nil), ingest.ErrConfig)
	require.ErrorIs(t, f.Resend("s0", []ingest.Span{{First: at(0, 0).AddDate(0, 0, -20), Rows: 1}}), ingest.ErrClosed)
}

type holder struct{ *receiver }

func (h holder) Held(_ context.Context, s *ingest.Stream, date julian.Date) ([]sample.Row, error) {
	var rows []sample.Row
	for _, r := range h.values[s.Name] {
		if julian.DateOf(r.UTC()) == date {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// Open says what is wrong with a configuration.
func TestOpen_RefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for i, change := range []func(*ingest.Config){
		func(c *ingest.Config) { c.Sink = nil },
		func(c *ingest.Config) { c.Days = -1 },
		func(c *ingest.Config) { c.PerDay = -1 },
		func(c *ingest.Config) { c.Streams[0].Name = "../s" },
		func(c *ingest.Config) { c.Streams[0].Name = c.Streams[1].Name },
		func(c *ingest.Config) { c.Streams[0].Cadence = 7 * time.Second },
		func(c *ingest.Config) { c.Streams[0].Elements = nil },
		func(c *ingest.Config) { c.Streams[0].Source.FS = nil },
		func(c *ingest.Config) { c.Streams[0].Cut.Least = 3 },
	} {
		w := newWorld(at(1, 0), 2, ingest.Cut{})
		c := w.config()
		change(&c)
		_, err := ingest.OpenOn(c, disktest.New())
		require.ErrorIs(t, err, ingest.ErrConfig, i)
	}
}

// A source that cannot be read is an error, and delays no other stream.
func TestSweep_GoesOnWithoutASource(t *testing.T) {
	t.Parallel()
	w := newWorld(at(1, 0), 2, ingest.Cut{Least: 2})
	w.streams[0].Source.FS = brokenFS{}
	require.NoError(t, w.open())
	w.write(w.streams[1], day, text(rowsOf(day, 0, 60, sevens), 2))
	err := w.feed.Sweep(t.Context())
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "source of s0 of 2026-26")
	require.Len(t, w.to.values["s1"], 60)
}

type brokenFS struct{}

func (brokenFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// Run sweeps at once, at hints, when a batch is due, and every poll, until its end.
func TestRun_SweepsWhenThereIsSomethingToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(time.Now(), 1, ingest.Cut{})
	w.streams[0].Source.FS = os.DirFS(dir)
	w.streams[0].Series.Cadence = time.Second
	c := w.config()
	c.Now, c.Dir = nil, t.TempDir()
	f, err := ingest.Open(c)
	require.NoError(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	hints, swept, ended := make(chan struct{}, 1), make(chan error, 100), make(chan struct{})
	go func() {
		f.Run(ctx, time.Hour, hints, func(err error) { swept <- err })
		close(ended)
	}()
	require.NoError(t, <-swept)
	now := time.Now().Truncate(time.Second)
	tries := 0
	w.to.fault = func(when string) bool {
		if when == "not now" {
			tries++
		}
		return when == "not now" && tries == 1
	}
	name := w.streams[0].Source.File(julian.DateOf(now.UTC()))
	require.NoError(t, os.WriteFile(dir+"/"+name, fmt.Appendf(nil, "%d 1 2\n", now.UnixMilli()), 0o600))
	hints <- struct{}{}
	require.NoError(t, <-swept)
	require.Zero(t, f.Counts().Accepted)
	require.NoError(t, <-swept, "after the sink was left alone for a second")
	require.Equal(t, 1, f.Counts().Accepted)
	cancel()
	<-ended
}

// A row that stands alone is paired with one that is not there, or else with one that
// was delivered, which is counted.
func TestSweep_PairsWhatStandsAlone(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	var batches []*ingest.Batch
	w.to.stored = func(b *ingest.Batch) { batches = append(batches, b) }
	rows := rowsOf(day, 0, 60, sevens)
	w.write(w.streams[0], day, text(slices.Concat(rows[:20], rows[30:31], rows[40:]), 2))
	w.sweep(t, 0)
	require.Len(t, batches, 3)
	alone := batches[slices.IndexFunc(batches, func(b *ingest.Batch) bool { return len(b.Rows) == 2 })]
	require.Equal(t, rows[30], alone.Rows[0])
	require.False(t, alone.Rows[1].Values[0].Measured())
	require.Zero(t, alone.Repeat)

	rows[50].Values[0]++ // among others
	w.write(w.streams[0], day, text(rows, 2))
	w.sweep(t, time.Minute)
	w.sweep(t, time.Minute)
	last := batches[slices.IndexFunc(batches, func(b *ingest.Batch) bool { return b.Kind == ingest.Correction })]
	require.Equal(t, rows[49:51], last.Rows)
	require.Equal(t, 1, last.Repeat)
	require.Equal(t, 1, w.feed.Counts().Repeated)
	require.Equal(t, 1, w.feed.Counts().Corrections)
	for _, r := range rows {
		require.Equal(t, r, w.to.values["s0"][r.Time])
	}
	require.Zero(t, w.to.equal)
}

// No two batches of a day have one name, whatever becomes of their rows.
func TestSweep_GivesEachBatchANameOfItsOwn(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	names := map[string]bool{}
	w.to.stored = func(b *ingest.Batch) {
		require.False(t, names[b.Name], b.Name)
		names[b.Name] = true
	}
	rows := rowsOf(day, 0, 60, sevens)
	for i := range 8 {
		rows[30].Values[0] = sample.Value(i)
		rows[31].Values[0] = sample.Value(i)
		w.write(w.streams[0], day, text(rows, 2))
		w.sweep(t, time.Minute)
		require.Equal(t, rows[30], w.to.values["s0"][rows[30].Time])
	}
	require.Len(t, names, 8)
	require.Zero(t, w.to.equal)
}

// An older day is delivered after the newest rows, and what is refused is offered again
// after a day.
func TestSweep_OffersWhatWasRefusedAfterADay(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	refused := 0
	w.to.fault = func(when string) bool {
		if when == "refuses" {
			refused++
			return refused == 1
		}
		return false
	}
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	status, err := w.feed.Status()
	require.NoError(t, err)
	require.Equal(t, 60, status.Streams[0].Days[0].Refused)
	w.sweep(t, 23*time.Hour)
	require.Equal(t, 1, refused)
	w.sweep(t, 2*time.Hour)
	w.has(t, 0, 60, sevens)
}

// The newest rows go when they cover the time of a batch, or have waited for it.
func TestSweep_WaitsForABatch(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2, Every: 5 * time.Minute})
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	w.has(t, 0, 60, sevens)
	w.put(0, 63, sevens)
	w.sweep(t, 3*time.Minute)
	w.has(t, 0, 60, sevens)
	w.put(0, 65, sevens)
	w.sweep(t, 2*time.Minute)
	w.has(t, 0, 65, sevens)
	w.put(0, 67, sevens) // and no more come
	w.sweep(t, 2*time.Minute)
	w.has(t, 0, 65, sevens)
	w.sweep(t, 4*time.Minute)
	w.has(t, 0, 67, sevens)
	require.Len(t, w.to.files, 3)
}

// What a filter makes of rows far apart is made anew when one of them changes, and of the
// rows of the days around.
func TestSweep_FiltersAcrossDays(t *testing.T) {
	t.Parallel()
	w := newWorld(at(23, 59), 1, ingest.Cut{})
	w.streams[0].Filter = sums{}
	require.NoError(t, w.open())
	next := day.AddDays(1)
	w.put(1430, 1438, sevens)
	w.sweep(t, 0)
	w.put(1430, 1440, sevens)
	w.write(w.streams[0], next, text(rowsOf(next, 0, 3, sevens), 2))
	w.sweep(t, 3*time.Minute)
	w.sweep(t, time.Minute)
	value := func(date julian.Date, slot int) sample.Value {
		return w.to.values["s0"][date.In(time.UTC).Add(time.Duration(slot)*time.Minute).UnixMilli()].Values[0]
	}
	require.Equal(t, sevens(1434)+sevens(1435)+sevens(1436), value(day, 1435))
	require.Equal(t, sevens(1438)+sevens(1439)+sevens(0), value(day, 1439))
	require.Equal(t, sevens(1439)+sevens(0)+sevens(1), value(next, 0))
	require.Len(t, w.to.values["s0"], 11, "the first and the last row have no neighbours")
	status, err := w.feed.Status()
	require.NoError(t, err)
	require.Equal(t, map[string]int{"edge": 2}, status.Streams[0].Days[0].SetAside)

	w.put(1430, 1440, func(slot int) sample.Value {
		if slot == 1436 {
			return 0
		}
		return sevens(slot)
	})
	w.sweep(t, time.Minute)
	w.sweep(t, time.Minute)
	require.Equal(t, sevens(1434)+sevens(1435), value(day, 1435))
	require.Zero(t, w.to.equal)
}

// sums is a filter whose rows are the sums of three.
type sums struct{}

func (sums) Reach() time.Duration { return time.Minute }

func (sums) Apply(rows []sample.Row, setAside func(string, int)) []sample.Row {
	var made []sample.Row
	for i, r := range rows {
		if i == 0 || i+1 == len(rows) {
			setAside("edge", 1)
			continue
		}
		r.Values[0] += rows[i-1].Values[0] + rows[i+1].Values[0]
		made = append(made, r)
	}
	return made
}

// A file that is gone for good, with rows that were waiting, keeps no day open.
func TestSweep_ClosesADayWhoseFileIsGone(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2, Age: 240 * time.Hour})
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	w.sweep(t, 100*time.Hour)
	require.Zero(t, w.feed.Counts().Missing, "they wait")
	clear(w.fs)
	w.sweep(t, 24*time.Hour)
	require.Equal(t, 2*1440, w.feed.Counts().Missing, "on two days")
}

// What a process that was killed had written, and not synced, is synced before the
// journal forgets it.
func TestOpen_SyncsWhatItFinds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		w := opened(t, at(1, 0), ingest.Cut{Least: 2})
		w.put(0, 60, sevens)
		w.sweep(t, 0)
		w.disk.Kill()
		require.NoError(t, w.open())
		w.disk.Restart(random(seed))
		require.NoError(t, w.open())
		w.sweep(t, time.Minute)
		w.has(t, 0, 60, sevens)
	}
}

// A journal of which nothing can be read is damaged: it began whole.
func TestOpen_RefusesAJournalThatSaysNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "00000000 []\n", "torn"} {
		w := newWorld(at(1, 0), 1, ingest.Cut{})
		f, err := w.disk.Open("journal", true)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte(text), 0)
		require.NoError(t, err)
		damage, ok := errors.AsType[*ingest.DamageError](w.open())
		require.True(t, ok, "%q", text)
		require.Zero(t, damage.Offset)
	}
}

// Status says why the sink does not take batches, in its words, until it does.
func TestStatus_SaysWhatTheSinkSaid(t *testing.T) {
	t.Parallel()
	w := opened(t, at(1, 0), ingest.Cut{Least: 2})
	trouble := "not now"
	w.to.fault = func(when string) bool { return when == trouble }
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	said := func() [2]string {
		s, err := w.feed.Status()
		require.NoError(t, err)
		return [2]string{s.Trouble, s.Refusal}
	}
	require.Equal(t, [2]string{"come back later", ""}, said())
	trouble = ""
	w.sweep(t, time.Hour)
	require.Equal(t, [2]string{}, said())
	trouble = "refuses"
	w.put(0, 120, sevens)
	w.sweep(t, time.Minute)
	require.Equal(t, [2]string{"", "no"}, said())
}

// A clock that was wrong by a year for a while delays nothing afterwards.
func TestSweep_GoesOnAfterAWrongClock(t *testing.T) {
	t.Parallel()
	w := newWorld(at(1, 0), 1, ingest.Cut{Least: 2})
	w.perDay = 100
	require.NoError(t, w.open())
	w.put(0, 60, sevens)
	w.sweep(t, 0)
	w.to.fault = func(when string) bool { return when == "not now" }
	w.put(0, 70, sevens)
	w.sweep(t, 400*24*time.Hour)
	w.to.fault = nil
	w.now = at(1, 10)
	w.put(0, 72, sevens)
	w.sweep(t, time.Minute)
	w.has(t, 0, 72, sevens)
	status, err := w.feed.Status()
	require.NoError(t, err)
	require.Equal(t, 72, status.Streams[0].Days[0].Accepted)
	require.NoError(t, w.feed.Close())
	require.NoError(t, w.open())
	w.put(0, 80, sevens)
	w.sweep(t, 10*time.Minute)
	w.has(t, 0, 80, sevens)
}
