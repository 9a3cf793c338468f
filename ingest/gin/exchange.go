package gin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

type request struct {
	method, query, kind string
	body                []byte
	limit               int // of the answer, in bytes
}

type answer struct {
	sent   bool // something of the request may have gone out
	status int
	header http.Header
	body   []byte
}

var (
	errTooLong = errors.New("the answer is too long")
	errNoEnd   = errors.New("the answer does not say where it ends")
)

func (a answer) statusError() error {
	return fmt.Errorf("the server answers %d %s", a.status, http.StatusText(a.status))
}

// exchange sends a request, with the credentials that the server asks for, and
// reads the answer. When there is an error, sent says whether the request may have
// arrived.
func (c *Client) exchange(ctx context.Context, r request) (answer, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	password, err := c.config.Password(ctx)
	if err != nil {
		return answer{}, &passwordError{err}
	}
	known := c.auth.known
	if !known && r.body != nil {
		// So that a file is not sent to a server that will not look at it yet.
		probe := r
		probe.body = nil
		a, err := c.send(ctx, probe, password)
		if err == nil && a.status >= 500 {
			err = a.statusError()
		}
		if err != nil {
			return answer{}, err
		}
		c.auth.learn(a)
	}
	a, err := c.send(ctx, r, password)
	if err != nil {
		c.auth = auth{} // it may have been a refusal that was cut: ask again
		return a, err
	}
	if a.status != http.StatusUnauthorized || !known && r.body != nil {
		return a, nil
	}
	c.auth.learn(a)
	return c.send(ctx, r, password)
}

// send sends a request once, on a connection of its own.
func (c *Client) send(ctx context.Context, r request, password string) (a answer, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := phases{cancel: cancel}
	defer p.end()
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()
	var sent atomic.Bool
	trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { sent.Store(true); p.begin("send", c.config.Send) },
		WroteRequest: func(httptrace.WroteRequestInfo) { p.begin("answer", c.config.Answer) },
	})
	u := *c.cache
	u.RawQuery = r.query
	req, err := http.NewRequestWithContext(trace, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	if err := c.auth.sign(req, c.config.User, password); err != nil {
		return answer{}, err
	}
	p.begin("connect", c.config.Connect)
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return answer{sent: sent.Load()}, err
	}
	defer resp.Body.Close()
	a = answer{sent: true, status: resp.StatusCode, header: resp.Header}
	// Without a length only TLS tells an end from a broken connection.
	if resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && resp.TLS == nil {
		return a, errNoEnd
	}
	if resp.ContentLength > int64(r.limit) {
		return a, errTooLong
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, int64(r.limit)+1))
	if err == nil && len(a.body) > r.limit {
		err = errTooLong
	}
	return a, err
}

// phases ends a request that is too long in one of its phases.
type phases struct {
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
	ended  bool
}

func (p *phases) begin(name string, limit time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	if !p.ended {
		p.timer = time.AfterFunc(limit, func() { p.cancel(&timeoutError{name, limit}) })
	}
}

func (p *phases) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

type timeoutError struct {
	phase string
	limit time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%s: it took more than %v", e.phase, e.limit)
}
func (e *timeoutError) Timeout() bool { return true }
