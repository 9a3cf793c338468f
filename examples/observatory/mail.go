package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	netmail "net/mail"
	"time"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/mail"
)

// mailTable is the [account.mail] table: the mailbox of a GIN, for each day when it is over.
// What a mail server takes over is not sent again, unless its answer is lost.
type mailTable struct {
	asFiles
	script.Mail
	To string `toml:"to"`

	to netmail.Address
}

func (t *mailTable) check(a *account) error {
	if err := t.Mail.Check(); err != nil {
		return fmt.Errorf("mail.%w", err)
	}
	to, err := netmail.ParseAddress(t.To)
	if err != nil {
		return fmt.Errorf("mail.to: %q is not a mail address: %w", t.To, err)
	}
	t.to = *to
	for i := range a.Streams {
		s := &a.Streams[i]
		s.Every = cmp.Or(s.Every, script.Duration(24*time.Hour))
		s.Embargo = cmp.Or(s.Embargo, script.Duration(5*time.Minute)) // the last rows of a day may come late
	}
	return nil
}

func (t *mailTable) open(context.Context, *slog.Logger) (ingest.Sink, io.Closer, error) {
	from, err := t.Sent()
	if err != nil {
		return nil, nil, err
	}
	if t.User != "" {
		if _, err := script.Secret("OBSKEEP_SMTP_PASSWORD", t.PasswordFile); err != nil {
			return nil, nil, fmt.Errorf("password_file: %w", err)
		}
	}
	return &mail.Sink{Sender: t.Sender(), From: from, To: t.to}, closer(func() {}), nil
}
