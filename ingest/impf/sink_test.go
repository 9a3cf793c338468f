package impf_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/impf"
	"github.com/obskeep/obskeep/ingest/sample"
)

var (
	_ ingest.Sink  = (*impf.Publisher)(nil)
	_ ingest.Asker = (*impf.Confirmed)(nil)
)

// is checks an outcome, and that its text is a line.
func is(t *testing.T, want ingest.Outcome, r ingest.Receipt) {
	t.Helper()
	require.Equal(t, want, r.Outcome, r.Text)
	require.NotEmpty(t, r.Text)
	require.NotContains(t, r.Text, "\n")
	require.NotContains(t, r.Text, secret)
}

// Publisher says Stored only after the broker has acknowledged the message.
func TestPublisher_SaysStoredOnlyAfterTheAcknowledgement(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	p := b.publisher(t)
	is(t, ingest.Stored, p.Send(t.Context(), batch(t, "TST", 1)))
	is(t, ingest.Stored, p.Send(t.Context(), batch(t, "TST", 2)))
	require.Equal(t, 2, b.hook.count())

	b.hook.set(func(h *hook) { h.lose = packets.Puback })
	is(t, ingest.Unknown, p.Send(t.Context(), batch(t, "TST", 3)))
	b.hook.set(func(h *hook) {
		h.lose = 0
		h.trouble = func(c *mqtt.Client, _ packets.Packet) error { return c.Net.Conn.Close() }
	})
	is(t, ingest.Unknown, p.Send(t.Context(), batch(t, "TST", 4)))
	// This broker closes the connection of who publishes where it may not.
	b.hook.set(func(h *hook) { h.trouble = nil })
	r := p.Send(t.Context(), batch(t, "ABC", 5))
	is(t, ingest.Unknown, r)
	require.Contains(t, r.Text, "may tst publish there?")
	is(t, ingest.Stored, p.Send(t.Context(), batch(t, "TST", 6)))
}

// Where nothing was sent the outcome is Later; where it may have been it is Unknown.
func TestSend_SaysLaterWhereNothingWasSent(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	one := batch(t, "TST", 1)
	wrong := func(user string) impf.Account {
		return impf.Account{User: user, Password: func(context.Context) (string, error) { return "x" + secret, nil }}
	}
	for name, c := range map[string]struct {
		account impf.Account
		change  func(*impf.Broker)
		text    string
	}{
		"a wrong password":  {wrong("tst"), nil, "as tst on " + b.address + ": the broker refuses the user or the password"},
		"no password":       {impf.Account{User: "tst", Password: func(context.Context) (string, error) { return "", errors.New("the file is gone") }}, nil, "the file is gone"},
		"nobody listens":    {account("tst"), func(at *impf.Broker) { at.URL = "mqtts://" + closed(t) }, "refused"},
		"nobody answers":    {account("tst"), func(at *impf.Broker) { at.URL, at.Connect = "mqtts://"+silent(t), 300*time.Millisecond }, "deadline"},
		"no login":          {account("tst"), func(at *impf.Broker) { at.URL, at.Connect = "mqtt://"+silent(t), 300*time.Millisecond }, "no answer to the login"},
		"a certificate":     {account("tst"), func(at *impf.Broker) { at.TLS = nil }, "certificate"},
		"another host name": {account("tst"), func(at *impf.Broker) { at.TLS = &tls.Config{RootCAs: b.roots, ServerName: "gin.invalid"} }, "gin.invalid"},
	} {
		at := b.at()
		if c.change != nil {
			c.change(&at)
		}
		p, err := impf.NewPublisher(at, c.account)
		require.NoError(t, err)
		r := p.Send(t.Context(), one)
		is(t, ingest.Later, r)
		require.Contains(t, r.Text, c.text, name)

		reader := c.account
		reader.User += "-read"
		confirmed, err := impf.NewConfirmed(at, account("tst"), reader)
		require.NoError(t, err)
		is(t, ingest.Later, confirmed.Send(t.Context(), one))
		is(t, ingest.Unknown, confirmed.Ask(t.Context(), one))
		p.Close()
		confirmed.Close()
	}
	ended, end := context.WithCancel(t.Context())
	end()
	is(t, ingest.Later, b.publisher(t).Send(ended, one))
	c := b.confirmed(t)
	is(t, ingest.Later, c.Send(ended, one))
	r := c.Send(t.Context(), batch(t, "ABC", 1))
	is(t, ingest.Later, r)
	require.Contains(t, r.Text, "may the user read there?")
	require.Zero(t, b.hook.count())
}

