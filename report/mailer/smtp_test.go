package mailer_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report/mailer"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

func sendError(t testing.TB, err error) *mailer.SendError {
	t.Helper()
	e, ok := errors.AsType[*mailer.SendError](err)
	require.True(t, ok, "%v", err)
	return e
}

// The server gets exactly what WriteTo writes, also a lone dot, and the
// addresses of the message as the envelope.
func TestSMTP_SendsTheMessageUnchanged(t *testing.T) {
	t.Parallel()
	s := new(server).start(t)
	m := compose(t, trouble(), mail.Address{Name: "A, B", Address: "a@example.org"}, mail.Address{Address: "b@example.org"})
	require.NoError(t, (&mailer.SMTP{Addr: s.addr}).Send(t.Context(), m))

	got := s.messages()
	require.Len(t, got, 1)
	require.Equal(t, written(t, m), string(got[0].Data))
	require.Equal(t, "backup@example.org", got[0].From)
	require.Equal(t, []string{"a@example.org", "b@example.org"}, got[0].To)
}

func TestSMTP_TLSPolicy(t *testing.T) {
	t.Parallel()
	serverTLS, trusting := certified(t)
	for _, row := range []struct {
		rule   string
		server *server
		client mailer.SMTP
		secure bool
	}{
		{"clear text if the server offers nothing else", &server{}, mailer.SMTP{}, false},
		{"STARTTLS if it is offered, whatever the certificate", &server{tls: serverTLS}, mailer.SMTP{}, true},
		{"STARTTLS with a certificate that must be verified", &server{tls: serverTLS}, mailer.SMTP{Policy: mailer.StartTLS, TLS: trusting}, true},
		{"TLS from the first byte", &server{tls: serverTLS, implicit: true}, mailer.SMTP{Policy: mailer.ImplicitTLS, TLS: trusting}, true},
		{"a login over STARTTLS", &server{tls: serverTLS, login: true}, mailer.SMTP{TLS: trusting, Username: "supim", Password: password("secret")}, true},
		{"a login over implicit TLS", &server{tls: serverTLS, login: true, implicit: true}, mailer.SMTP{Policy: mailer.ImplicitTLS, TLS: trusting, Username: "supim", Password: password("secret")}, true},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := row.server.start(t)
			row.client.Addr = s.addr
			require.NoError(t, row.client.Send(t.Context(), numbered(t, 1)))
			require.Len(t, s.got, 1)
			require.Equal(t, []bool{row.secure}, s.secure)
			require.Equal(t, row.server.login, s.logins == 1)
		})
	}
}

// A password is never sent over a connection without TLS, nor to a server
// whose certificate was not verified; no message leaves either.
func TestSMTP_GuardsThePassword(t *testing.T) {
	t.Parallel()
	serverTLS, _ := certified(t)
	otherTLS, _ := certified(t)
	_, otherTrust := certified(t)
	for _, row := range []struct {
		rule   string
		server *server
		client mailer.SMTP
		check  func(*testing.T, error)
	}{
		{"the server offers no STARTTLS", &server{login: true}, mailer.SMTP{}, nil},
		{"nobody trusts the certificate", &server{login: true, tls: serverTLS}, mailer.SMTP{}, isUntrusted},
		{"another authority is trusted", &server{login: true, tls: otherTLS}, mailer.SMTP{TLS: otherTrust}, isUntrusted},
		{"nobody trusts the certificate of implicit TLS", &server{login: true, tls: serverTLS, implicit: true}, mailer.SMTP{Policy: mailer.ImplicitTLS}, isUntrusted},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := row.server.start(t)
			row.client.Addr, row.client.Username = s.addr, "supim"
			row.client.Password = func(context.Context) (string, error) {
				t.Error("the password was asked for")
				return "secret", nil
			}
			err := row.client.Send(t.Context(), numbered(t, 1))
			require.Equal(t, "TLS", sendError(t, err).Step)
			require.ErrorContains(t, err, s.addr)
			if row.check != nil {
				row.check(t, err)
			}
			require.Zero(t, s.logins)
			require.Empty(t, s.messages())
		})
	}
}

func isUntrusted(t *testing.T, err error) {
	t.Helper()
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	require.True(t, ok, "%v", err)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)
}

// StartTLS sends nothing over a connection that is not protected.
func TestSMTP_StartTLSNeedsAnOffer(t *testing.T) {
	t.Parallel()
	s := new(server).start(t)
	err := (&mailer.SMTP{Addr: s.addr, Policy: mailer.StartTLS}).Send(t.Context(), numbered(t, 1))
	require.Equal(t, "TLS", sendError(t, err).Step)
	require.Empty(t, s.messages())
}

// A login that fails says so, without the password.
func TestSMTP_ReportsALoginThatFails(t *testing.T) {
	t.Parallel()
	serverTLS, trusting := certified(t)
	for _, row := range []struct {
		rule     string
		login    bool
		password func(context.Context) (string, error)
		code     int
	}{
		{"a wrong password", true, password("hunter2"), 535},
		{"no password", true, nil, 0},
		{"a password that cannot be read", true, func(context.Context) (string, error) { return "", errNoPassword }, 0},
		{"a server without logins", false, password("hunter2"), 0},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := (&server{tls: serverTLS, login: row.login}).start(t)
			err := (&mailer.SMTP{Addr: s.addr, TLS: trusting, Username: "supim", Password: row.password}).Send(t.Context(), numbered(t, 1))
			e := sendError(t, err)
			require.Equal(t, "login", e.Step)
			require.Equal(t, row.code, e.Code)
			require.NotContains(t, err.Error(), "hunter2")
			require.Empty(t, s.messages())
		})
	}
}

