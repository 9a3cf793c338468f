package mailer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report/mailer/mailtest"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

// server is a real SMTP server in this process that can misbehave at each
// step. It has STARTTLS if TLS is set before start, and wants the login
// "supim", "secret" if login is set.
type server struct {
	tls      *tls.Config
	implicit bool
	login    bool
	// mechanisms of the login, by name; nil: PLAIN alone.
	mechanisms map[string]func(check func(user, password string) error) sasl.Server
	// Each may return an error to refuse, or close the connection.
	onMail func(c net.Conn) error
	onRcpt func(c net.Conn, to string) error
	onData func(c net.Conn) error // after the text came in

	addr string

	mu        sync.Mutex
	got       []smtpsink.Message
	secure    []bool // whether each came over TLS
	logins    int    // attempts
	mechanism string // of the last one
}

func (s *server) start(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = l.Addr().String()
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &serverSession{server: s, conn: c}, nil
	}))
	srv.Domain = "localhost"
	srv.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLSConfig = s.tls
	if s.implicit {
		l = tls.NewListener(l, s.tls)
	}
	served := make(chan struct{})
	go func() { defer close(served); srv.Serve(l) }()
	t.Cleanup(func() {
		l.Close()
		<-served
		srv.Close()
	})
	return s
}

func (s *server) messages() []smtpsink.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

type serverSession struct {
	server *server
	conn   *smtp.Conn
	smtpsink.Message
}

func (s *serverSession) Reset()        { s.Message = smtpsink.Message{} }
func (s *serverSession) Logout() error { return nil }

func (s *serverSession) AuthMechanisms() []string {
	switch {
	case !s.server.login:
		return nil
	case s.server.mechanisms == nil:
		return []string{sasl.Plain}
	}
	return slices.Sorted(maps.Keys(s.server.mechanisms))
}

func (s *serverSession) Auth(mechanism string) (sasl.Server, error) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.logins++
	s.server.mechanism = mechanism
	server := s.server.mechanisms[mechanism]
	if server == nil {
		server = plainLogin
	}
	return server(func(user, password string) error {
		if user != "supim" || password != "secret" {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *serverSession) Mail(from string, _ *smtp.MailOptions) error {
	s.From = from
	if s.server.onMail != nil {
		return s.server.onMail(s.conn.Conn())
	}
	return nil
}

func (s *serverSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.onRcpt != nil {
		if err := s.server.onRcpt(s.conn.Conn(), to); err != nil {
			return err
		}
	}
	s.To = append(s.To, to)
	return nil
}

func (s *serverSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.Message.Data = data
	if s.server.onData != nil {
		if err := s.server.onData(s.conn.Conn()); err != nil {
			return err
		}
	}
	_, secure := s.conn.TLSConnectionState()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.got = append(s.server.got, s.Message)
	s.server.secure = append(s.server.secure, secure)
	return nil
}

func refusal(code int) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "not today"}
}

// certified returns what a server shows, and what a client needs to trust it.
func certified(t *testing.T) (server, client *tls.Config) {
	pair, pool := mailtest.Certificate(t)
	return &tls.Config{Certificates: []tls.Certificate{pair}}, &tls.Config{RootCAs: pool}
}

func password(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

var errNoPassword = errors.New("no password file")
