package mailer_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/report/mailer"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

var morning = time.Date(2026, 9, 25, 6, 31, 10, 0, time.FixedZone("BRT", -3*3600))

// trouble is a report with everything that is hard to mail.
func trouble() *report.Report {
	return &report.Report{
		Name: "supim São José", Host: "backup1.example.org", Day: julian.Date{Year: 2026, Day: 268},
		Jobs: []report.Job{
			{Name: "2026-268", Files: 312, Bytes: 1 << 30},
			{Name: "2026-267", Outcome: report.Failed, Err: errors.New("open \"ne\r\n.\r\nQUIT\": " + strings.Repeat("longword", 200))},
		},
		Notes: []string{".", "From here it goes on", "ção = 地磁気"},
	}
}

// compose makes a message to the given addresses, or to ops.
func compose(t testing.TB, r *report.Report, to ...mail.Address) *mailer.Message {
	t.Helper()
	if to == nil {
		to = []mail.Address{{Address: "ops@example.org"}}
	}
	m, err := mailer.Compose(r, mail.Address{Name: "backup", Address: "backup@example.org"}, to, morning)
	require.NoError(t, err)
	return m
}

// numbered returns a message whose date and subject tell it from others.
func numbered(t testing.TB, n int) *mailer.Message {
	t.Helper()
	m := compose(t, &report.Report{Name: "supim", Jobs: []report.Job{{Name: "2026-268"}}})
	m.Date = morning.Add(time.Duration(n) * time.Minute)
	m.Subject = fmt.Sprint("report ", n)
	return m
}

func written(t testing.TB, m *mailer.Message) string {
	t.Helper()
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, int64(b.Len()), n)
	return b.String()
}

// Somebody whose mail program shows no HTML reads the whole report.
func TestMessage_ReadsWellWithoutHTML(t *testing.T) {
	t.Parallel()
	r := trouble()
	m := compose(t, r)
	got, err := smtpsink.Open([]byte(written(t, m)))
	require.NoError(t, err)
	checkMail(t, r, m, got)
	var text bytes.Buffer
	require.NoError(t, r.WriteText(&text))
	require.Equal(t, text.String(), strings.ReplaceAll(got.Text, "\r\n", "\n"))

	m.HTML = nil
	got, err = smtpsink.Open([]byte(written(t, m)))
	require.NoError(t, err)
	require.Equal(t, text.String(), strings.ReplaceAll(got.Text, "\r\n", "\n"))
	require.Empty(t, got.HTML)
	require.Contains(t, got.Header.Get("Content-Type"), "text/plain")
}

// A message is ASCII, its lines end in CR LF, and they are short (RFC 5322,
// 2.1.1; RFC 2045, 6.7).
func TestMessage_IsPlainOnTheWire(t *testing.T) {
	t.Parallel()
	m := compose(t, trouble(), mail.Address{Name: strings.Repeat("São José ", 20), Address: "ops@example.org"})
	m.Header["X-Site"] = strings.Repeat("Kühlungsborn ", 30)
	text := written(t, m)
	require.True(t, strings.HasSuffix(text, "\r\n"))
	for i, line := range strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		require.LessOrEqual(t, len(line), 78, "line %d: %s", i+1, line)
		require.Equal(t, -1, strings.IndexFunc(line, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }), "line %d: %q", i+1, line)
	}
}

// A message has the same bytes and the same Message-ID each time it is
// written, and another message has another one.
func TestMessage_HasOneIDForGood(t *testing.T) {
	t.Parallel()
	m := compose(t, trouble())
	require.Equal(t, written(t, m), written(t, m))
	again := compose(t, trouble())
	require.Equal(t, written(t, m), written(t, again))

	ids := map[string]string{m.ID(): "the message itself"}
	for what, change := range map[string]func(*mailer.Message){
		"date":    func(m *mailer.Message) { m.Date = m.Date.Add(time.Nanosecond) },
		"from":    func(m *mailer.Message) { m.From.Name = "other" },
		"to":      func(m *mailer.Message) { m.To = append(m.To, m.From) },
		"subject": func(m *mailer.Message) { m.Subject += "." },
		"text":    func(m *mailer.Message) { m.Text = append(m.Text, '.') },
		"HTML":    func(m *mailer.Message) { m.HTML = nil },
		"host":    func(m *mailer.Message) { m.Host = "backup2.example.org" },
		"thread":  func(m *mailer.Message) { m.Thread = "imf" },
		"a field": func(m *mailer.Message) { m.Header["X-Site"] = "KHS" },
	} {
		other := compose(t, trouble())
		change(other)
		require.NotContains(t, ids, other.ID(), what)
		ids[other.ID()] = what
		got, err := smtpsink.Open([]byte(written(t, other)))
		require.NoError(t, err)
		require.Equal(t, "<"+other.ID()+">", got.Header.Get("Message-Id"))
	}
}

// Messages of one thread and host refer to the same first message; others
// do not.
func TestMessage_ThreadsByTaskAndHost(t *testing.T) {
	t.Parallel()
	root := func(thread, host string, n int) string {
		m := numbered(t, n)
		m.Thread, m.Host = thread, host
		got, err := smtpsink.Open([]byte(written(t, m)))
		require.NoError(t, err)
		require.Equal(t, got.Header.Get("References"), got.Header.Get("In-Reply-To"))
		return got.Header.Get("References")
	}
	require.Equal(t, root("supim", "backup1", 1), root("supim", "backup1", 2))
	require.NotEqual(t, root("supim", "backup1", 1), root("supim", "backup2", 1))
	require.NotEqual(t, root("supim", "backup1", 1), root("imf", "backup1", 1))
	require.Empty(t, root("", "backup1", 1))
}

