// Package smtpsink is a mail server that keeps what it gets in memory, for
// demonstrations and tests. It speaks real SMTP (RFC 5321) on a TCP port,
// takes every sender and recipient, delivers nothing anywhere and prints
// nothing. It has neither TLS nor logins: listen on the loopback.
//
// # Guarantees
//
//   - Messages holds what was acknowledged to the client, in that order.
//   - When Close returns, no goroutine and no connection is left.
package smtpsink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Sink is a running server. It may be used by several goroutines at a time.
type Sink struct {
	server   *smtp.Server
	listener *listener
	served   chan struct{} // closed when no connection is accepted any more

	closing  sync.Once
	closeErr error

	mu       sync.Mutex
	messages []Message
}

// Message is one delivery.
type Message struct {
	From string   // of the envelope
	To   []string // of the envelope
	Data []byte   // headers and body, with CR LF
}

// New starts a server on a TCP address, such as "127.0.0.1:0" for any free
// port. Close stops it.
func New(addr string) (*Sink, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("smtpsink: %w", err)
	}
	s := &Sink{listener: &listener{Listener: l}, served: make(chan struct{})}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{sink: s}, nil
	}))
	s.server.Domain = "smtpsink.invalid"
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	s.server.ReadTimeout = time.Minute
	s.server.WriteTimeout = time.Minute
	go func() {
		defer close(s.served)
		s.server.Serve(s.listener) // always ends with an error: the listener is closed
	}()
	return s, nil
}

// Addr returns the host and the port on which the server listens.
func (s *Sink) Addr() string { return s.listener.Addr().String() }

// Messages returns what came in so far.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Close stops the server and its connections, and waits for them to end.
// Messages still returns what came in. Closing again does nothing.
func (s *Sink) Close() error {
	s.closing.Do(func() {
		s.listener.Close()
		<-s.served
		for _, conn := range s.listener.accepted {
			conn.Close()
		}
		s.closeErr = s.server.Shutdown(context.Background())
	})
	if errors.Is(s.closeErr, net.ErrClosed) {
		return nil
	}
	return s.closeErr
}

// listener remembers its connections: the server's own Close passes over one
// that it has accepted and not yet begun to serve.
type listener struct {
	net.Listener
	accepted []net.Conn // complete once Serve has returned
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted = append(l.accepted, conn)
	}
	return conn, err
}

// session is one connection.
type session struct {
	sink *Sink
	Message
}

func (s *session) Reset()        { s.Message = Message{} }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.To = append(s.To, to)
	return nil
}

func (s *session) Data(r io.Reader) (err error) {
	if s.Message.Data, err = io.ReadAll(r); err != nil {
		return err
	}
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.messages = append(s.sink.messages, s.Message)
	return nil
}

// Mail is a message as its reader sees it.
type Mail struct {
	Header     mail.Header
	Subject    string // decoded
	Text, HTML string // decoded; "" if there is no such part
}

// Open decodes a message: its subject, and its parts of type text/plain and
// text/html, alone or in a multipart.
func (m Message) Open() (*Mail, error) { return Open(m.Data) }

// Open decodes the text of a message.
func Open(data []byte) (*Mail, error) {
	msg, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("smtpsink: open: %w", err)
	}
	opened := &Mail{Header: msg.Header}
	if opened.Subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return nil, fmt.Errorf("smtpsink: open: subject: %w", err)
	}
	err = opened.part(msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body)
	if err != nil {
		return nil, fmt.Errorf("smtpsink: open: %w", err)
	}
	return opened, nil
}

func (m *Mail) part(contentType, encoding string, body io.Reader) error {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("content type %q: %w", contentType, err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		for r := multipart.NewReader(body, params["boundary"]); ; {
			p, err := r.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := m.part(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p); err != nil {
				return err
			}
		}
	}
	if strings.EqualFold(encoding, "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	switch kind {
	case "text/plain":
		m.Text = string(text)
	case "text/html":
		m.HTML = string(text)
	}
	return nil
}
