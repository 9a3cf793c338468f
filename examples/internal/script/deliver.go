package script

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/report/mailer"
)

// ReportConfig is the [report] table of a configuration.
type ReportConfig struct {
	To           []string `toml:"to"`            // nobody: no mail
	From         string   `toml:"from"`          // default: the user at this machine
	SMTP         string   `toml:"smtp"`          // host:port; default localhost:25
	TLS          string   `toml:"tls"`           // starttls or implicit; default: STARTTLS if the server has it
	User         string   `toml:"user"`          // to log in with; the password is in PasswordFile
	PasswordFile string   `toml:"password_file"` // or in the environment, OBSKEEP_SMTP_PASSWORD
	Sendmail     string   `toml:"sendmail"`      // a program instead of SMTP
	When         string   `toml:"when"`          // always (default) or trouble
	Spool        string   `toml:"spool"`         // folder of mails that could not be sent; default in StateDir
}

// Check returns what is wrong with the table, and fills in the defaults.
func (c *ReportConfig) Check() error {
	c.When = cmp.Or(c.When, "always")
	switch {
	case c.When != "always" && c.When != "trouble":
		return fmt.Errorf("report.when is %q: want always or trouble", c.When)
	case c.TLS != "" && c.TLS != "starttls" && c.TLS != "implicit":
		return fmt.Errorf("report.tls is %q: want starttls or implicit", c.TLS)
	case c.SMTP != "" && c.Sendmail != "":
		return errors.New("report has both smtp and sendmail: want one")
	case c.User == "" && c.PasswordFile != "":
		return errors.New("report.password_file wants a user")
	case strings.Contains(c.Sendmail, " "):
		return fmt.Errorf("report.sendmail is %q: want the program alone", c.Sendmail)
	}
	for _, a := range append(c.To, c.From) {
		if a == "" {
			continue
		}
		if _, err := mail.ParseAddress(a); err != nil {
			return fmt.Errorf("report: %q is not a mail address: %w", a, err)
		}
	}
	c.SMTP = cmp.Or(c.SMTP, "localhost")
	if _, _, err := net.SplitHostPort(c.SMTP); err != nil {
		port := "25"
		if c.TLS == "implicit" {
			port = "465"
		}
		c.SMTP = net.JoinHostPort(strings.Trim(c.SMTP, "[]"), port)
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
	spool := &mailer.Spool{Dir: c.Spool, Sender: c.sender()}
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
	from, err := mail.ParseAddress(c.from())
	if err != nil {
		return err
	}
	m, err := mailer.Compose(r, *from, to, r.End)
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

func (c *ReportConfig) sender() mailer.Sender {
	if c.Sendmail != "" {
		return &mailer.Sendmail{Path: c.Sendmail}
	}
	s := &mailer.SMTP{Addr: c.SMTP, Username: c.User}
	switch c.TLS {
	case "starttls":
		s.Policy = mailer.StartTLS
	case "implicit":
		s.Policy = mailer.ImplicitTLS
	}
	if c.User != "" {
		s.Password = func(context.Context) (string, error) { return Secret("OBSKEEP_SMTP_PASSWORD", c.PasswordFile) }
	}
	return s
}

func (c *ReportConfig) from() string {
	if c.From != "" {
		return c.From
	}
	name := "obskeep"
	if u, err := user.Current(); err == nil {
		name = u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
	}
	return name + "@" + Host()
}

// Secret reads a secret from a file, or from the environment if no file is
// named. It is never a flag: those are seen by everybody on the machine.
func Secret(env, file string) (string, error) {
	if file == "" {
		if s, ok := os.LookupEnv(env); ok {
			return s, nil
		}
		return "", fmt.Errorf("there is no secret: name a file, or set %s", env)
	}
	b, err := os.ReadFile(file)
	return strings.TrimRight(string(b), "\r\n"), err
}