// A List-Id is a name below a domain or below "localhost" (RFC 2919, 3).
func TestMessage_ListID(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, thread, host, want string }{
		{"a host with a domain", "supim", "backup1.example.org", "<supim.backup1.example.org>"},
		{"a host without a domain is below localhost", "supim", "backup1", "<supim.backup1.localhost>"},
		{"no host", "supim", "", "<supim.localhost>"},
		{"other characters become hyphens", "São 2/b", "b_1", "<s-o-2-b.b-1.localhost>"},
		{"no thread, no list", "", "backup1", ""},
	} {
		t.Run(row.rule, func(t *testing.T) {
			m := numbered(t, 1)
			m.Thread, m.Host = row.thread, row.host
			got, err := smtpsink.Open([]byte(written(t, m)))
			require.NoError(t, err)
			require.Equal(t, row.want, got.Header.Get("List-Id"))
		})
	}
}

// What cannot be sent is an error before anything is written.
func TestMessage_RefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		change func(*mailer.Message)
	}{
		{"no date", func(m *mailer.Message) { m.Date = time.Time{} }},
		{"no recipient", func(m *mailer.Message) { m.To = nil }},
		{"no sender", func(m *mailer.Message) { m.From = mail.Address{} }},
		{"an address without a domain", func(m *mailer.Message) { m.To[0].Address = "root" }},
		{"an address with a newline", func(m *mailer.Message) { m.To[0].Address = "ops@example.org\r\nRCPT TO:<x@example.org>" }},
		{"two addresses in one", func(m *mailer.Message) { m.To[0].Address = "a@example.org, b@example.org" }},
		{"an address that is not ASCII", func(m *mailer.Message) { m.To[0].Address = "ops@kühlungsborn.example" }},
		{"a name with a newline", func(m *mailer.Message) { m.To[0].Name = "ops\nBcc: x@example.org" }},
		{"a subject with a newline", func(m *mailer.Message) { m.Subject = "a\nBcc: x@example.org" }},
		{"a subject that no line can hold", func(m *mailer.Message) { m.Subject = strings.Repeat("x", 1000) }},
		{"a field with a newline", func(m *mailer.Message) { m.Header["X-Site"] = "a\r\n\r\nbody" }},
		{"a field name with a colon", func(m *mailer.Message) { m.Header["X: y"] = "z" }},
		{"a field without a name", func(m *mailer.Message) { m.Header[""] = "z" }},
		{"a field that the message sets", func(m *mailer.Message) { m.Header["bcc"] = "x@example.org" }},
	} {
		t.Run(row.rule, func(t *testing.T) {
			m := compose(t, trouble())
			row.change(m)
			var b bytes.Buffer
			_, err := m.WriteTo(&b)
			require.Error(t, err)
			require.Zero(t, b.Len())
		})
	}
	_, err := mailer.Compose(trouble(), mail.Address{}, nil, morning)
	require.Error(t, err)
}

// No name, note or address can add a header or a recipient.
func FuzzMessage_NothingAddsAHeader(f *testing.F) {
	f.Add("supim", "ops", "ops@example.org", "X-Site", "KHS")
	f.Add("a\r\nBcc: x@example.org", "\"\r\n", "a@b>,<c@d", "Bcc", "=?utf-8?q?=0D=0A?=")
	f.Add(strings.Repeat("é ", 300), "a, b <c@d>", "-f@x", "x-a", " ")
	f.Fuzz(func(t *testing.T, subject, name, address, field, value string) {
		m := numbered(t, 1)
		m.Subject, m.Header = subject, map[string]string{field: value}
		m.To = []mail.Address{{Name: name, Address: address}}
		var b bytes.Buffer
		if _, err := m.WriteTo(&b); err != nil {
			return
		}
		got, err := smtpsink.Open(b.Bytes())
		require.NoError(t, err)
		to, err := got.Header.AddressList("To")
		require.NoError(t, err)
		require.Len(t, to, 1)
		require.Equal(t, address, to[0].Address)
		require.Len(t, got.Header, 12, "%v", got.Header)
		for line := range strings.Lines(b.String()) {
			require.LessOrEqual(t, len(line), 998+2)
		}
	})
}

// The bytes of a report, to look at or to give to another program.
func ExampleCompose() {
	r := &report.Report{
		Name: "supim", Host: "backup1.example.org", Day: julian.Date{Year: 2026, Day: 268},
		Jobs: []report.Job{{Name: "2026-268"}},
	}
	m, err := mailer.Compose(r,
		mail.Address{Name: "backup", Address: "backup@example.org"},
		[]mail.Address{{Address: "ops@example.org"}},
		time.Date(2026, 9, 25, 6, 31, 10, 0, time.UTC))
	if err != nil {
		fmt.Println(err)
		return
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		fmt.Println(err)
		return
	}
	sent, err := mail.ReadMessage(&b)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, field := range []string{"Subject", "Date", "To", "Auto-Submitted", "List-Id", "X-Obskeep-Outcome"} {
		fmt.Printf("%s: %s\n", field, sent.Header.Get(field))
	}
	// Output:
	// Subject: [OK] supim 2026-268: 1 ok
	// Date: Fri, 25 Sep 2026 06:31:10 +0000
	// To: <ops@example.org>
	// Auto-Submitted: auto-generated
	// List-Id: <supim.backup1.example.org>
	// X-Obskeep-Outcome: ok
}
