package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
)

// logger is an [account.logger] table: the machine from which the files of an account's
// streams are fetched into their folders. They are called there as they are here.
type logger struct {
	script.SSH
	Folder  string          `toml:"folder"`  // there
	Cadence script.Duration `toml:"cadence"` // how often run fetches; default 10s
}

func (l *logger) check() error {
	l.Cadence = cmp.Or(l.Cadence, script.Duration(10*time.Second))
	switch {
	case l.Folder == "":
		return errors.New("folder is missing: want that of the files on the logger")
	case l.Cadence < script.Duration(time.Second):
		return fmt.Errorf("cadence is %v: want 1s or more", time.Duration(l.Cadence))
	}
	return l.SSH.Check("it")
}

// fetch brings what the files of the account have grown by. What cannot be fetched keeps
// nothing else from it, unless the logger is lost.
func (a *account) fetch(ctx context.Context, src transfer.Store, today julian.Date, logger *slog.Logger) error {
	var errs []error
	for i := range a.Streams {
		err := a.Streams[i].fetch(ctx, src, julian.Window(today, a.Days), logger)
		errs = append(errs, err)
		if errors.Is(err, transfer.ErrLost) || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// fetch fetches the files of these days, the newest first. What changes under its hands
// comes the next time.
func (s *stream) fetch(ctx context.Context, src transfer.Store, days []julian.Date, logger *slog.Logger) error {
	dst, err := dirstore.Open(s.Folder)
	if err != nil {
		return err
	}
	var errs []error
	for _, day := range slices.Backward(days) {
		_, err := transfer.Pull(ctx, dst, src, s.File.Format(day), &transfer.Options{Logger: logger})
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, transfer.ErrChanged) {
			continue
		}
		errs = append(errs, err)
		if errors.Is(err, transfer.ErrLost) || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(append(errs, dst.Close())...)
}

// fetchOnce fetches over a connection of its own, if the account has a logger.
func (a *account) fetchOnce(ctx context.Context, today julian.Date, logger *slog.Logger) error {
	if a.Logger == nil {
		return nil
	}
	src, err := a.Logger.Open(ctx, a.Logger.Folder, logger)
	if err != nil {
		return err
	}
	err = a.fetch(ctx, src, today, logger)
	return errors.Join(err, src.Close())
}

// fetchOn fetches every now and then until ctx ends, and tells fetched each time how it went.
func (a *account) fetchOn(ctx context.Context, today func() julian.Date, logger *slog.Logger, fetched func(error)) {
	var src script.Folder
	for ctx.Err() == nil {
		var err error
		if src == nil {
			src, err = a.Logger.Open(ctx, a.Logger.Folder, logger)
		}
		if err == nil {
			err = a.fetch(ctx, src, today(), logger)
		}
		if ctx.Err() == nil {
			fetched(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(a.Logger.Cadence)):
		}
	}
	if src != nil {
		src.Close() // nothing is written there
	}
}
