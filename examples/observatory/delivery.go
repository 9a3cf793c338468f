package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/watch"
	"github.com/obskeep/obskeep/julian"
)

// statusEvery is how much time is between two writings of an account's status.
const statusEvery = time.Second

// delivery is an account at work.
type delivery struct {
	*job
	*account
	number int // of the account
	logger *slog.Logger
	feed   *ingest.Feed
	to     io.Closer // what is delivered to

	told   time.Time // when the status was put up
	mu     sync.Mutex
	logErr error // of the last fetch
}

func (j *job) delivery(i int) *delivery {
	a := &j.Accounts[i]
	return &delivery{job: j, account: a, number: i, logger: j.logger.With("account", a.Name)}
}

func (d *delivery) today() julian.Date { return julian.DateOf(d.now().UTC()) }

// feedConfig says what an account delivers. Its feed has a folder of its own in the account's.
func (j *job) feedConfig(a *account, sink ingest.Sink, logger *slog.Logger) ingest.Config {
	c := ingest.Config{
		Dir: filepath.Join(j.dir(a), "feed"), Sink: sink, PerDay: a.PerDay, Days: a.Days, Logger: logger, Now: j.now,
	}
	for i := range a.Streams {
		c.Streams = append(c.Streams, a.Streams[i].stream())
	}
	return c
}

// open opens the account's feed, if what it needs is there.
func (d *delivery) open(ctx context.Context) error {
	if err := os.MkdirAll(d.dir(d.account), 0o755); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	sink, to, err := d.account.to.open(ctx, d.logger)
	if err != nil {
		return err
	}
	if d.feed, err = ingest.Open(d.feedConfig(d.account, sink, d.logger)); err != nil {
		return errors.Join(err, to.Close())
	}
	d.to = to
	return nil
}

// close closes the feed.
func (d *delivery) close() error {
	err := errors.Join(d.feed.Close(), d.to.Close())
	d.feed = nil
	return err
}

// sweep fetches and delivers once.
func (d *delivery) sweep(ctx context.Context) error {
	if d.logErr = d.fetchOnce(ctx, d.today(), d.logger); ctx.Err() != nil {
		return nil // it was not the logger that ended it
	}
	err := d.open(ctx)
	if err == nil {
		swept := cmp.Or(d.feed.Sweep(ctx), d.folders())
		d.tell(swept)
		err = d.close()
		if err == nil {
			return errors.Join(swept, d.logErr)
		}
	}
	d.tell(err)
	return errors.Join(err, d.logErr)
}

// run delivers until ctx ends. What is broken is tried again: a person may have mended it.
func (d *delivery) run(ctx context.Context, poll time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if d.Logger != nil {
		wg.Go(func() { d.fetchOn(ctx, d.today, d.logger, d.fetched) })
	}
	var folders []string
	for _, s := range d.Streams {
		folders = append(folders, s.Folder)
	}
	hints, err := watch.Dirs(ctx, folders...)
	if err != nil {
		d.logger.Warn("no hints: files are looked at every poll alone", "err", err)
	}
	for ctx.Err() == nil {
		err := d.open(ctx)
		if err == nil {
			var swept error
			d.feed.Run(ctx, poll, hints, func(err error) {
				swept = cmp.Or(err, d.folders())
				if d.now().Sub(d.told) >= statusEvery {
					d.tell(swept)
				}
			})
			d.tell(swept)
			err = d.close()
		}
		if err != nil {
			d.tell(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
}

// fetched hears of a fetch.
func (d *delivery) fetched(err error) {
	d.mu.Lock()
	d.logErr = err
	d.mu.Unlock()
}

// tell puts the account's status on the board. err is of its state, or of a source.
func (d *delivery) tell(err error) {
	d.told = d.now()
	s := &accountStatus{
		Schema: "obskeep/observatory-account/v1", Account: d.Name, Station: d.Station, At: d.told.UTC(),
	}
	if d.feed != nil {
		status, statusErr := d.feed.Status()
		s.add(status)
		err = cmp.Or(err, statusErr)
	}
	d.mu.Lock()
	logErr := d.logErr
	d.mu.Unlock()
	if err != nil {
		s.Error = err.Error()
	}
	if logErr != nil {
		s.Logger = logErr.Error()
	}
	d.board.put(d.number, s)
}
