package gin_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

var noon = time.Date(2024, 3, 15, 12, 0, 0, 0, time.UTC)

const secret = "Kp9-not-to-be-seen"

func password(context.Context) (string, error) { return secret, nil }

// newClient returns a client that is in a hurry.
func newClient(t testing.TB, url string, change ...func(*gin.Config)) *gin.Client {
	t.Helper()
	c := gin.Config{URL: url, User: "tst", Password: password, Settle: -1}
	for _, f := range change {
		f(&c)
	}
	client, err := gin.New(c)
	require.NoError(t, err)
	return client
}

// start starts the service, in memory, with an account for the station TST.
func start(t testing.TB, c gintest.Config) *gintest.Server {
	t.Helper()
	c.Accounts = []gintest.Account{{User: "tst", Password: secret, Stations: []string{"TST"}}}
	s, err := gintest.New(c)
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0", nil))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// demand is what faults are wanted, and may change.
type demand struct {
	mu     sync.Mutex
	faults map[gintest.Request]gintest.Fault
}

func (d *demand) set(kind gintest.Request, fault gintest.Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = map[gintest.Request]gintest.Fault{kind: fault}
}

func (d *demand) fault(kind gintest.Request) gintest.Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults[kind]
}

// once returns a hook that gives a fault to the first request of a kind.
func once(kind gintest.Request, fault gintest.Fault) func(gintest.Request) gintest.Fault {
	var done atomic.Bool
	return func(r gintest.Request) gintest.Fault {
		if r == kind && done.CompareAndSwap(false, true) {
			return fault
		}
		return gintest.None
	}
}

func synthetic(t testing.TB, start time.Time, seed int) gin.File {
	t.Helper()
	f, err := gintest.Synthetic("TST", start, 5, seed)
	require.NoError(t, err)
	return f
}

// serve runs a server of any kind.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// outcome names the type of an error.
func outcome(err error) string {
	if err == nil {
		return "stored"
	}
	for name, is := range map[string]func(error) bool{
		"refused": is[*gin.RefusedError], "later": is[*gin.LaterError], "config": is[*gin.ConfigError], "unknown": is[*gin.UnknownError],
	} {
		if is(err) {
			return name
		}
	}
	return err.Error()
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// A file counts as stored only if the whole first line of the reply is Success,
// Information or Warning, and the reply has its id.
func TestUpload_IsStoredByTheWholeFirstLineAndTheId(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"Success\nData loaded OK, data file id = 7\n":                                     "stored",
		"Information\r\nData loaded OK, data file id = 7\r\n":                             "stored",
		"Warning\nData loaded OK, data file id = 7\nUnable to remove old cache element\n": "stored",
		"Success\nIn the name of the service:\nData loaded OK, data file id = 7":          "stored",
		"Successful\nData loaded OK, data file id = 7\n":                                  "unknown",
		"No Success\nData loaded OK, data file id = 7\n":                                  "unknown",
		"Hello\nSuccess\nData loaded OK, data file id = 7\n":                              "unknown",
		"success\nData loaded OK, data file id = 7\n":                                     "unknown",
		"Success\nData loaded OK\n":                                                       "unknown",
		"Success\nData loaded OK, data file id = -7\n":                                    "unknown",
		"Success\nData loaded OK, data file id = 7 of 8\n":                                "unknown",
		"Success of a kind\nData loaded OK, data file id = 7\n":                           "unknown",
		"Success": "unknown",
		"Error\nIncorrect line length at line number 391\n":        "refused",
		"Error\nSuccess\nData loaded OK, data file id = 7\n":       "refused",
		"Exception\nNullPointer\n":                                 "later",
		"Fatal\nThe service is not configured\n":                   "later",
		"<html>Success\nData loaded OK, data file id = 7</html>\n": "unknown",
		"": "unknown",
	} {
		for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusBadGateway} {
			if status >= 500 {
				want = "unknown" // whoever wrote that
			}
			c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength > 0 {
					w.WriteHeader(status)
				}
				io.WriteString(w, body)
			}))
			f := synthetic(t, noon, 0)
			receipt, err := c.Upload(t.Context(), f.Name, f.Data)
			require.Equal(t, want, outcome(err), "%d %q: %v", status, body, err)
			if err == nil {
				require.EqualValues(t, 7, receipt.ID)
				require.Contains(t, body, receipt.Word)
			}
		}
	}
}

