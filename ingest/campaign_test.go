package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/internal/disk/disktest"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// campaign is a run in which everything goes wrong that can, by a seed.
type campaign struct {
	*world
	r      *rand.Rand
	real   time.Time              // the time; the clock of the feed may be wrong
	skew   time.Duration          // by which it is
	truth  []map[int64]sample.Row // what each instrument has measured
	hidden []map[int64]bool       // rows of it that are not in its files yet
	faults map[string]int
	calm   bool
}

func newCampaign(seed uint64) *campaign {
	r := random(seed)
	cut := ingest.Cut{
		Every: time.Duration(r.IntN(3)) * 150 * time.Second,
		Least: 1 + r.IntN(2),
		Fill:  r.IntN(2) * 10,
	}
	c := &campaign{r: r, real: at(21, 30), faults: map[string]int{}}
	c.world = newWorld(c.real, 1+r.IntN(3), cut)
	c.perDay = []int{0, 0, 1440, 200}[r.IntN(4)]
	for range c.streams {
		c.truth = append(c.truth, map[int64]sample.Row{})
		c.hidden = append(c.hidden, map[int64]bool{})
	}
	c.to.fault = func(when string) bool { return c.goesWrong(when, 0.06) }
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
	for i := range 150 {
		c.real = c.real.Add(11 * time.Minute)
		c.now = c.real
		if i < 3 {
			c.measure()
		}
		if err := c.sweep(ctx); err != nil {
			return err
		}
	}
	return c.check()
}

// check compares what the receiver has with what was measured.
func (c *campaign) check() error {
	for i, s := range c.streams {
		for k, row := range c.truth[i] {
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
	switch {
	case c.to.equal > 0:
		return fmt.Errorf("%d rows were accepted twice", c.to.equal)
	case len(c.to.again) > 0:
		return fmt.Errorf("%d files were offered again after they were known to be accepted: %v", len(c.to.again), c.to.again[:1])
	}
	return nil
}

// Whatever goes wrong, in the end the receiver has each row, and has taken none twice.
func TestSweep_LosesNothingAndSendsNothingTwice(t *testing.T) {
	runs := uint64(300)
	if s := os.Getenv("RUNS"); s != "" {
		fmt.Sscan(s, &runs)
	}
	if os.Getenv("OBSKEEP_CAMPAIGN") == "full" {
		runs = 10_000
	}
	faults, least := 0, 1000
	for seed := range runs {
		if os.Getenv("SEED") != "" {
			fmt.Sscan(os.Getenv("SEED"), &seed)
		}
		c := newCampaign(seed)
		fmt.Println("seed", seed)
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		n := 0
		for _, k := range c.faults {
			n += k
		}
		faults, least = faults+n, min(least, n)
	}
	t.Logf("%d runs, %d faults, %d in a run at least", runs, faults, least)
}
