package gin_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

// A Client has one request under way at a time.
func TestClient_HasOneRequestUnderWay(t *testing.T) {
	t.Parallel()
	var under, most atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := under.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(5 * time.Millisecond)
		under.Add(-1)
	})
	c := newClient(t, url)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			_, err := c.Search(t.Context(), gin.Query{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.EqualValues(t, 1, most.Load())
}

// A request ends within the time limits for connecting, sending and the answer, and
// when its context does.
func TestClient_EndsInTime(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody reads
	require.NoError(t, err)
	t.Cleanup(func() { silent.Close() })
	mute := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); n > 0 {
			<-r.Context().Done()
		}
	})
	release := make(chan struct{})
	deaf := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 0 {
			<-release
		}
	})
	t.Cleanup(func() { close(release) }) // before the server waits for its handlers
	const limit = time.Second
	for _, row := range []struct {
		rule, url string
		size      int
		set       func(*gin.Config)
		want      string
	}{
		{"connect: ", "https://" + silent.Addr().String(), 1, func(c *gin.Config) { c.Connect = limit }, "later"},
		{"send: ", deaf, 12 << 20, func(c *gin.Config) { c.Send = limit }, "unknown"},
		{"answer: ", mute, 1, func(c *gin.Config) { c.Answer = limit }, "unknown"},
		{"context deadline exceeded", mute, 1, nil, "unknown"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			ctx, change := t.Context(), row.set
			if change == nil {
				change = func(*gin.Config) {}
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			begun := time.Now()
			_, err := newClient(t, row.url, change).Upload(ctx, "a.min", make([]byte, row.size))
			require.Equal(t, row.want, outcome(err), "%v", err)
			require.ErrorContains(t, err, row.rule)
			require.Less(t, time.Since(begun), 20*time.Second)
		})
	}
}

// No more of an answer is read than its kind can need.
func TestClient_ReadsABoundedAnswer(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	announced := ""
	endless := func(w http.ResponseWriter, r *http.Request) {
		if announced != "" {
			w.Header().Set("Content-Length", announced)
		}
		chunk := bytes.Repeat([]byte("Success "), 32<<10)
		for {
			n, err := w.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	c := newClient(t, serve(t, endless))
	upload := func() error { _, err := c.Upload(t.Context(), "a.min", []byte("x")); return err }
	search := func() error { _, err := c.Search(t.Context(), gin.Query{}); return err }
	download := func() error { _, err := c.Download(t.Context(), 1); return err }
	const kernel = 16 << 20 // what two sockets keep
	require.ErrorContains(t, upload(), "too long")
	require.Less(t, written.Swap(0), int64(64<<10+kernel))
	require.ErrorContains(t, search(), "too long")
	require.Less(t, written.Swap(0), int64(4<<20+kernel))
	announced = "1000000000000"
	for _, ask := range []func() error{upload, search, download} {
		require.ErrorContains(t, ask(), "too long")
		require.Less(t, written.Swap(0), int64(kernel))
	}
}

// An answer that does not say where it ends is not believed: it may have been cut.
func TestClient_DoesNotBelieveAnAnswerWithoutAnEnd(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			io.WriteString(conn, "HTTP/1.0 200 OK\r\n\r\nSuccess\nData loaded OK, data file id = 12")
			conn.Close()
		}
	})
	c := newClient(t, url)
	_, err := c.Upload(t.Context(), "a.min", []byte("x"))
	require.Equal(t, "later", outcome(err), "the probe: %v", err)
	_, err = c.Search(t.Context(), gin.Query{})
	require.Equal(t, "later", outcome(err), "%v", err)
}

// The password is in no error and goes to no other server; without TLS it goes to the
// loopback alone.
func TestClient_KeepsThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://gin-upload.example.org/", "http://tst:" + secret + "@127.0.0.1/", "ftp://127.0.0.1/", "127.0.0.1", "http://127.0.0.1:" + secret + "/", "tst:" + secret + "@127.0.0.1/", "",
	} {
		_, err := gin.New(gin.Config{URL: url, User: "tst", Password: password})
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), secret)
	}
	for _, c := range []gin.Config{{User: "tst"}, {Password: password}, {User: "a:b", Password: password}} {
		c.URL = "http://127.0.0.1/"
		_, err := gin.New(c)
		require.Error(t, err)
	}

	asked := atomic.Bool{}
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { asked.Store(true) })
	f := synthetic(t, noon, 0)
	for _, scheme := range []gintest.Scheme{gintest.Basic, gintest.DigestMD5} {
		s := start(t, gintest.Config{Schemes: []gintest.Scheme{scheme}})
		for _, h := range []http.HandlerFunc{
			func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					s.ServeHTTP(w, r)
					return
				}
				http.Redirect(w, r, other+r.URL.Path, http.StatusTemporaryRedirect)
			},
			func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					s.ServeHTTP(w, r)
					return
				}
				http.Error(w, "", http.StatusInternalServerError)
			},
		} {
			c := newClient(t, serve(t, h))
			_, uploadErr := c.Upload(t.Context(), f.Name, f.Data)
			_, searchErr := c.Search(t.Context(), gin.Query{})
			_, downloadErr := c.Download(t.Context(), 1)
			for _, err := range []error{uploadErr, searchErr, downloadErr} {
				require.Error(t, err)
				require.NotContains(t, err.Error(), secret)
			}
		}
	}
	require.False(t, asked.Load(), "a redirection was followed")
}

// Over TLS the client knows the server by its certificate.
func TestClient_SpeaksTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(start(t, gintest.Config{}))
	defer s.Close()
	f := synthetic(t, noon, 0)
	_, err := newClient(t, s.URL).Upload(t.Context(), f.Name, f.Data)
	require.Equal(t, "later", outcome(err), "%v", err)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := newClient(t, s.URL, func(c *gin.Config) { c.TLS = &tls.Config{RootCAs: roots} })
	receipt, err := c.Upload(t.Context(), f.Name, f.Data)
	require.NoError(t, err)
	data, err := c.Download(t.Context(), receipt.ID)
	require.NoError(t, err)
	require.Equal(t, string(f.Data), string(data))
}
