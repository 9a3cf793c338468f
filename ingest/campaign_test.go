package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/internal/disk/disktest"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// campaign is a run in which everything goes wrong that can, by a seed.
type campaign struct {
	*world
	r       *rand.Rand
	real    time.Time              // the time; the clock of the feed may be wrong
	skew    time.Duration          // by which it is
	truth   []map[int64]sample.Row // what each instrument has measured
	hidden  []map[int64]bool       // rows of it that are not in its files yet
	faults  map[string]int
	calm    bool
	limit   int    // of batches that the receiver is offered in a day
	without string // the safeguard that is switched off
}

func newCampaign(seed uint64, without string) *campaign {
	r := random(seed)
	cut := ingest.Cut{
		Every: time.Duration(r.IntN(3)) * 150 * time.Second,
		Least: 1 + r.IntN(2),
		Fill:  r.IntN(2) * 10,
	}
	c := &campaign{r: r, real: at(21, 30), faults: map[string]int{}, without: without}
	c.world = newWorld(c.real, 1+r.IntN(3), cut)
	c.limit = []int{0, 60, 200, 1440}[r.IntN(4)]
	switch without {
	case "anchor":
		c.limit = 0 // so that nothing excuses what is late
	case "budget":
		c.limit = 60
	}
	c.perDay = c.limit
	switch without {
	case "fsync":
		c.disk.NoSync = true
	case "reconcile":
		c.sink = deaf{c.to}
	case "budget":
		c.perDay = 0
	case "mirror":
		c.blind = true
	}
	for range c.streams {
		c.truth = append(c.truth, map[int64]sample.Row{})
		c.hidden = append(c.hidden, map[int64]bool{})
	}
	c.to.fault = func(when string) bool {
		if when == "refuses" {
			return without != "anchor" && c.goesWrong(when, 0.02)
		}
		return c.goesWrong(when, 0.06)
	}
	c.to.clock = func() time.Time { return c.real }
	c.disk.Next = func(string) disktest.Fault {
		for _, f := range []disktest.Fault{disktest.Lost, disktest.Applied, disktest.Torn, disktest.Crash, disktest.Crashed} {
			if c.goesWrong(fmt.Sprint("disk", f), 0.004) {
				return f
			}
		}
		return disktest.None
	}
	return c
}

func (c *campaign) goesWrong(what string, p float64) bool {
	if c.calm || c.faults[what] == 10 || c.r.Float64() >= p {
		return false
	}
	c.faults[what]++
	return true
}

// measure lets the instruments measure until now, and their files change.
func (c *campaign) measure() {
	for i, s := range c.streams {
		truth, hidden := c.truth[i], c.hidden[i]
		begin := at(21, 0)
		for t := begin; t.Before(c.real); t = t.Add(time.Minute) {
			k := t.UnixMilli()
			if _, ok := truth[k]; ok {
				continue
			}
			row := sample.RowAt(k)
			row.Values[0], row.Values[1] = sample.Value(c.r.IntN(2000)-1000), sample.Value(c.r.IntN(2000))
			truth[k] = row
			if c.goesWrong("gap", 0.03) {
				hidden[k] = true
			}
		}
		for _, k := range slices.Sorted(maps.Keys(truth)) {
			row := truth[k]
			switch {
			case hidden[k] && (c.calm || c.r.IntN(30) == 0):
				delete(hidden, k)
			case c.goesWrong("correction", 0.002):
				row.Values[c.r.IntN(2)] += 5
				truth[k] = row
			}
		}
		for _, d := range []julian.Date{day, day.AddDays(1)} {
			var rows []sample.Row
			for t := d.In(time.UTC); t.Before(c.real) && t.Before(d.AddDays(1).In(time.UTC)); t = t.Add(time.Minute) {
				if row, ok := truth[t.UnixMilli()]; ok && !hidden[t.UnixMilli()] {
					rows = append(rows, row)
				}
			}
			if len(rows) == 0 {
				continue
			}
			if d != day && c.goesWrong("two days at once", 0.05) {
				if row, ok := truth[d.In(time.UTC).Add(-time.Minute).UnixMilli()]; ok {
					rows = append([]sample.Row{row}, rows...)
				}
			}
			data := text(rows, len(elements))
			switch {
			case c.goesWrong("torn", 0.1):
				data = data[:len(data)-1-c.r.IntN(8)]
			case c.goesWrong("truncated", 0.03):
				data = data[:c.r.IntN(len(data))]
			case c.goesWrong("garbage", 0.02):
				data = append(bytes.Clone(data), "\x00\x00nonsense\n99 1\n"...)
			case c.goesWrong("gone", 0.03):
				delete(c.fs, s.Source.File(d))
				continue
			}
			if old := c.fs[s.Source.File(d)]; old == nil || !bytes.Equal(old.Data, data) {
				c.write(s, d, data)
			}
		}
	}
}

