package impf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/obskeep/obskeep/ingest"
)

// Confirmed is an [ingest.Asker] that publishes as a Publisher does, and subscribes with a
// second account: a batch is Stored when it has come back. It is not safe for concurrent
// use.
type Confirmed struct {
	publisher *Publisher
	reader    *link
	topics    []string  // that the reader's session has subscribed to
	since     time.Time // the last message was published, or the reader connected
	back      back
}

// NewConfirmed returns a Confirmed that has one account to publish, and another one to
// read. Nothing is sent. The error says what is wrong with the configuration.
func NewConfirmed(b Broker, publish, read Account) (*Confirmed, error) {
	p, err := NewPublisher(b, publish)
	if err != nil {
		return nil, err
	}
	r, err := newLink(b, read)
	if err != nil {
		return nil, err
	}
	if publish.User == read.User {
		return nil, fmt.Errorf("impf: user %s: the reader has to be another one, since each has one connection", read.User)
	}
	c := &Confirmed{publisher: p, reader: r, back: back{news: make(chan struct{}, 1)}}
	r.keep, r.came = true, c.back.add
	return c, nil
}

// Send implements [ingest.Sink].
func (c *Confirmed) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	if _, _, err := Parse(b.Name, b.Data); err != nil {
		return ingest.Receipt{Outcome: ingest.Refused, Text: err.Error()}
	}
	c.back.expect(idOf(b.Name, b.Data))
	if err := c.listen(ctx, b.Name); err != nil {
		return ingest.Receipt{Outcome: ingest.Later, Text: err.Error()}
	}
	c.back.forget()
	r := c.publisher.publish(ctx, b)
	c.since = time.Now()
	if r.Outcome == ingest.Stored && !c.wait(ctx) {
		return ingest.Receipt{Outcome: ingest.Unknown, Text: c.missed(b)}
	}
	if r.Outcome == ingest.Stored {
		r.Text = "came back to " + c.reader.User
	}
	return r
}

// Ask implements [ingest.Asker]. What does not come back until the limit for answers is
// over, counted from when it was published or the reader connected, is said to be not
// there.
func (c *Confirmed) Ask(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	if _, _, err := Parse(b.Name, b.Data); err != nil {
		return ingest.Receipt{Outcome: ingest.Later, Text: err.Error()} // it was never sent
	}
	c.back.expect(idOf(b.Name, b.Data))
	if err := c.connect(ctx); err != nil { // what the session has kept comes
		return ingest.Receipt{Outcome: ingest.Unknown, Text: err.Error()}
	}
	if c.wait(ctx) {
		return ingest.Receipt{Outcome: ingest.Stored, Text: "came back to " + c.reader.User}
	}
	err := ctx.Err()
	if err == nil && !c.reader.isOpen() {
		err = errors.New("the connection was lost")
	}
	if err != nil {
		return ingest.Receipt{Outcome: ingest.Unknown, Text: fmt.Sprintf("impf: read, as %s on %s: %v", c.reader.User, c.reader.host, err)}
	}
	return ingest.Receipt{Outcome: ingest.Later, Text: c.missed(b)}
}

// Close ends the connections. The next call makes others.
func (c *Confirmed) Close() {
	c.publisher.Close()
	c.reader.close()
}

func (c *Confirmed) missed(b *ingest.Batch) string {
	return fmt.Sprintf("impf: publish, on %s: it has not come back to %s within %v; may %s publish there?",
		b.Name, c.reader.User, c.reader.Answer, c.publisher.link.User)
}

// connect connects the reader.
func (c *Confirmed) connect(ctx context.Context) error {
	was := c.reader.client
	if err := c.reader.open(ctx); err != nil {
		return err
	}
	if c.reader.client != was {
		c.since = time.Now()
		if !c.reader.kept {
			c.topics = nil
		}
	}
	return nil
}

// listen connects the reader, and subscribes to a topic.
func (c *Confirmed) listen(ctx context.Context, topic string) error {
	if err := c.connect(ctx); err != nil || slices.Contains(c.topics, topic) {
		return err
	}
	t := c.reader.client.Subscribe(topic, 1, nil).(*mqtt.SubscribeToken)
	err := c.reader.wait(ctx, t)
	if err == nil && t.Result()[topic] != 1 {
		err = fmt.Errorf("the broker refuses it (code %d); may the user read there?", t.Result()[topic])
	}
	if err != nil {
		return fmt.Errorf("impf: subscribe, as %s to %s at %s: %w", c.reader.User, topic, c.reader.host, err)
	}
	c.topics = append(c.topics, topic)
	return nil
}

// wait waits until the message that is expected has come back.
func (c *Confirmed) wait(ctx context.Context) bool {
	ctx, cancel := context.WithDeadline(ctx, c.since.Add(c.reader.Answer))
	defer cancel()
	for !c.back.has() {
		select {
		case <-c.back.news:
		case <-ctx.Done():
			return c.back.has()
		}
	}
	return true
}
