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
	"strings"

	"github.com/obskeep/obskeep/report/mailer"
)

// Mail is how a configuration says how mail goes out.
type Mail struct {
	From         string `toml:"from"`          // default: the user at this machine
	SMTP         string `toml:"smtp"`          // host:port; default localhost:25
	TLS          string `toml:"tls"`           // starttls or implicit; default: STARTTLS if the server has it
	User         string `toml:"user"`          // to log in with; the password is in PasswordFile
	PasswordFile string `toml:"password_file"` // or in the environment, OBSKEEP_SMTP_PASSWORD
	Sendmail     string `toml:"sendmail"`      // a program instead of SMTP
}

// Check returns what is wrong with the keys, the name of the key first, and fills in the
// defaults.
func (m *Mail) Check() error {
	switch {
	case m.TLS != "" && m.TLS != "starttls" && m.TLS != "implicit":
		return fmt.Errorf("tls is %q: want starttls or implicit", m.TLS)
	case m.SMTP != "" && m.Sendmail != "":
		return errors.New("smtp is given, and sendmail as well: want one")
	case m.User == "" && m.PasswordFile != "":
		return errors.New("password_file wants a user")
	case m.Sendmail != "" && m.User+m.TLS != "":
		return errors.New("sendmail is given, and user or tls as well: those are for smtp")
	case strings.Contains(m.Sendmail, " "):
		return fmt.Errorf("sendmail is %q: want the program alone", m.Sendmail)
	}
	if _, err := mail.ParseAddress(m.From); m.From != "" && err != nil {
		return fmt.Errorf("from: %q is not a mail address: %w", m.From, err)
	}
	m.SMTP = cmp.Or(m.SMTP, "localhost")
	if _, _, err := net.SplitHostPort(m.SMTP); err != nil {
		port := "25"
		if m.TLS == "implicit" {
			port = "465"
		}
		m.SMTP = net.JoinHostPort(strings.Trim(m.SMTP, "[]"), port)
	}
	return nil
}

// Sender is what sends the mails. A password is read when it is needed.
func (m *Mail) Sender() mailer.Sender {
	if m.Sendmail != "" {
		return &mailer.Sendmail{Path: m.Sendmail}
	}
	s := &mailer.SMTP{Addr: m.SMTP, Username: m.User}
	switch m.TLS {
	case "starttls":
		s.Policy = mailer.StartTLS
	case "implicit":
		s.Policy = mailer.ImplicitTLS
	}
	if m.User != "" {
		s.Password = func(context.Context) (string, error) { return Secret("OBSKEEP_SMTP_PASSWORD", m.PasswordFile) }
	}
	return s
}

// Sent is the address from which the mails are sent.
func (m *Mail) Sent() (mail.Address, error) {
	from := m.From
	if from == "" {
		name := "obskeep"
		if u, err := user.Current(); err == nil {
			name = u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
		}
		return mail.Address{Address: name + "@" + Host()}, nil
	}
	a, err := mail.ParseAddress(from)
	if err != nil {
		return mail.Address{}, err
	}
	return *a, nil
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