// sweep sweeps, and begins the process or the machine anew when it went down.
func (c *campaign) sweep(ctx context.Context) error {
	var last error
	for n := 0; ; n++ {
		if n > 200 {
			return fmt.Errorf("does not come up: %w", last)
		}
		var err error
		if c.feed == nil {
			err = c.open()
			if err == nil && c.without == "anchor" {
				c.feed.WithoutAnchor()
			}
		}
		if err == nil {
			if err = c.feed.Sweep(ctx); err == nil || !errors.Is(err, disktest.ErrCrashed) {
				var damage *ingest.DamageError
				if errors.As(err, &damage) {
					return err
				}
				return nil
			}
		}
		last = err
		c.feed = nil
		if c.r.IntN(2) == 0 {
			c.disk.Restart(c.r)
		} else {
			c.disk.Kill()
		}
	}
}

func (c *campaign) run(ctx context.Context) error {
	for range 60 {
		c.real = c.real.Add(time.Duration(20+c.r.IntN(400)) * time.Second)
		if c.goesWrong("clock", 0.03) {
			c.skew = time.Duration(c.r.IntN(3)-1) * time.Hour
		}
		c.now = c.real.Add(c.skew)
		c.measure()
		if c.goesWrong("kill", 0.03) {
			c.feed = nil
			c.disk.Kill()
		}
		if err := c.sweep(ctx); err != nil {
			return err
		}
	}
	c.calm, c.skew = true, 0
	c.measure()
	if c.limit == 0 && c.faults["refuses"] == 0 {
		// Nothing is in the way, so it does not take long.
		measured := c.real.Add(-10 * time.Minute)
		for _, s := range []time.Duration{1, 301, 5, 5} {
			c.real = c.real.Add(s * time.Second)
			c.now = c.real
			if err := c.sweep(ctx); err != nil {
				return err
			}
		}
		if err := c.complete(measured); err != nil {
			return fmt.Errorf("not prompt: %w", err)
		}
	}
	var wrong error
	for i := range 250 {
		// A refusal is believed for a day, and the budget may take some.
		c.real = c.real.Add(time.Duration(11+i) * time.Minute)
		c.now = c.real
		if i < 3 {
			c.measure()
		}
		if err := c.sweep(ctx); err != nil {
			return err
		}
		if i%50 != 49 {
			continue
		}
		if wrong = c.check(); wrong == nil {
			return nil
		}
	}
	return wrong
}

// check compares what the receiver has with what was measured.
func (c *campaign) check() error {
	if err := c.complete(c.real); err != nil {
		return err
	}
	switch {
	case c.to.equal > 0:
		return fmt.Errorf("%d rows were accepted twice", c.to.equal)
	case len(c.to.again) > 0:
		return fmt.Errorf("%d files were offered again after they were known to be accepted: %v", len(c.to.again), c.to.again[:1])
	case c.limit > 0 && c.faults["clock"] == 0:
		for date, n := range c.to.offered {
			if n > c.limit {
				return fmt.Errorf("%d batches were offered on %v, of %d", n, date, c.limit)
			}
		}
	}
	return nil
}

