package mailer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// TLSPolicy says how the connection to an SMTP server is protected.
type TLSPolicy uint8

const (
	// Opportunistic, the zero value, uses STARTTLS if the server offers it,
	// and clear text otherwise. The certificate is verified only if SMTP.TLS
	// is set: who can forge it could as well suppress the offer (RFC 7435).
	Opportunistic TLSPolicy = iota
	// StartTLS sends nothing unless the server offers STARTTLS (RFC 3207)
	// and shows a certificate that can be verified.
	StartTLS
	// ImplicitTLS encrypts from the first byte, usually on port 465 (RFC
	// 8314, 3.3), and verifies the certificate.
	ImplicitTLS
)

// errNoTLS: the policy wants STARTTLS, and the server does not offer it.
var errNoTLS = errors.New("the server does not offer STARTTLS")

// SMTP sends through a mail server (RFC 5321), with one connection for each
// message. It may be used by several goroutines at a time.
type SMTP struct {
	Addr string // host:port, such as "localhost:25" or "smtp.example.org:587"

	// Username logs in; "": no login. A login makes StartTLS of Opportunistic.
	Username string
	// Password is asked once for each connection, after TLS is verified. Let
	// it read a file or the environment. Required with a Username.
	Password func(ctx context.Context) (string, error)

	Policy TLSPolicy
	// TLS adds to Policy: authorities, a client certificate. Nil: the
	// system's authorities. An empty ServerName is the host of Addr.
	TLS *tls.Config

	// Hello is the name of this machine for EHLO. "": the host name if it has
	// a domain, and the address of the connection otherwise (RFC 5321, 4.1.4).
	Hello string

	// Timeout is for one message, from the connection to the reply. Zero: 2
	// minutes.
	Timeout time.Duration
}

var _ Sender = (*SMTP)(nil)

// Send delivers m to the server. If the server refuses some recipients, it
// sends to the others, and the *[SendError] names those refused.
func (s *SMTP) Send(ctx context.Context, m *Message) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	fail := func(step string, err error) error { return s.sendError(ctx, step, m.Recipients(), err) }

	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fail("connect", fmt.Errorf("want host:port: %w", err))
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Timeout, 2*time.Minute))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return fail("connect", err)
	}
	defer conn.Close()
	// Blocked reads and writes end when ctx does.
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	hello := cmp.Or(s.Hello, helloName(conn))
	if s.Policy == ImplicitTLS {
		secure := tls.Client(conn, s.tlsConfig(host))
		if err := secure.HandshakeContext(ctx); err != nil {
			return fail("TLS", err)
		}
		conn = secure
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return fail("hello", err)
	}
	client.SkipSMTPUTF8(true) // headers and addresses are ASCII
	if err := client.Hello(hello); err != nil {
		return fail("hello", err)
	}
	if s.Policy != ImplicitTLS {
		offered, _ := client.Extension("STARTTLS")
		if !offered && s.mustTLS() {
			return fail("TLS", errNoTLS)
		}
		if offered {
			if err := client.StartTLS(s.tlsConfig(host)); err != nil {
				return fail("TLS", err)
			}
		}
	}
	if s.Username != "" {
		if err := s.login(ctx, client, host); err != nil {
			return fail("login", err)
		}
	}
	return s.deliver(ctx, client, m, text)
}

// deliver carries out one mail transaction (RFC 5321, 3.3).
func (s *SMTP) deliver(ctx context.Context, client *smtp.Client, m *Message, text []byte) error {
	all := m.Recipients()
	if err := client.Mail("<" + m.From.Address + ">"); err != nil {
		return s.sendError(ctx, "sender", all, err)
	}
	var refused []mail.Address
	var refusals []error
	for _, to := range all {
		err := client.Rcpt("<" + to.Address + ">")
		if err == nil {
			continue
		}
		if _, answered := errors.AsType[*textproto.Error](err); !answered {
			return s.sendError(ctx, "recipient", all, err)
		}
		refused = append(refused, to)
		refusals = append(refusals, err)
	}
	var refusal error
	if refused != nil {
		refusal = s.sendError(ctx, "recipient", refused, errors.Join(refusals...))
	}
	if len(refused) == len(all) {
		client.Quit()
		return refusal
	}
	w, err := client.Data()
	if err != nil {
		return s.sendError(ctx, "data", all, err)
	}
	if _, err := w.Write(text); err != nil {
		return s.sendError(ctx, "data", all, err)
	}
	if err := w.Close(); err != nil {
		_, answered := errors.AsType[*textproto.Error](err)
		e := s.sendError(ctx, "data", all, err)
		e.Unknown = !answered
		return e
	}
	// The message is the server's now, whatever comes after (RFC 5321, 4.1.1.4).
	client.Quit()
	return refusal
}

func (s *SMTP) mustTLS() bool { return s.Policy != Opportunistic || s.Username != "" }

func (s *SMTP) tlsConfig(host string) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: !s.mustTLS()}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	config.ServerName = cmp.Or(config.ServerName, host)
	return config
}

// login uses the strongest mechanism of those that both sides know.
func (s *SMTP) login(ctx context.Context, client *smtp.Client, host string) error {
	if s.Password == nil {
		return errors.New("a user name without a password")
	}
	_, offer := client.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(offer))
	mechanisms := []struct {
		name string
		auth func(password string) smtp.Auth
	}{
		{"SCRAM-SHA-256", func(p string) smtp.Auth { return smtp.ScramSHA256Auth(s.Username, p) }},
		{"PLAIN", func(p string) smtp.Auth { return smtp.PlainAuth("", s.Username, p, host, false) }},
		{"LOGIN", func(p string) smtp.Auth { return smtp.LoginAuth(s.Username, p, host, false) }},
	}
	for _, mechanism := range mechanisms {
		if !slices.Contains(offered, mechanism.name) {
			continue
		}
		password, err := s.Password(ctx)
		if err != nil {
			return fmt.Errorf("password: %w", err)
		}
		return client.Auth(mechanism.auth(password))
	}
	return fmt.Errorf("the server offers %q and not SCRAM-SHA-256, PLAIN or LOGIN", offer)
}

// sendError finds the reply in err.
func (s *SMTP) sendError(ctx context.Context, step string, remaining []mail.Address, err error) *SendError {
	e := &SendError{Server: s.Addr, Step: step, Remaining: remaining, Err: err}
	if cause := context.Cause(ctx); cause != nil {
		e.Err = fmt.Errorf("%w: %w", cause, err)
	}
	replies := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		replies = joined.Unwrap()
	}
	// The greatest code of several: if one refusal is permanent, trying again
	// is not enough.
	for _, reply := range replies {
		if r, ok := errors.AsType[*textproto.Error](reply); ok {
			e.Code = max(e.Code, r.Code)
		}
	}
	e.Permanent = e.Code >= 500
	return e
}

// helloName is a name that RFC 5321, 4.1.4 allows without asking anybody.
func helloName(conn net.Conn) string {
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") && atoms(name) == name {
		return name
	}
	if addr, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		if v4 := addr.IP.To4(); v4 != nil {
			return "[" + v4.String() + "]"
		}
		return "[IPv6:" + addr.IP.String() + "]"
	}
	return "localhost"
}
