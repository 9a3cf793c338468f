package script

import (
	"cmp"
	"context"
	"fmt"
	"net/mail"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/report/mailer"
)

// ReportConfig is the [report] table of a configuration.
type ReportConfig struct {
	Mail
	To    []string `toml:"to"`    // nobody: no mail
	When  string   `toml:"when"`  // always (default) or trouble
	Spool string   `toml:"spool"` // folder of mails that could not be sent; default in StateDir
}

// Check returns what is wrong with the table, and fills in the defaults.
func (c *ReportConfig) Check() error {
	c.When = cmp.Or(c.When, "always")
	if c.When != "always" && c.When != "trouble" {
		return fmt.Errorf("report.when is %q: want always or trouble", c.When)
	}
	if err := c.Mail.Check(); err != nil {
		return fmt.Errorf("report.%w", err)
	}
	for _, a := range c.To {
		if _, err := mail.ParseAddress(a); err != nil {
			return fmt.Errorf("report.to: %q is not a mail address: %w", a, err)
		}
	}
	c.Spool = cmp.Or(c.Spool, filepath.Join(StateDir(), "spool"))
	return nil
}

// UnsentError says that the report itself could not be mailed yet.
type UnsentError struct{ Err error }

func (e *UnsentError) Error() string { return e.Err.Error() }
func (e *UnsentError) Unwrap() error { return e.Err }

// Deliver mails a report, after those that wait from earlier runs. What cannot
// be sent waits for the next run; the error is then an [*UnsentError].
// It goes on for a while after ctx has ended: a run that was stopped is told of.
func (c *ReportConfig) Deliver(ctx context.Context, r *report.Report) error {
	if len(c.To) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
	defer cancel()
	spool := &mailer.Spool{Dir: c.Spool, Sender: c.Sender()}
	if c.When == "trouble" && r.Outcome() == report.OK {
		return unsent(spool.Flush(ctx))
	}
	var to []mail.Address
	for _, a := range c.To {
		address, err := mail.ParseAddress(a)
		if err != nil {
			return err
		}
		to = append(to, *address)
	}
	from, err := c.Sent()
	if err != nil {
		return err
	}
	m, err := mailer.Compose(r, from, to, r.End)
	if err != nil {
		return err
	}
	return unsent(spool.Send(ctx, m))
}

func unsent(err error) error {
	if err != nil {
		return &UnsentError{err}
	}
	return nil
}
