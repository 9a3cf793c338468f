package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
	"github.com/obskeep/obskeep/julian"
)

// demoSpeed is how many times as fast the clock of the demonstration runs.
const demoSpeed = 60

// What happens in the demonstration, by the time of its clock.
const (
	backlog    = 30 * time.Minute // of files that are there when it begins
	midnight   = 10 * time.Minute
	outage     = 5 * time.Minute // the receiver fails
	mended     = 12 * time.Minute
	correction = 19 * time.Minute // some rows get other values
	quiet      = 24 * time.Minute // the files grow no more

	writing  = 15 * time.Second // is between two writings
	telling  = 2 * time.Minute  // is between two lines that say how far it is
	patience = time.Minute      // of real time, for the rest to be delivered
)

const demoConfig = `state = "DIR/state"
metrics = "DIR/observatory.prom"
poll = "15s"

[[account]]
name = "tst-gin"
station = "TST"

[account.gin]
url = "URL"
user = "imo-tst"
password_file = "DIR/password"

[account.header]
institute = "synthetic, of no institute"
name = "Of no observatory"
latitude = "0.000"
longitude = "0.000"
elevation = "0"

[[account.stream]]
name = "minutes"
folder = "DIR/logger"
file = "%Y/%j/tst%Y%m%dvmin.min"
cadence = "1m"
elements = "XYZF"
level = "variation"
orientation = "XYZF"
sampling = "1 second"

[[account.stream]]
name = "seconds"
folder = "DIR/logger"
file = "%Y/%j/tst%Y%m%dvsec.sec"
cadence = "1s"
elements = "XYZF"
level = "variation"
orientation = "XYZF"
sampling = "0.1 second"
every = "1m"
`

// world is where the demonstration takes place.
type world struct {
	*job
	dir         string
	begin       time.Time
	receiver    *gintest.Server
	out, lost   atomic.Bool // the receiver fails; the reply of one upload was lost
	instruments []*instrument
	last        time.Time // up to which the files are written
	still       bool      // they grow no more
	until       time.Time // when it has taken too long
}

// demonstrate does the real job in a small world, and proves what came of it.
func (j *job) demonstrate(ctx context.Context) error {
	w, err := j.newWorld()
	if err != nil {
		return fmt.Errorf("demonstration: %w", err)
	}
	err = w.show(ctx)
	if err := errors.Join(err, w.receiver.Close()); err != nil {
		return fmt.Errorf("demonstration, in %s: %w", w.dir, err)
	}
	_, err = fmt.Fprintf(j.stdout, `
That was the real job, over HTTP on the loopback, with synthetic data:
  the files         %s
  the state         %s
  the metrics       %s
  the configuration %s
The folder is yours to look at and to remove.
`, filepath.Join(w.dir, "logger"), w.State, w.Metrics, filepath.Join(w.dir, "observatory.toml"))
	return err
}

func (j *job) newWorld() (*world, error) {
	dir, err := os.MkdirTemp("", "obskeep-demo-")
	if err != nil {
		return nil, err
	}
	real := time.Now()
	w := &world{job: j, dir: dir, begin: julian.DateOf(real.UTC()).In(time.UTC).Add(-midnight)}
	j.now = func() time.Time { return w.begin.Add(time.Since(real) * time.Duration(j.speed)) }
	password := rand.Text()
	w.receiver, err = gintest.New(gintest.Config{
		Accounts: []gintest.Account{{User: "imo-tst", Password: password, Stations: []string{"TST"}}},
		Now:      j.now, Fault: w.fault,
	})
	if err != nil {
		return nil, err
	}
	if err := w.receiver.Start("127.0.0.1:0", nil); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "observatory.toml")
	text := strings.NewReplacer("DIR", filepath.ToSlash(dir), "URL", w.receiver.URL()).Replace(demoConfig)
	err = errors.Join(
		os.Mkdir(filepath.Join(dir, "state"), 0o755), os.Mkdir(filepath.Join(dir, "logger"), 0o755),
		os.WriteFile(filepath.Join(dir, "password"), []byte(password), 0o600), os.WriteFile(file, []byte(text), 0o644))
	if err != nil {
		return nil, err
	}
	if err := script.ReadConfig(file, &j.config); err != nil {
		return nil, err
	}
	j.board = newBoard(&j.config, j.stdout)
	for i := range j.Accounts[0].Streams {
		w.instruments = append(w.instruments, &instrument{
			stream: &j.Accounts[0].Streams[i], since: w.begin.Add(-backlog), corrected: map[int64]bool{},
		})
	}
	return w, nil
}

// fault is what goes wrong while the receiver fails: first it takes a file, and its reply is
// lost, and then it takes nothing.
func (w *world) fault(r gintest.Request) gintest.Fault {
	switch {
	case !w.out.Load():
		return gintest.None
	case r == gintest.Upload && !w.lost.Swap(true):
		return gintest.CutReply
	}
	return gintest.Unavailable
}