// complete checks that the receiver has what was measured until a time, and nothing else.
func (c *campaign) complete(until time.Time) error {
	for i, s := range c.streams {
		for k, row := range c.truth[i] {
			if !row.UTC().Before(until) {
				continue
			}
			if got, ok := c.to.values[s.Name][k]; !ok {
				return fmt.Errorf("%s: the row of %v is lost", s.Name, row.UTC())
			} else if got != row {
				return fmt.Errorf("%s: the row of %v is %v, want %v", s.Name, row.UTC(), got.Values[:2], row.Values[:2])
			}
		}
		for k, row := range c.to.values[s.Name] {
			if _, ok := c.truth[i][k]; !ok && row.Values[0].Measured() {
				return fmt.Errorf("%s: the row of %v was never measured", s.Name, row.UTC())
			}
		}
	}
	return nil
}

// runs are how many seeds are tried: some, or those that were asked for.
func runs(t *testing.T, some int) int {
	t.Helper()
	if os.Getenv("OBSKEEP_CAMPAIGN") == "full" {
		return 10_000
	}
	return some
}

// Whatever goes wrong, in the end the receiver has each row, and has taken none twice.
func TestSweep_LosesNothingAndSendsNothingTwice(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	faults, least := 0, 1000
	n := runs(t, 40)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(runtime.GOMAXPROCS(0))
	for seed := range uint64(n) {
		group.Go(func() error {
			c := newCampaign(seed, "")
			if err := c.run(ctx); err != nil {
				return fmt.Errorf("seed %d: %w", seed, err)
			}
			k := 0
			for _, n := range c.faults {
				k += n
			}
			mu.Lock()
			defer mu.Unlock()
			faults, least = faults+k, min(least, k)
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.GreaterOrEqual(t, least, 20)
	t.Logf("%d runs, %d faults, %d in a run at least", n, faults, least)
}

// A seed makes the same run each time: so a fault that it has found can be looked at.
func TestCampaign_IsTheSameForASeed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		a, b := newCampaign(seed, ""), newCampaign(seed, "")
		require.NoError(t, a.run(t.Context()))
		require.NoError(t, b.run(t.Context()))
		require.Equal(t, a.faults, b.faults)
		require.Equal(t, a.to.files, b.to.files)
		require.Equal(t, a.feed.Counts(), b.feed.Counts())
	}
}

// Without one of the safeguards the campaign fails: it is not the campaign that is lax.
func TestSweep_NeedsEachSafeguard(t *testing.T) {
	t.Parallel()
	for _, without := range []string{"fsync", "anchor", "reconcile", "budget", "mirror"} {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(100) {
				if err := newCampaign(seed, without).run(t.Context()); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Error("nothing goes wrong without it")
		})
	}
}

// A fault at each step that changes the disk, of each kind, loses nothing.
func TestSweep_SurvivesAFaultAtEachStep(t *testing.T) {
	t.Parallel()
	for fault := disktest.Lost; fault <= disktest.Crashed; fault++ {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			t.Parallel()
			for step := 0; ; step++ {
				c := &campaign{world: newWorld(at(1, 0), 1, ingest.Cut{Least: 2}), r: random(uint64(step)), faults: map[string]int{}}
				n := 0
				c.disk.Next = func(string) disktest.Fault {
					if n++; n == step+1 {
						return fault
					}
					return disktest.None
				}
				for minute := 60; minute < 80; minute += 5 {
					c.now = at(0, minute)
					c.put(0, minute, sevens)
					require.NoError(t, c.sweep(t.Context()))
				}
				require.NoError(t, c.sweep(t.Context()))
				c.has(t, 0, 75, sevens)
				require.Empty(t, c.to.again)
				if n <= step {
					require.Greater(t, step, 10)
					return
				}
			}
		})
	}
}
