package impf

import (
	"crypto/sha256"
	"slices"
	"sync"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// id tells messages apart: the hash of a topic and of what was sent under it.
type id [sha256.Size]byte

func idOf(topic string, payload []byte) id {
	return sha256.Sum256(append([]byte(topic+"\x00"), payload...))
}

// back are the messages that have come back. One that is expected is acknowledged when the
// next one is, so that the broker delivers it again after a crash: what it was the answer
// to may not be written down yet. Any other is acknowledged at once, since a broker may
// deliver one message at a time.
type back struct {
	news chan struct{} // something has come

	mu   sync.Mutex
	want id
	held []mqtt.Message // with the id that is wanted
	ids  []id           // of all, the last of them
}

// backMax is how many messages are remembered.
const backMax = 10_000

func (b *back) add(m mqtt.Message) {
	is := idOf(m.Topic(), m.Payload())
	b.mu.Lock()
	b.ids = append(b.ids[max(0, len(b.ids)+1-backMax):], is)
	wanted := is == b.want
	if wanted {
		b.held = append(b.held, m)
	}
	b.mu.Unlock()
	if !wanted {
		m.Ack()
	}
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// expect says which message is waited for.
func (b *back) expect(want id) {
	b.mu.Lock()
	var done []mqtt.Message
	if want != b.want {
		done, b.held = b.held, nil
	}
	b.want = want
	b.mu.Unlock()
	for _, m := range done {
		m.Ack()
	}
}

// forget forgets the message that is expected: it is about to be published again.
func (b *back) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ids = slices.DeleteFunc(b.ids, func(is id) bool { return is == b.want })
}

func (b *back) has() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.ids, b.want)
}
