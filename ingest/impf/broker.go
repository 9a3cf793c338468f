package impf

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Broker says where the broker is and how long it is waited for.
type Broker struct {
	// URL is "mqtts://gin-mqtt.bgs.ac.uk", with a port if it is not 8883; or mqtt and
	// the port 1883 on the loopback.
	URL string
	TLS *tls.Config // nil trusts the system's roots

	Connect time.Duration // limit for connecting, with TLS and login; zero means 10 s
	Answer  time.Duration // limit for an acknowledgement, and for a message to come back; zero means 10 s
}

// Account is one of the accounts that an observatory has at a broker.
type Account struct {
	User string // and client id
	// Password is called for each connection. It must not be nil.
	Password func(context.Context) (string, error)
}

// link is an account's connection, made when it is needed. It belongs to one goroutine.
type link struct {
	Broker
	Account
	host  string // with port
	plain bool
	keep  bool               // the session stays with the broker, and each message is to be acknowledged
	came  func(mqtt.Message) // is called by another goroutine, in order; nil: nothing comes

	client mqtt.Client // nil: there is none
	conn   net.Conn
	kept   bool // the broker had the session
}

// newLink returns a link. Nothing is sent. The error says what is wrong with the
// configuration.
func newLink(b Broker, a Account) (*link, error) {
	u, err := url.Parse(b.URL)
	// No message has the URL in it: somebody may have put a password there.
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "mqtts" && u.Scheme != "mqtt" || u.Path != "":
		return nil, errors.New("impf: URL: it is not a broker's address, mqtts://HOST")
	case u.User != nil:
		return nil, errors.New("impf: URL: a user or password stands in it; give them apart from it")
	case u.Scheme == "mqtt" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("impf: URL: it is not mqtts, and %s is another machine", u.Host)
	case a.User == "":
		return nil, errors.New("impf: there is no user")
	case a.Password == nil:
		return nil, fmt.Errorf("impf: user %s: there is no password", a.User)
	}
	b.Connect = cmp.Or(b.Connect, 10*time.Second)
	b.Answer = cmp.Or(b.Answer, 10*time.Second)
	port := "8883"
	if u.Scheme == "mqtt" {
		port = "1883"
	}
	return &link{
		Broker: b, Account: a, host: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)), plain: u.Scheme == "mqtt",
	}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// open makes the connection, unless there is one.
func (l *link) open(ctx context.Context) error {
	if l.isOpen() {
		return nil
	}
	l.close()
	ctx, cancel := context.WithTimeout(ctx, l.Connect)
	defer cancel()
	if err := l.connect(ctx); err != nil {
		l.close()
		return fmt.Errorf("impf: connect, as %s on %s: %w", l.User, l.host, err)
	}
	return nil
}

func (l *link) isOpen() bool { return l.client != nil && l.client.IsConnectionOpen() }

func (l *link) connect(ctx context.Context) error {
	password, err := l.Password(ctx)
	if err != nil {
		return fmt.Errorf("there is no password: %w", err)
	}
	// The library's own errors do not tell the cause.
	if err := l.dial(ctx); err != nil {
		return err
	}
	conn := l.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	o := mqtt.NewClientOptions().
		AddBroker("tcp://" + l.host). // is not dialled
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return conn, nil }).
		SetProtocolVersion(4). // MQTT 3.1.1
		SetClientID(l.User).SetUsername(l.User).SetPassword(password).
		SetConnectTimeout(2 * l.Connect). // ctx ends before
		SetWriteTimeout(l.Answer).SetPingTimeout(l.Answer).
		SetAutoReconnect(false).SetConnectRetry(false).
		SetCleanSession(!l.keep).SetAutoAckDisabled(l.keep)
	if l.came != nil {
		o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { l.came(m) })
	}
	l.client = mqtt.NewClient(o)
	t := l.client.Connect().(*mqtt.ConnectToken)
	<-t.Done() // ctx closes the connection
	switch {
	case t.ReturnCode() == packets.ErrRefusedBadUsernameOrPassword || t.ReturnCode() == packets.ErrRefusedNotAuthorised:
		return fmt.Errorf("the broker refuses the user or the password (code %d); look at both", t.ReturnCode())
	case ctx.Err() != nil:
		return fmt.Errorf("no answer to the login: %w", ctx.Err())
	case t.Error() != nil:
		return t.Error()
	}
	l.kept = t.SessionPresent()
	return nil
}

func (l *link) dial(ctx context.Context) (err error) {
	if l.plain {
		l.conn, err = new(net.Dialer).DialContext(ctx, "tcp", l.host)
	} else {
		l.conn, err = (&tls.Dialer{Config: l.TLS}).DialContext(ctx, "tcp", l.host)
	}
	return err
}

// wait waits for an answer of the broker. After an error there is no connection any more;
// what was sent on it may still arrive.
func (l *link) wait(ctx context.Context, t mqtt.Token) (err error) {
	ctx, cancel := context.WithTimeout(ctx, l.Answer)
	defer cancel()
	select {
	case <-t.Done():
		err = t.Error()
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		l.close()
	}
	return err
}

// close ends the connection.
func (l *link) close() {
	if l.isOpen() {
		l.client.Disconnect(250)
	}
	if l.conn != nil {
		l.conn.Close() // it is closed already, unless the library waits for it
	}
	l.client, l.conn = nil, nil
}
