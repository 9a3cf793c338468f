package impf_test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/fstest"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/impf"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// throwsAway acknowledges a message, and gives it to nobody.
func throwsAway(*mqtt.Client, packets.Packet) error { return packets.CodeSuccessIgnore }

// Confirmed says Stored only after a message with the same topic and bytes has come back:
// not of one that was acknowledged, of another one, or of an earlier one.
func TestConfirmed_SaysStoredOnlyAfterTheMessageHasComeBack(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.confirmed(t)
	is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 1)))
	is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 2)))
	require.Equal(t, 2, b.hook.count())

	b.hook.set(func(h *hook) { h.trouble = throwsAway })
	is(t, ingest.Unknown, c.Send(t.Context(), batch(t, "TST", 1)))
	r := c.Ask(t.Context(), batch(t, "TST", 1))
	is(t, ingest.Later, r)
	require.Contains(t, r.Text, "may tst publish there?")

	other := batch(t, "TST", 3)
	other.Name = "impf/tst/pt1m/2/xyzs"
	is(t, ingest.Unknown, c.Send(t.Context(), other)) // and it has subscribed there
	b.hook.set(func(h *hook) {
		h.trouble = func(_ *mqtt.Client, pk packets.Packet) error {
			same := batch(t, "TST", 3).Data
			err := errors.Join(
				b.server.Publish(other.Name, same, false, 1),
				b.server.Publish(pk.TopicName, same[:len(same)-1], false, 1),
			)
			return errors.Join(err, packets.CodeSuccessIgnore)
		}
	})
	is(t, ingest.Unknown, c.Send(t.Context(), batch(t, "TST", 3)))
	is(t, ingest.Later, c.Ask(t.Context(), batch(t, "TST", 3)))
	b.hook.set(func(h *hook) { h.trouble = nil })
	is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 3)))
}

// A message that is delivered twice, or published twice, is one.
func TestConfirmed_TakesDuplicatesForOne(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.confirmed(t)
	twice := batch(t, "TST", 1)
	is(t, ingest.Stored, c.Send(t.Context(), twice))
	require.NoError(t, b.server.Publish(twice.Name, twice.Data, false, 1))
	b.cutOff("tst-read") // what was not acknowledged comes again
	is(t, ingest.Stored, c.Ask(t.Context(), twice))
	if c.Send(t.Context(), twice).Outcome != ingest.Stored { // the reader has not noticed
		is(t, ingest.Stored, c.Ask(t.Context(), twice))
	}
	b.hook.set(func(h *hook) { h.trouble = throwsAway })
	is(t, ingest.Unknown, c.Send(t.Context(), batch(t, "TST", 2)))
	is(t, ingest.Later, c.Ask(t.Context(), batch(t, "TST", 2)))
}

// What has come back is acknowledged, but the last that was waited for.
func TestConfirmed_AcknowledgesAllButTheLast(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.confirmed(t)
	for value := range sample.Value(3) {
		one, other := batch(t, "TST", value), batch(t, "TST", 10+value)
		is(t, ingest.Stored, c.Send(t.Context(), one))
		require.NoError(t, b.server.Publish(other.Name, other.Data, false, 1))
	}
	reader, ok := b.server.Clients.Get("tst-read")
	require.True(t, ok)
	last := batch(t, "TST", 2).Data
	require.Eventually(t, func() bool {
		waiting := reader.State.Inflight.GetAll(false)
		return len(waiting) == 1 && bytes.Equal(waiting[0].Payload, last)
	}, 10*time.Second, time.Millisecond)
}

// Confirmed subscribes to a topic before it publishes on it.
func TestConfirmed_SubscribesBeforeItPublishes(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	var seen []string
	b.hook.at = func(user string, packet byte) {
		if packet == packets.Subscribe || packet == packets.Publish {
			seen = append(seen, user+" "+packets.PacketNames[packet])
		}
	}
	c := b.confirmed(t)
	other := batch(t, "TST", 1)
	other.Stream.Level = sample.Definitive
	name, data := message(t, other.Stream.Series, other.Rows)
	other.Name, other.Data = name, []byte(data)
	for _, b := range []*ingest.Batch{batch(t, "TST", 1), batch(t, "TST", 2), other} {
		is(t, ingest.Stored, c.Send(t.Context(), b))
	}
	c.Close()
	b.stop(t) // and it forgets the session
	b.start(t)
	is(t, ingest.Stored, c.Send(t.Context(), other))
	subscribes, publishes := "tst-read Subscribe", "tst Publish"
	b.hook.set(func(*hook) {
		require.Equal(t, []string{subscribes, publishes, publishes, subscribes, publishes, subscribes, publishes}, seen)
	})
}

