package mail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/imf"
	"github.com/obskeep/obskeep/ingest/mail"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report/mailer"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

var day = julian.Date{Year: 2026, Day: 268}

var header = iaga2002.Header{
	Source: "Example Institute", Station: "Testville", Code: "TST",
	Latitude: "17.290", Longitude: "78.920", Elevation: "327",
	Reported: "XYZF", Orientation: "HDZF", Sampling: "1 second",
	Interval: "1-minute (00:30-01:29)", Type: "provisional",
	Comments: []string{"X is to the north."},
}

// series is that of header.
func series() sample.Series {
	s := sample.Series{Station: "TST", Cadence: time.Minute, Level: sample.Provisional}
	for _, name := range []string{"X", "Y", "Z", "F"} {
		s.Elements = append(s.Elements, sample.Element{Name: name, Unit: "nT", Decimals: 2})
	}
	return s
}

// minutes returns rows of a day.
func minutes(day julian.Date, first, end int) []sample.Row {
	var rows []sample.Row
	for slot := first; slot < end; slot++ {
		r := sample.RowAt(day.In(time.UTC).Add(time.Duration(slot) * time.Minute).UnixMilli())
		for i := range 4 {
			r.Values[i] = sample.Value(100_000*(i+1) - slot)
		}
		rows = append(rows, r)
	}
	return rows
}

func batch(t *testing.T) *ingest.Batch {
	t.Helper()
	rows := minutes(day, 600, 660)
	name, data, err := header.Fragment(series(), rows)
	require.NoError(t, err)
	return &ingest.Batch{Stream: &ingest.Stream{Series: series()}, Rows: rows, Name: name, Data: data}
}

func start(t *testing.T) (*mail.Sink, *smtpsink.Sink) {
	t.Helper()
	server, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return &mail.Sink{
		Sender: &mailer.SMTP{Addr: server.Addr()},
		From:   netmail.Address{Address: "tst@observatory.example"}, To: netmail.Address{Address: "gin@gin.example"},
	}, server
}

// body returns what stands below the header of a mail, with newlines.
func body(t *testing.T, m smtpsink.Message) string {
	t.Helper()
	parsed, err := netmail.ReadMessage(bytes.NewReader(m.Data))
	require.NoError(t, err)
	text, err := io.ReadAll(parsed.Body)
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// The subject is the name of the batch, and the text its data, line by line. It is not
// encoded if its lines have at most 76 characters of ASCII, without an equals sign or a
// blank at the end, as IAGA-2002 and IMF have.
func TestSend_MailsTheFileAndNothingElse(t *testing.T) {
	t.Parallel()
	sink, server := start(t)
	var file bytes.Buffer
	h := imf.Header{Code: "TST", Elements: "XYZF", Type: 'A', GIN: "EDI"}
	w := imf.NewWriter(&file, &h)
	require.NoError(t, w.Write(minutes(day, 600, 601)[0]))
	require.NoError(t, w.Close())
	hour, encoded := batch(t), batch(t)
	hour.Name, hour.Data = h.Name(hour.Start()).String(), file.Bytes()
	encoded.Name, encoded.Data = "tst.txt", []byte("a = b \r\n"+strings.Repeat("0123456789", 10)+"\r\nX/\u00b5T\r\n")
	batches := []*ingest.Batch{batch(t), hour, encoded}
	for _, b := range batches {
		r := sink.Send(t.Context(), b)
		require.Equal(t, ingest.Stored, r.Outcome, r.Text)
	}
	messages := server.Messages()
	require.Len(t, messages, 3)
	for i, b := range batches {
		want := strings.ReplaceAll(string(b.Data), "\r\n", "\n")
		m, err := messages[i].Open()
		require.NoError(t, err)
		require.Equal(t, b.Name, m.Subject)
		require.Equal(t, want, strings.ReplaceAll(m.Text, "\r\n", "\n"))
		require.Equal(t, b != encoded, want == body(t, messages[i]))
		require.Equal(t, "tst@observatory.example", messages[i].From)
		require.Equal(t, []string{"gin@gin.example"}, messages[i].To)
	}
}

// A batch that is sent again is the same mail, with the same Message-ID.
func TestSend_RepeatsTheSameMail(t *testing.T) {
	t.Parallel()
	sink, server := start(t)
	first, again := sink.Send(t.Context(), batch(t)), sink.Send(t.Context(), batch(t))
	require.Empty(t, cmp.Diff(first, again))
	other := batch(t)
	other.Data = bytes.Replace(other.Data, []byte("Testville"), []byte("Teststadt"), 1)
	require.NotEqual(t, first.ID, sink.Send(t.Context(), other).ID)
	messages := server.Messages()
	require.Equal(t, messages[0].Data, messages[1].Data)
	m, err := messages[0].Open()
	require.NoError(t, err)
	require.Equal(t, "<"+first.ID+">", m.Header.Get("Message-Id"))
}

// fails is a server that always says the same.
type fails struct{ error }

func (f fails) Send(context.Context, *mailer.Message) error { return f.error }

// Stored means that the mail server has taken over the mail. Where it has not the outcome
// is Later, or Refused if it does not take the text; where it may have, Unknown.
func TestSend_SaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	sink, server := start(t)
	for name, c := range map[string]struct {
		err  error
		want ingest.Outcome
	}{
		"no connection":       {&mailer.SendError{Step: "connect"}, ingest.Later},
		"a wrong password":    {&mailer.SendError{Step: "login", Code: 535, Permanent: true}, ingest.Later},
		"an unknown address":  {&mailer.SendError{Step: "recipient", Code: 550, Permanent: true}, ingest.Later},
		"a full disk":         {&mailer.SendError{Step: "data", Code: 452}, ingest.Later},
		"a text it refuses":   {&mailer.SendError{Step: "data", Code: 554, Permanent: true}, ingest.Refused},
		"a lost reply":        {&mailer.SendError{Step: "data", Unknown: true}, ingest.Unknown},
		"nobody knows":        {errors.New("something"), ingest.Unknown},
		"wrapped by a sender": {fmt.Errorf("relay: %w", &mailer.SendError{Step: "connect"}), ingest.Later},
	} {
		r := (&mail.Sink{Sender: fails{c.err}, From: sink.From, To: sink.To}).Send(t.Context(), batch(t))
		require.Equal(t, c.want, r.Outcome, name)
		require.Contains(t, r.Text, "to gin@gin.example")
	}
	r := sink.Send(t.Context(), batch(t))
	require.Equal(t, ingest.Stored, r.Outcome, r.Text)
	require.Len(t, server.Messages(), 1)
	require.NoError(t, server.Close())
	r = sink.Send(t.Context(), batch(t))
	require.Equal(t, ingest.Later, r.Outcome, r.Text)
	require.NotContains(t, r.Text, "\n")
}

