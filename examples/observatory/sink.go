package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
)

// destination is what an account delivers to: one of the tables [account.gin],
// [account.folder], [account.mqtt] and [account.mail].
type destination interface {
	// check returns what is wrong with the keys, and fills in what is left out, of the
	// account too.
	check(a *account) error
	// format is how the batches of a stream are written, and how many rows the least of
	// them has. The error says what cannot be written.
	format(s *stream) (f ingest.Format, least int, err error)
	// open opens it. It is closed in the end.
	open(ctx context.Context, logger *slog.Logger) (ingest.Sink, io.Closer, error)
}

// checkDestination finds what the account delivers to, and returns what is wrong with it.
func (a *account) checkDestination() error {
	names := ""
	for _, d := range []struct {
		name  string
		given bool
		to    destination
	}{
		{"gin", a.GIN != nil, a.GIN}, {"folder", a.Folder != nil, a.Folder},
		{"mqtt", a.MQTT != nil, a.MQTT}, {"mail", a.Mail != nil, a.Mail},
	} {
		switch {
		case !d.given:
			continue
		case a.to != nil:
			return fmt.Errorf("it has a table%s and one of %s: want one, and another account for the other", names, d.name)
		}
		a.to, names = d.to, " of "+d.name
	}
	if a.to == nil {
		return errors.New("it delivers nowhere: want a table [account.gin], [account.folder], [account.mqtt] or [account.mail]")
	}
	return a.to.check(a)
}

// asFiles writes batches as files of IAGA-2002.
type asFiles struct{}

func (asFiles) format(s *stream) (ingest.Format, int, error) {
	if _, err := iaga2002.NewWriter(io.Discard, &s.header); err != nil {
		return nil, 0, fmt.Errorf("what its files are to say is wrong: %w", err)
	}
	return s.header.Fragment, 2, nil // a file has two rows at least
}

// password reads that of an account when it is needed: it may be changed meanwhile.
func password(file string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		text, err := script.Secret("", file)
		if err != nil {
			err = fmt.Errorf("password_file: %w", err)
		}
		return text, err
	}
}

// closer ends what cannot fail to end.
type closer func()

func (c closer) Close() error { c(); return nil }
