package gintest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config says what a server does. The zero Config has no accounts, so that nobody can
// upload.
type Config struct {
	Dir      string // a folder that exists, for this server alone; empty: in memory
	Accounts []Account
	Schemes  []Scheme // of authentication, the best first; none: all
	Repeats  Repeat
	Daily    int              // uploads that are stored of an observatory in a day; zero means 1440
	Now      func() time.Time // for the day of an upload; nil: the system's clock
	Logger   *slog.Logger     // nil: nothing is logged

	// Fault says what is to go wrong with the request that has just come, and has
	// credentials; nil: nothing.
	Fault func(Request) Fault
	Delay time.Duration // of the slow faults
}

// Repeat says which files are the same.
type Repeat uint8

const (
	SameBytes Repeat = iota // the same content, under whatever name
	SameName                // the same name, first sample and duration
)

// Server is the service. It is an [http.Handler] for all paths that end in "/Cache",
// and may be used by several goroutines at a time.
type Server struct {
	config Config
	nonces nonces
	shelf  *shelf

	mu        sync.Mutex
	identical int
	server    *http.Server
	listener  net.Listener
	scheme    string
	served    chan struct{}
	closed    chan struct{}
	closing   sync.Once
	closeErr  error
}

// New returns a server that holds what the folder has. It serves once it is started, or
// as a handler. Close it when done. The error is [ErrLocked] if another server has the
// folder.
func New(c Config) (*Server, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.Daily = cmp.Or(c.Daily, 1440)
	if len(c.Schemes) == 0 {
		c.Schemes = []Scheme{DigestSHA256, DigestMD5, Basic}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Fault == nil {
		c.Fault = func(Request) Fault { return None }
	}
	shelf, err := openShelf(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("gintest: %w", err)
	}
	return &Server{config: c, nonces: newNonces(), shelf: shelf, closed: make(chan struct{})}, nil
}

// Start serves on a TCP address, such as "127.0.0.1:0" for any free port, until Close.
// Without TLS, nil, that is on the loopback.
func (s *Server) Start(addr string, t *tls.Config) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("gintest: %w", err)
	}
	if t == nil && !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return errors.Join(fmt.Errorf("gintest: listen, on %s: without TLS passwords would go over the network: give a certificate, or listen on 127.0.0.1", addr), l.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.served, s.scheme = l, make(chan struct{}), "http"
	if t != nil {
		s.scheme = "https"
	}
	s.server = &http.Server{
		Handler: s, TLSConfig: t, ReadHeaderTimeout: 30 * time.Second, ReadTimeout: 5 * time.Minute,
		IdleTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(s.served)
		if t == nil {
			s.server.Serve(l) // ends when the listener is closed
		} else {
			s.server.ServeTLS(l, "", "")
		}
	}()
	return nil
}

// Addr returns the host and the port on which a started server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the folder of the service on a started server.
func (s *Server) URL() string { return s.scheme + "://" + s.Addr() + "/GINFileUpload/" }

// Shutdown waits until the requests that are under way have their answers, or ctx ends,
// and closes the server.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	server := s.server
	s.mu.Unlock()
	var err error
	if server != nil {
		err = server.Shutdown(ctx)
	}
	return errors.Join(err, s.Close())
}

// Close ends all connections at once, as a crash does, and lets go of the folder. After
// it nothing is stored.
func (s *Server) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		s.mu.Lock()
		server := s.server
		s.mu.Unlock()
		if server != nil {
			s.closeErr = server.Close()
			<-s.served
		}
		s.closeErr = errors.Join(s.closeErr, s.shelf.close())
	})
	return s.closeErr
}