// Ask finds what came back late, while the reader was away, or before a crash and last.
func TestAsk_FindsWhatCameBack(t *testing.T) {
	t.Parallel()
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		b := startBroker(t)
		c := b.confirmed(t)
		b.hook.set(func(h *hook) { h.trouble = throwsAway })
		late := batch(t, "TST", 1)
		is(t, ingest.Unknown, c.Send(t.Context(), late))
		is(t, ingest.Unknown, c.Send(t.Context(), batch(t, "TST", 2)))
		require.NoError(t, b.server.Publish(late.Name, late.Data, false, 1))
		b.hook.set(func(h *hook) { h.trouble = nil })
		is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 3))) // and late before it
		is(t, ingest.Stored, c.Ask(t.Context(), late))
	})
	t.Run("without an acknowledgement", func(t *testing.T) {
		t.Parallel()
		b := startBroker(t)
		c := b.confirmed(t)
		b.hook.set(func(h *hook) { h.lose = packets.Puback })
		is(t, ingest.Unknown, c.Send(t.Context(), batch(t, "TST", 1)))
		is(t, ingest.Stored, c.Ask(t.Context(), batch(t, "TST", 1)))
	})
	t.Run("while the reader was away", func(t *testing.T) {
		t.Parallel()
		b := startBroker(t)
		c := b.confirmed(t)
		b.hook.set(func(h *hook) {
			h.trouble = func(*mqtt.Client, packets.Packet) error { b.cutOff("tst-read"); return nil }
		})
		is(t, ingest.Unknown, c.Send(t.Context(), batch(t, "TST", 1)))
		is(t, ingest.Stored, c.Ask(t.Context(), batch(t, "TST", 1)))
	})
	t.Run("on its way before a crash", func(t *testing.T) {
		t.Parallel()
		b := startBroker(t)
		b.hook.set(func(h *hook) { h.lose = packets.Publish })
		is(t, ingest.Unknown, b.confirmed(t).Send(t.Context(), batch(t, "TST", 1)))
		b.hook.set(func(h *hook) { h.lose = 0 })
		is(t, ingest.Stored, b.confirmed(t).Ask(t.Context(), batch(t, "TST", 1)))
	})
	t.Run("the last before a crash", func(t *testing.T) {
		t.Parallel()
		b := startBroker(t)
		c := b.confirmed(t)
		is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 1)))
		is(t, ingest.Stored, c.Send(t.Context(), batch(t, "TST", 2)))
		after := b.confirmed(t)
		is(t, ingest.Later, after.Ask(t.Context(), batch(t, "TST", 1))) // as the package says
		is(t, ingest.Stored, after.Ask(t.Context(), batch(t, "TST", 2)))
		is(t, ingest.Stored, after.Send(t.Context(), batch(t, "TST", 3)))
	})
}

// Ask does not say that a message is not there if the reader was away meanwhile.
func TestAsk_SaysUnknownWhenTheReaderWasAway(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.confirmed(t)
	b.hook.set(func(h *hook) { h.trouble = throwsAway })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	is(t, ingest.Unknown, c.Send(ctx, batch(t, "TST", 1)))
	time.AfterFunc(100*time.Millisecond, func() { b.cutOff("tst-read") })
	is(t, ingest.Unknown, c.Ask(t.Context(), batch(t, "TST", 1)))
	is(t, ingest.Later, c.Ask(t.Context(), batch(t, "TST", 1)))
}

// counts reads lines with minutes of the epoch, and makes rows with their number.
type counts struct{}

func (counts) Parse(line []byte, _ sample.End, out *sample.Out) {
	minute, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		panic(err)
	}
	out.Row(minute * 60_000).Values[0] = sample.Value(minute % 1440)
}
func (counts) Finish(*sample.Out)    {}
func (counts) Series() sample.Series { return sample.Series{} }

// A feed delivers each row once, though messages are thrown away and the reader is not there.
func TestConfirmed_DeliversAFeed(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	now := four
	files := fstest.MapFS{}
	feed, err := ingest.Open(ingest.Config{
		Dir: t.TempDir(), Sink: b.confirmed(t), Now: func() time.Time { return now },
		Streams: []*ingest.Stream{{
			Name: "minutes", Series: series(time.Minute, "S"), Format: impf.Metadata{}.Message,
			Source: ingest.Source{
				FS: files, File: julian.MustParsePattern("%Y-%j").Format,
				Parser: func(string) sample.Parser { return counts{} },
			},
		}},
	})
	require.NoError(t, err)
	var lines bytes.Buffer
	for i := range 4 {
		lines.WriteString(strconv.FormatInt(now.Unix()/60, 10) + "\n")
		files["2024-075"] = &fstest.MapFile{Data: bytes.Clone(lines.Bytes()), ModTime: now}
		b.hook.set(func(h *hook) {
			h.trouble = []func(*mqtt.Client, packets.Packet) error{
				nil, throwsAway, func(*mqtt.Client, packets.Packet) error { b.cutOff("tst-read"); return nil }, nil,
			}[i]
		})
		now = now.Add(time.Minute)
		require.NoError(t, feed.Sweep(t.Context()))
	}
	require.NoError(t, feed.Close())
	require.Equal(t, 4, feed.Counts().Accepted)
	require.Equal(t, 5, b.hook.count())
}
