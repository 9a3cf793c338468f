package gin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime/multipart"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says where the service is and how it is spoken to.
type Config struct {
	// URL is the folder of the service, "https://gin-upload.bgs.ac.uk/GINFileUpload/".
	// It is https, or http on the loopback, and has no password in it.
	URL  string
	User string
	// Password is called for each request. It must not be nil.
	Password func(context.Context) (string, error)

	TLS *tls.Config // nil trusts the system's roots

	Connect time.Duration // limit for connecting, with TLS; zero means 10 s
	Send    time.Duration // limit for sending a request; zero means 60 s
	Answer  time.Duration // limit for its answer; zero means 60 s

	// Settle is how long the service may be at work on an upload whose connection
	// broke: Reconcile asks a second time after it. Zero means 10 s; less, not at all.
	Settle time.Duration
}

// Client speaks with the service. It may be used by several goroutines at a time,
// which wait for each other.
type Client struct {
	config Config
	cache  *url.URL // of all requests
	http   *http.Transport
	turn   chan struct{} // holds the one who may send
	auth   auth          // belongs to who has the turn
}

// Limits of what is read, in bytes.
const (
	maxReply   = 64 << 10
	maxListing = 4 << 20  // 50,000 rows
	maxFile    = 16 << 20 // a day of seconds has 6.1 million
)

// New returns a client. Nothing is sent. The error says what is wrong with the
// configuration.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	// No message has the URL in it: somebody may have put a password there.
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("gin: URL: it is not a web address, https://HOST/FOLDER/")
	case u.User != nil:
		return nil, errors.New("gin: URL: a user or password stands in it; give them apart from it")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("gin: URL: it is not https, and %s is another machine", u.Host)
	case c.User == "" || strings.Contains(c.User, ":"):
		return nil, fmt.Errorf("gin: user %q: want a name without a colon", c.User)
	case c.Password == nil:
		return nil, errors.New("gin: there is no password")
	}
	c.Connect = cmp.Or(c.Connect, 10*time.Second)
	c.Send = cmp.Or(c.Send, time.Minute)
	c.Answer = cmp.Or(c.Answer, time.Minute)
	c.Settle = cmp.Or(c.Settle, 10*time.Second)
	return &Client{
		config: c,
		cache:  u.JoinPath("Cache"),
		turn:   make(chan struct{}, 1),
		http: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			DialContext:     new(net.Dialer).DialContext,
			TLSClientConfig: c.TLS,
			// A connection that waited for its next request may be gone: then
			// it could not be told whether anything arrived.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxReply,
		},
	}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Upload offers a file under a name, which has no folder, and returns what the
// service gives for it once it is stored. The error is a [*RefusedError],
// [*LaterError], [*ConfigError] or [*UnknownError]; see the package comment.
func (c *Client) Upload(ctx context.Context, name string, data []byte) (Receipt, error) {
	what := "upload, on " + name
	if !isFileName(name) {
		return Receipt{}, &RefusedError{what, "it is not the name of a data file"}
	}
	kind, body, err := form(name, data)
	if err != nil {
		return Receipt{}, &LaterError{what, err}
	}
	a, err := c.exchange(ctx, request{method: http.MethodPost, kind: kind, body: body, limit: maxReply})
	if err := unserved(what, a, err); err != nil {
		return Receipt{}, err
	}
	var reply Reply
	switch {
	case err != nil && !a.sent:
		return Receipt{}, &LaterError{what, err}
	case err == nil && a.status >= 500:
		err = a.statusError()
	case err == nil:
		reply, err = ParseReply(a.body)
	}
	if err != nil {
		return Receipt{}, &UnknownError{what, err}
	}
	if err := reply.refusal(what); err != nil {
		return Receipt{}, err
	}
	return Receipt{reply.ID, reply.Word, reply.Text}, nil
}

// Search lists the files that match a query, in the service's order. The error is a
// [*RefusedError], [*LaterError] or [*ConfigError].
func (c *Client) Search(ctx context.Context, q Query) ([]Entry, error) {
	body, err := c.get(ctx, "search", q.Values(), maxListing)
	if err != nil {
		return nil, err
	}
	list, err := ParseListing(body)
	if err != nil {
		return nil, &LaterError{"search", err}
	}
	return list, nil
}

// Download returns the file with an id, unchanged. The error is a [*RefusedError],
// also if there is none, [*LaterError] or [*ConfigError].
func (c *Client) Download(ctx context.Context, id int64) ([]byte, error) {
	return c.download(ctx, id, maxFile)
}

func (c *Client) download(ctx context.Context, id int64, limit int) ([]byte, error) {
	number := strconv.FormatInt(id, 10)
	v := url.Values{"Request": {"Download"}, "Format": {"plain"}, "ID": {number}}
	return c.get(ctx, "download, on id "+number, v, limit)
}

// get asks a question and returns the answer, unless that is a reply which says that
// there is none.
func (c *Client) get(ctx context.Context, what string, v url.Values, limit int) ([]byte, error) {
	a, err := c.exchange(ctx, request{method: http.MethodGet, query: v.Encode(), limit: limit})
	if err := unserved(what, a, err); err != nil {
		return nil, err
	}
	if err == nil && a.status != http.StatusOK {
		err = a.statusError()
	}
	if err != nil {
		return nil, &LaterError{what, err}
	}
	if reply, err := ParseReply(a.body); err == nil {
		if err := reply.refusal(what); err != nil {
			return nil, err
		}
	}
	return a.body, nil
}

// unserved returns the error for an answer that a person has to look at.
func unserved(what string, a answer, err error) error {
	if e, ok := errors.AsType[*passwordError](err); ok {
		return &ConfigError{what, e}
	}
	switch {
	case err != nil:
		return nil
	case slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired}, a.status):
		return &ConfigError{what, fmt.Errorf("%w; look at the user, the password and what the account may do", a.statusError())}
	}
	return nil
}

// refusal returns the error for a reply that says not stored.
func (r Reply) refusal(what string) error {
	switch r.Word {
	case Error:
		return &RefusedError{what, r.Text}
	case Exception, Fatal:
		return &LaterError{what, fmt.Errorf("the service answers %s: %s", r.Word, oneLine(r.Text))}
	}
	return nil
}

// isFileName keeps out what would have to be escaped in a form.
func isFileName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-')
	})
}

// form writes the form of an upload (RFC 7578).
func form(name string, data []byte) (kind string, body []byte, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	err = errors.Join(w.WriteField("Request", "Upload"), w.WriteField("Format", "plain"))
	part, e := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="File"; filename="%s"`, name)},
		"Content-Type":        {"text/plain"},
	})
	if err = errors.Join(err, e); err != nil {
		return "", nil, err
	}
	_, err = part.Write(data)
	err = errors.Join(err, w.Close())
	return w.FormDataContentType(), b.Bytes(), err
}
