package impf

import (
	"context"
	"fmt"

	"github.com/obskeep/obskeep/ingest"
)

// Publisher is an [ingest.Sink] that publishes batches made by [Metadata.Message] with
// quality of service 1. A batch is Stored when the broker has acknowledged it, whatever
// becomes of it there. It is not safe for concurrent use.
type Publisher struct{ link *link }

// NewPublisher returns a Publisher. Nothing is sent. The error says what is wrong with the
// configuration.
func NewPublisher(b Broker, a Account) (*Publisher, error) {
	l, err := newLink(b, a)
	if err != nil {
		return nil, err
	}
	return &Publisher{l}, nil
}

// Send implements [ingest.Sink].
func (p *Publisher) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	if _, _, err := Parse(b.Name, b.Data); err != nil {
		return ingest.Receipt{Outcome: ingest.Refused, Text: err.Error()}
	}
	return p.publish(ctx, b)
}

func (p *Publisher) publish(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	if err := p.link.open(ctx); err != nil {
		return ingest.Receipt{Outcome: ingest.Later, Text: err.Error()}
	}
	if err := p.link.wait(ctx, p.link.client.Publish(b.Name, 1, false, b.Data)); err != nil {
		return ingest.Receipt{Outcome: ingest.Unknown, Text: fmt.Sprintf(
			"impf: publish, on %s at %s: no acknowledgement; may %s publish there? %v", b.Name, p.link.host, p.link.User, err)}
	}
	return ingest.Receipt{Outcome: ingest.Stored, Text: "acknowledged by " + p.link.host}
}

// Close ends the connection. The next Send makes another one.
func (p *Publisher) Close() { p.link.close() }