// One mail goes out for each closed day, with what is not there as missing.
func TestFeed_MailsEachClosedDayOnce(t *testing.T) {
	t.Parallel()
	sink, server := start(t)
	var now time.Time
	files := fstest.MapFS{}
	file := julian.MustParsePattern("%Y/%j.min").Format
	feed, err := ingest.Open(ingest.Config{
		Dir: t.TempDir(), Sink: sink, Now: func() time.Time { return now },
		Streams: []*ingest.Stream{{
			Name: "minutes", Series: series(), Format: header.Fragment,
			Source: ingest.Source{
				FS: files, File: file,
				Parser: func(name string) sample.Parser { return iaga2002.NewParser(name) },
			},
			Cut: ingest.Cut{Every: 24 * time.Hour, Fill: 1440, Least: 2},
		}},
	})
	require.NoError(t, err)
	hole := func(slot int) bool { return slot == 1 || 500 <= slot && slot < 900 || slot == 1438 }
	write := func(day julian.Date, slots int) {
		_, data, err := header.Fragment(series(), minutes(day, 0, 1440))
		require.NoError(t, err)
		lines := slices.Collect(strings.Lines(string(data)))
		head := len(lines) - 1440
		kept := lines[:head:head]
		for slot, line := range lines[head:][:slots] {
			if !hole(slot) {
				kept = append(kept, line)
			}
		}
		files[file(day)] = &fstest.MapFile{Data: []byte(strings.Join(kept, "")), ModTime: now}
	}
	for at := range 3*4 + 1 { // every six hours
		now = day.In(time.UTC).Add(time.Duration(at) * 6 * time.Hour)
		today := julian.DateOf(now)
		write(today, int(now.Sub(today.In(time.UTC))/time.Minute)+1)
		if today != day {
			write(today.AddDays(-1), 1440)
		}
		require.NoError(t, feed.Sweep(t.Context()))
		require.Len(t, server.Messages(), today.DaysSince(day), now)
	}
	require.NoError(t, feed.Close())
	for i, m := range server.Messages() {
		want := minutes(day.AddDays(i), 0, 1440)
		for slot := range want {
			for e := range 4 {
				if hole(slot) {
					want[slot].Values[e] = sample.Missing
				}
			}
		}
		r := iaga2002.NewReader(strings.NewReader(body(t, m)), nil)
		for _, row := range want {
			got, err := r.Read()
			require.NoError(t, err)
			require.Equal(t, row, got)
		}
		_, err := r.Read()
		require.ErrorIs(t, err, io.EOF)
	}
}
