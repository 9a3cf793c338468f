package mailer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/obskeep/obskeep/report"
)

// Message is a mail that a program sends to people who did not ask for it at
// this moment. It may be read by several goroutines at a time.
type Message struct {
	From    mail.Address   // its Address is the envelope's sender too
	To      []mail.Address // at least one
	Date    time.Time      // required; part of the Message-ID
	Subject string         // any characters but control characters
	Text    []byte         // plain text in UTF-8
	HTML    []byte         // the same in HTML, in UTF-8; nil: text only

	// Host is the machine that the message is from; "" if that does not
	// matter. Mail programs show messages of one Thread and Host together.
	Host   string
	Thread string // such as "supim"; "": no thread and no List-Id

	// Header holds further fields, such as X-Site. A field that Message
	// sets itself is an error.
	Header map[string]string

	// A message read from a spool: what WriteTo writes, and who has not got
	// it yet.
	raw  []byte
	rcpt []mail.Address
}

// outcomeField lets filters of mail programs sort reports.
const outcomeField = "X-Obskeep-Outcome"

// Compose makes the message that tells to about r: its Subject, its text and
// its HTML, in the thread of its Name and Host. Date is the time of sending.
func Compose(r *report.Report, from mail.Address, to []mail.Address, date time.Time) (*Message, error) {
	var text, html bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteHTML(&html)); err != nil {
		return nil, fmt.Errorf("mailer: compose: %w", err)
	}
	m := &Message{
		From: from, To: to, Date: date, Subject: r.Subject(), Text: text.Bytes(), HTML: html.Bytes(),
		Host: r.Host, Thread: r.Name,
		Header: map[string]string{outcomeField: r.Outcome().String()},
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

// Recipients returns who is to get the message: everybody in To, or of a
// message from a spool those who have not got it yet.
func (m *Message) Recipients() []mail.Address {
	if m.rcpt != nil {
		return m.rcpt
	}
	return m.To
}

// ID returns the Message-ID without its angle brackets (RFC 5322, 3.6.4). It
// is calculated from all fields: messages have the same ID if nothing in them
// differs, and a repeat of a message has the ID of the first.
func (m *Message) ID() string {
	if m.raw != nil {
		if parsed, err := mail.ReadMessage(bytes.NewReader(m.raw)); err == nil {
			return strings.Trim(parsed.Header.Get("Message-Id"), "<>")
		}
	}
	fields := []string{
		m.From.String(), m.Date.UTC().Format(time.RFC3339Nano), m.Subject,
		string(m.Text), string(m.HTML), m.Host, m.Thread,
	}
	for _, a := range m.To {
		fields = append(fields, a.String())
	}
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		fields = append(fields, name, m.Header[name])
	}
	return hash(fields...) + "@" + m.domain()
}

// WriteTo writes the message as RFC 5322 and MIME (RFC 2045, 2047) have it,
// with lines of at most 78 characters where its words allow it, in ASCII.
// Each call writes the same bytes. What cannot be sent (no recipient, an
// address that is none, control characters in a header) is an error, and
// nothing is written.
func (m *Message) WriteTo(w io.Writer) (int64, error) {
	text, err := m.encode()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(text)
	if err != nil {
		return int64(n), fmt.Errorf("mailer: write message: %w", err)
	}
	return int64(n), nil
}

func (m *Message) encode() ([]byte, error) {
	if m.raw != nil {
		return m.raw, nil
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	id := m.ID()
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithBoundary("obskeep-"+hash(id)))
	msg.FromMailAddress(&m.From)
	var to []*mail.Address
	for i := range m.To {
		to = append(to, &m.To[i])
	}
	msg.ToMailAddress(to...)
	for name, value := range m.Header {
		msg.SetGenHeader(gomail.Header(name), value)
	}
	set := func(name, value string) { msg.SetGenHeader(gomail.Header(name), value) }
	set("Date", m.Date.Format(time.RFC1123Z))
	set("Subject", m.Subject)
	set("Message-ID", "<"+id+">")
	set("Auto-Submitted", "auto-generated") // RFC 3834, section 5: nobody answers it
	if m.Thread != "" {
		// No message has this ID. That all of a thread refer to it is enough
		// (RFC 5322, 3.6.4), and no run has to know the one before.
		root := "<thread-" + hash(m.Thread, m.Host) + "@" + m.domain() + ">"
		set("In-Reply-To", root)
		set("References", root)
		set("List-Id", "<"+m.listID()+">")
	}
	msg.SetBodyString(gomail.TypeTextPlain, string(m.Text))
	if m.HTML != nil {
		msg.AddAlternativeString(gomail.TypeTextHTML, string(m.HTML))
	}
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("mailer: write message: %w", err)
	}
	return b.Bytes(), nil
}