// An outcome that the service left open is an UnknownError, never a success or a
// failure; what it says is not stored, or where a person has to look, is none.
func TestUpload_WhatIsLeftOpenIsUnknown(t *testing.T) {
	t.Parallel()
	want := map[gintest.Fault]string{
		gintest.Unauthorized:   "stored", // the second time
		gintest.Forbidden:      "config",
		gintest.SayError:       "refused",
		gintest.SayException:   "later",
		gintest.SayFatal:       "later",
		gintest.SayInformation: "stored",
		gintest.SayWarning:     "stored",
		gintest.None:           "stored",
	}
	for _, fault := range append(gintest.Faults(), gintest.None) {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			s := start(t, gintest.Config{Fault: once(gintest.Upload, fault), Delay: time.Second})
			c := newClient(t, s.URL(), func(c *gin.Config) {
				if fault == gintest.LoseReply || fault == gintest.SlowReply || fault == gintest.SlowStore {
					c.Answer = 100 * time.Millisecond
				}
			})
			f := synthetic(t, noon, 0)
			_, err := c.Search(t.Context(), gin.Query{}) // the question for credentials is known
			require.NoError(t, err)
			_, err = c.Upload(t.Context(), f.Name, f.Data)
			expected, ok := want[fault]
			if !ok {
				expected = "unknown"
			}
			require.Equal(t, expected, outcome(err), "%v", err)
		})
	}
	for status, expected := range map[int]string{
		http.StatusUnauthorized: "config", http.StatusForbidden: "config", http.StatusProxyAuthRequired: "config",
		http.StatusSeeOther: "unknown", http.StatusNotFound: "unknown", http.StatusGatewayTimeout: "unknown",
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n, _ := io.Copy(io.Discard, r.Body); n > 0 || status == http.StatusUnauthorized {
				http.Error(w, "", status)
			}
		})
		_, err := newClient(t, url).Upload(t.Context(), "a.min", []byte("x"))
		require.Equal(t, expected, outcome(err), "%d: %v", status, err)
	}
}

// Nothing of a file was sent when the connection could not be made: that is a
// LaterError.
func TestUpload_IsForLaterWithoutAConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := "http://" + l.Addr().String()
	require.NoError(t, l.Close())
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	for url, why := range map[string]string{
		closed: "nobody listens",
		strings.Replace(plain, "http", "https", 1):    "the server does not speak TLS",
		"https://no-such-host.invalid/GINFileUpload/": "the name is not known",
	} {
		_, err := newClient(t, url).Upload(t.Context(), "a.min", []byte("x"))
		require.Equal(t, "later", outcome(err), "%s: %v", why, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	_, err = newClient(t, plain).Upload(stopped, "a.min", []byte("x"))
	require.Equal(t, "later", outcome(err), "%v", err)
	require.ErrorIs(t, err, context.Canceled)
}

// counter is the service behind a count of the requests that bring a body.
type counter struct {
	*gintest.Server
	unsigned, signed atomic.Int64 // requests with a body
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ContentLength == 0:
	case r.Header.Get("Authorization") == "":
		c.unsigned.Add(1)
	default:
		c.signed.Add(1)
	}
	c.Server.ServeHTTP(w, r)
}

// Nothing of a file is sent before the server's question for credentials is known. Upload
// sends a file once, and again only to a server that asks for new credentials instead of
// taking it.
func TestUpload_SendsAFileOnce(t *testing.T) {
	t.Parallel()
	for _, scheme := range []gintest.Scheme{gintest.Basic, gintest.DigestMD5, gintest.DigestSHA256} {
		config := gintest.Config{Schemes: []gintest.Scheme{scheme}}
		n := &counter{Server: start(t, config)}
		s := httptest.NewServer(n)
		defer s.Close()
		c := newClient(t, s.URL)
		for i := range 3 {
			f := synthetic(t, noon.Add(time.Duration(i)*time.Hour), 0)
			_, err := c.Upload(t.Context(), f.Name, f.Data)
			require.NoError(t, err)
			require.Zero(t, n.unsigned.Load())
			require.EqualValues(t, i+1, n.signed.Load())
		}
		n.Server = start(t, config) // it does not know its predecessor's nonces
		f := synthetic(t, noon, 1)
		_, err := c.Upload(t.Context(), f.Name, f.Data)
		require.NoError(t, err)
		again := map[gintest.Scheme]int64{gintest.Basic: 0, gintest.DigestMD5: 1, gintest.DigestSHA256: 1}[scheme]
		require.EqualValues(t, 4+again, n.signed.Load())
	}
}

// A server that asks for no credentials gets none.
func TestUpload_SignsNothingUnasked(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		io.WriteString(w, gin.Loaded(gin.Success, 1, "").String())
	})
	_, err := newClient(t, url).Upload(t.Context(), "a.min", []byte("x"))
	require.NoError(t, err)
}

// A wrong password, or none, is a ConfigError, for each question.
func TestClient_AWrongPasswordIsForAPerson(t *testing.T) {
	t.Parallel()
	for _, scheme := range []gintest.Scheme{gintest.Basic, gintest.DigestMD5, gintest.DigestSHA256} {
		s := start(t, gintest.Config{Schemes: []gintest.Scheme{scheme}})
		for _, wrong := range []func(context.Context) (string, error){
			func(context.Context) (string, error) { return "other", nil },
			func(context.Context) (string, error) { return "", errors.New("the file is not there") },
		} {
			c := newClient(t, s.URL(), func(c *gin.Config) { c.Password = wrong })
			_, err := c.Upload(t.Context(), "a.min", []byte("x"))
			require.Equal(t, "config", outcome(err), "%v", err)
			_, err = c.Search(t.Context(), gin.Query{})
			require.Equal(t, "config", outcome(err), "%v", err)
			_, err = c.Download(t.Context(), 1)
			require.Equal(t, "config", outcome(err), "%v", err)
		}
	}
}

// What is no file name is refused before anything is sent.
func TestUpload_RefusesWhatIsNoFileName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b.min", `a".min`, "../a.min", "a\r\n.min", "ä.min"} {
		c := newClient(t, serve(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
		_, err := c.Upload(t.Context(), name, []byte("x"))
		require.Equal(t, "refused", outcome(err), "%v", err)
	}
}