// closed returns an address where nobody listens.
func closed(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// silent returns an address where nobody answers.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// A batch that is no message of the format is refused, and not sent.
func TestSend_RefusesWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	p, c := b.publisher(t), b.confirmed(t)
	for _, change := range []func(*ingest.Batch){
		func(b *ingest.Batch) { b.Name = "tst202403150401vmin.min" },
		func(b *ingest.Batch) { b.Name = "impf/tst/pt1m/1/#" },
		func(b *ingest.Batch) { b.Data = []byte(" Format                 IAGA-2002") },
	} {
		bad := batch(t, "TST", 1)
		change(bad)
		is(t, ingest.Refused, p.Send(t.Context(), bad))
		is(t, ingest.Refused, c.Send(t.Context(), bad))
		is(t, ingest.Later, c.Ask(t.Context(), bad))
	}
	require.Zero(t, b.hook.count())
}

// A connection that is lost is made anew by the next call.
func TestSend_ConnectsAnew(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	p, c := b.publisher(t), b.confirmed(t)
	is(t, ingest.Stored, p.Send(t.Context(), batch(t, "TST", 1)))
	p.Close()
	is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 1)))

	b.stop(t)
	require.NotEqual(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 2)).Outcome)
	is(t, ingest.Unknown, c.Ask(t.Context(), batch(t, "TST", 2)))
	b.start(t)
	is(t, ingest.Later, c.Ask(t.Context(), batch(t, "TST", 2)))
	is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 2)))

	// Another one with the same accounts throws this one out, and is thrown out by it.
	other := b.confirmed(t)
	for value := range sample.Value(3) {
		for _, c := range []*impf.Confirmed{c, other} {
			one := batch(t, "TST", 10+value)
			for c.Send(t.Context(), one).Outcome != ingest.Stored { // once, at most, when it has not noticed
				require.NoError(t, t.Context().Err())
			}
		}
	}
}

// A call ends within the limits for connecting and answers, and when its context does.
func TestSend_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	at := b.at()
	at.Answer = time.Hour
	c, err := impf.NewConfirmed(at, account("tst"), account("tst-read"))
	require.NoError(t, err)
	defer c.Close()
	for _, trouble := range []func(h *hook){
		func(h *hook) { h.lose = packets.Puback },
		func(h *hook) { h.lose = packets.Publish },
	} {
		is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 1)))
		b.hook.set(trouble)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		start := time.Now()
		require.NotEqual(t, ingest.Stored, c.Send(ctx, batch(t, "TST", 2)).Outcome)
		is(t, ingest.Unknown, c.Ask(ctx, batch(t, "TST", 3)))
		require.Less(t, time.Since(start), 10*time.Second)
		cancel()
		b.hook.set(func(h *hook) { h.lose = 0 })
	}
	at.URL, at.Connect = "mqtt://"+silent(t), time.Hour
	p, err := impf.NewPublisher(at, account("tst"))
	require.NoError(t, err)
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	is(t, ingest.Later, p.Send(ctx, batch(t, "TST", 1)))
}

// After Close no connection is left, and no goroutine: see TestMain.
func TestClose_LeavesNothing(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.confirmed(t)
	is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 1)))
	c.Close()
	for _, user := range []string{"tst", "tst-read"} {
		require.Eventually(t, func() bool {
			client, ok := b.server.Clients.Get(user)
			return !ok || client.Closed()
		}, 10*time.Second, time.Millisecond, user)
	}
}

// The password is in no error; without TLS it goes to the loopback alone.
func TestNew_RefusesAddressesThatArePlainOrTell(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "gin-mqtt.bgs.ac.uk", "mqtts://", "https://gin-mqtt.bgs.ac.uk", "mqtts://h/path", "mqtt://gin-mqtt.bgs.ac.uk",
		"mqtt://10.0.0.1:1883", "mqtts://tst:" + secret + "@h", "mqtts://tst:" + secret + "@%zz",
	} {
		_, err := impf.NewPublisher(impf.Broker{URL: url}, account("tst"))
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), secret)
	}
	for _, url := range []string{"mqtts://gin-mqtt.bgs.ac.uk", "mqtts://10.0.0.1:1", "mqtt://localhost", "mqtt://[::1]:1883"} {
		_, err := impf.NewPublisher(impf.Broker{URL: url}, account("tst"))
		require.NoError(t, err)
	}
	at := impf.Broker{URL: "mqtts://h"}
	_, err := impf.NewPublisher(at, account(""))
	require.Error(t, err)
	_, err = impf.NewPublisher(at, impf.Account{User: "tst"})
	require.Error(t, err)
	_, err = impf.NewConfirmed(at, account("tst"), account("tst"))
	require.Error(t, err)
	_, err = impf.NewConfirmed(at, account("tst"), account(""))
	require.Error(t, err)
}