// ownFields are set by Message or by the message format.
var ownFields = []string{
	"auto-submitted", "bcc", "cc", "content-transfer-encoding", "content-type", "date", "from", "in-reply-to",
	"list-id", "message-id", "mime-version", "references", "return-path", "sender", "subject", "to",
}

// maxWord keeps lines within the 998 characters of RFC 5322, 2.1.1: they are
// folded at spaces only.
const maxWord = 900

func (m *Message) check() error {
	if m.Date.IsZero() {
		return errors.New("mailer: message without a date")
	}
	if len(m.To) == 0 {
		return errors.New("mailer: message without a recipient")
	}
	for _, a := range append([]mail.Address{m.From}, m.To...) {
		if err := checkAddress(a); err != nil {
			return err
		}
	}
	if err := checkValue("Subject", m.Subject); err != nil {
		return err
	}
	for name, value := range m.Header {
		if slices.Contains(ownFields, strings.ToLower(name)) {
			return fmt.Errorf("mailer: header %s: set by the message itself", name)
		}
		// RFC 5322, 3.6.8 allows more; nobody uses it.
		if strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name == "" {
			return fmt.Errorf("mailer: header %q: not a field name", name)
		}
		if err := checkValue(name, value); err != nil {
			return err
		}
	}
	return nil
}

func checkAddress(a mail.Address) error {
	parsed, err := mail.ParseAddress((&mail.Address{Address: a.Address}).String())
	if err != nil || parsed.Address != a.Address || strings.ContainsFunc(a.Address, notPlain) {
		return fmt.Errorf("mailer: address %q: want name@domain in ASCII", a.Address)
	}
	return checkValue("address "+a.Address, a.Name)
}

func checkValue(name, value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("mailer: %s: control characters in %q", name, value)
	}
	for word := range strings.SplitSeq(mime.QEncoding.Encode("utf-8", value), " ") {
		if len(word) > maxWord {
			return fmt.Errorf("mailer: %s: a word of more than %d bytes", name, maxWord)
		}
	}
	return nil
}

// notPlain reports whether a character cannot stand in an address on a
// command line of SMTP or sendmail without quoting.
func notPlain(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>"\,;:()[]`, r) }

// domain is the right side of the IDs: the host if it has a full name.
func (m *Message) domain() string {
	if host := atoms(m.Host); strings.Contains(host, ".") {
		return host
	}
	_, domain, _ := strings.Cut(m.From.Address, "@")
	return domain
}

// listID follows RFC 2919: a name without a domain of its own is below
// "localhost".
func (m *Message) listID() string {
	id := atoms(strings.ReplaceAll(m.Thread, ".", "-"))
	if id == "" {
		id = hash(m.Thread)
	}
	host := atoms(m.Host)
	switch {
	case host == "":
		host = "localhost"
	case !strings.Contains(host, "."):
		host += ".localhost"
	}
	return strings.ToLower(id + "." + host)
}

// atoms makes a dot-atom (RFC 5322, 3.2.3) of at most 100 letters, digits,
// hyphens and dots; "" if nothing of s is left.
func atoms(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.':
			return r
		}
		return '-'
	}, s)
	var parts []string
	for part := range strings.SplitSeq(s[:min(len(s), 100)], ".") {
		if part = strings.Trim(part, "-"); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}

// hash returns 96 bits in hexadecimal digits; lengths are part of it, so that
// no two lists of fields look alike.
func hash(fields ...string) string {
	h := sha256.New()
	for _, field := range fields {
		fmt.Fprintf(h, "%d:%s", len(field), field)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