// A refusal tells at which step, with which code, and whether to try again.
func TestSMTP_ReportsARefusal(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		server *server
		step   string
		code   int
	}{
		{"the sender, for good", &server{onMail: func(net.Conn) error { return refusal(550) }}, "sender", 550},
		{"the sender, for now", &server{onMail: func(net.Conn) error { return refusal(451) }}, "sender", 451},
		{"the recipient, for good", &server{onRcpt: func(net.Conn, string) error { return refusal(550) }}, "recipient", 550},
		{"the recipient, for now", &server{onRcpt: func(net.Conn, string) error { return refusal(450) }}, "recipient", 450},
		{"the text, for good", &server{onData: func(net.Conn) error { return refusal(554) }}, "data", 554},
		{"the text, for now", &server{onData: func(net.Conn) error { return refusal(452) }}, "data", 452},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := row.server.start(t)
			m := numbered(t, 1)
			err := (&mailer.SMTP{Addr: s.addr}).Send(t.Context(), m)
			e := sendError(t, err)
			require.Equal(t, row.step, e.Step)
			require.Equal(t, row.code, e.Code)
			require.Equal(t, row.code >= 500, e.Permanent)
			require.False(t, e.Unknown)
			require.Equal(t, m.To, e.Remaining)
			require.ErrorContains(t, err, s.addr)
			require.ErrorContains(t, err, "not today")
			require.Empty(t, s.messages())
		})
	}
}

// A connection that breaks before the end of the text is a message not sent;
// one that breaks after it is Unknown.
func TestSMTP_KnowsWhatABrokenConnectionMeans(t *testing.T) {
	t.Parallel()
	cut := func(c net.Conn) error { c.Close(); return nil }
	for _, row := range []struct {
		rule    string
		server  *server
		step    string
		unknown bool
	}{
		{"after the sender", &server{onMail: cut}, "sender", false},
		{"after the recipient", &server{onRcpt: func(c net.Conn, _ string) error { return cut(c) }}, "recipient", false},
		{"after the text", &server{onData: cut}, "data", true},
	} {
		t.Run(row.rule, func(t *testing.T) {
			s := row.server.start(t)
			e := sendError(t, (&mailer.SMTP{Addr: s.addr}).Send(t.Context(), numbered(t, 1)))
			require.Equal(t, row.step, e.Step)
			require.Equal(t, row.unknown, e.Unknown)
			require.False(t, e.Permanent)
			require.Zero(t, e.Code)
		})
	}
}

// A server that is not there, or is none, is named.
func TestSMTP_NamesAServerThatCannotBeReached(t *testing.T) {
	t.Parallel()
	gone, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	for _, row := range []struct{ rule, addr string }{
		{"nobody listens", gone.Addr()},
		{"an address without a port", "localhost"},
		{"no address", ""},
		{"a name that nobody has", "smtp.invalid:25"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			err := (&mailer.SMTP{Addr: row.addr}).Send(t.Context(), numbered(t, 1))
			e := sendError(t, err)
			require.Equal(t, "connect", e.Step)
			require.Equal(t, row.addr, e.Server)
			require.ErrorContains(t, err, row.addr)
		})
	}
}

// A server that never answers ends with the timeout, or with the context.
func TestSMTP_DoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()

	err = (&mailer.SMTP{Addr: silent.Addr().String(), Timeout: time.Millisecond}).Send(t.Context(), numbered(t, 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator stopped it")
	s := (&server{onRcpt: func(net.Conn, string) error { cancel(cause); return nil }}).start(t)
	err = (&mailer.SMTP{Addr: s.addr}).Send(ctx, numbered(t, 1))
	require.ErrorIs(t, err, cause)
	require.Empty(t, s.messages())
}

// If the server takes a message for some recipients only, those get it and
// the error names the others.
func TestSMTP_SendsToThoseWhoAreNotRefused(t *testing.T) {
	t.Parallel()
	s := (&server{onRcpt: func(_ net.Conn, to string) error {
		if to != "b@example.org" {
			return refusal(450)
		}
		return nil
	}}).start(t)
	m := compose(t, trouble(), mail.Address{Address: "a@example.org"}, mail.Address{Address: "b@example.org"}, mail.Address{Address: "c@example.org"})
	e := sendError(t, (&mailer.SMTP{Addr: s.addr}).Send(t.Context(), m))
	require.Equal(t, []mail.Address{m.To[0], m.To[2]}, e.Remaining)
	require.False(t, e.Permanent)
	require.Len(t, s.messages(), 1)
	require.Equal(t, []string{"b@example.org"}, s.got[0].To)
}

// A message that cannot be written is refused before any connection.
func TestSMTP_RefusesAMessageThatCannotBeSent(t *testing.T) {
	t.Parallel()
	m := numbered(t, 1)
	m.To = nil
	err := (&mailer.SMTP{Addr: "127.0.0.1:1"}).Send(t.Context(), m)
	require.Error(t, err)
	_, sent := errors.AsType[*mailer.SendError](err)
	require.False(t, sent)
}

// A program mails its report through a server that wants a login.
func ExampleSMTP() {
	server := &mailer.SMTP{
		Addr:     "smtp.example.org:587",
		Username: "supim",
		Password: func(context.Context) (string, error) {
			text, err := os.ReadFile("/etc/obskeep/smtp-password")
			return string(text), err
		},
	}
	err := server.Send(context.Background(), &mailer.Message{Subject: "without a date"})
	fmt.Println(err)
	// Output: mailer: message without a date
}
