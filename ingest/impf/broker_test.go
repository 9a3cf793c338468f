package impf_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/impf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/report/mailer/mailtest"
)

// After Close no goroutine and no connection is left.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "Kp9-not-to-be-seen"

// account returns one that the broker knows.
func account(user string) impf.Account {
	return impf.Account{User: user, Password: func(context.Context) (string, error) { return secret, nil }}
}

// broker is a real one, on the loopback, with TLS. The user tst publishes, and tst-read
// subscribes, below impf/tst.
type broker struct {
	certificate tls.Certificate
	roots       *x509.CertPool
	server      *mqtt.Server
	address     string
	hook        *hook
}

// hook decides who may do what, and what goes wrong.
type hook struct {
	mqtt.HookBase
	mu        sync.Mutex
	published int
	trouble   func(*mqtt.Client, packets.Packet) error
	lose      byte                           // packets of this type are not sent
	at        func(user string, packet byte) // is told what a client sends
}

func (h *hook) ID() string           { return "test" }
func (h *hook) Provides(b byte) bool { return true }
func (h *hook) OnConnectAuthenticate(c *mqtt.Client, pk packets.Packet) bool {
	return string(pk.Connect.Password) == secret && strings.HasPrefix(string(pk.Connect.Username), "tst") && c.ID == string(pk.Connect.Username)
}
func (h *hook) OnACLCheck(c *mqtt.Client, topic string, write bool) bool {
	return strings.HasPrefix(topic, "impf/tst/") && write == (c.ID == "tst")
}
func (h *hook) OnPublish(c *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if c.Net.Inline { // the test itself
		return pk, nil
	}
	h.mu.Lock()
	h.published++
	trouble := h.trouble
	h.mu.Unlock()
	if trouble == nil {
		return pk, nil
	}
	return pk, trouble(c, pk)
}
func (h *hook) OnPacketRead(c *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at != nil {
		h.at(c.ID, pk.FixedHeader.Type)
	}
	return pk, nil
}

// OnPacketEncode makes of a packet that is to be lost one that nobody minds.
func (h *hook) OnPacketEncode(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lose != 0 && pk.FixedHeader.Type == h.lose {
		return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}, ProtocolVersion: 4}
	}
	return pk
}

func (h *hook) set(f func(*hook)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h)
}

func (h *hook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.published
}

func startBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{address: "127.0.0.1:0", hook: new(hook)}
	b.certificate, b.roots = mailtest.Certificate(t)
	b.start(t)
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *broker) start(t *testing.T) {
	t.Helper()
	b.server = mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), InlineClient: true})
	require.NoError(t, b.server.AddHook(b.hook, nil))
	l := listeners.NewTCP(listeners.Config{ID: "tls", Address: b.address, TLSConfig: &tls.Config{Certificates: []tls.Certificate{b.certificate}}})
	require.NoError(t, b.server.AddListener(l))
	require.NoError(t, b.server.Serve())
	b.address = l.Address()
}

func (b *broker) stop(t *testing.T) {
	if b.server != nil {
		require.NoError(t, b.server.Close())
	}
	b.server = nil
}

func (b *broker) at() impf.Broker {
	return impf.Broker{URL: "mqtts://" + b.address, TLS: &tls.Config{RootCAs: b.roots}, Connect: 5 * time.Second, Answer: time.Second}
}

func (b *broker) publisher(t *testing.T) *impf.Publisher {
	t.Helper()
	p, err := impf.NewPublisher(b.at(), account("tst"))
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func (b *broker) confirmed(t *testing.T) *impf.Confirmed {
	t.Helper()
	c, err := impf.NewConfirmed(b.at(), account("tst"), account("tst-read"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// cutOff ends the connection of a user, as a network does.
func (b *broker) cutOff(user string) {
	if c, ok := b.server.Clients.Get(user); ok {
		c.Net.Conn.Close()
	}
}

// batch returns one of a station, with one minute of S.
func batch(t *testing.T, station string, value sample.Value) *ingest.Batch {
	t.Helper()
	s := series(time.Minute, "S")
	s.Station = station
	r := rows(four, time.Minute, []sample.Value{value})
	name, data := message(t, s, r)
	return &ingest.Batch{Stream: &ingest.Stream{Series: s}, Rows: r, Name: name, Data: []byte(data)}
}
