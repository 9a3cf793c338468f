package mailer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/mail"
	"strings"
)

// A file of a spool is the message itself, which any mail program shows,
// behind two kinds of fields of ours, each line ending in CR LF:
//
//	X-Obskeep-Spool: v1 sha256=(of all that follows this line, in hex)
//	X-Obskeep-Recipient: (address of one that has not got the message)
//	X-Obskeep-Recipient: (the next)
//	(the message as it is sent)
const (
	spoolField     = "X-Obskeep-Spool: v1 sha256="
	recipientField = "X-Obskeep-Recipient: "
)

// spoolSuffix ends the name of a file that waits. The name begins with the
// date, so that the order of names is the order of messages, and holds a hash
// of the ID, so that a message is spooled once.
const spoolSuffix = ".eml"

func spoolName(m *Message) string {
	return m.Date.UTC().Format("20060102T150405.000000000Z") + "-" + hash(m.ID()) + spoolSuffix
}

func encodeSpooled(message []byte, recipients []mail.Address) []byte {
	var rest bytes.Buffer
	for _, to := range recipients {
		rest.WriteString(recipientField + to.Address + "\r\n")
	}
	rest.Write(message)
	sum := sha256.Sum256(rest.Bytes())
	return append([]byte(spoolField+hex.EncodeToString(sum[:])+"\r\n"), rest.Bytes()...)
}

func decodeSpooled(data []byte) (*Message, error) {
	first, rest, _ := bytes.Cut(data, []byte("\r\n"))
	sum := sha256.Sum256(rest)
	if string(first) != spoolField+hex.EncodeToString(sum[:]) {
		return nil, errors.New("the content does not have the checksum in its first line")
	}
	m := &Message{}
	for {
		line, after, _ := bytes.Cut(rest, []byte("\r\n"))
		address, ok := strings.CutPrefix(string(line), recipientField)
		if !ok {
			break
		}
		m.rcpt = append(m.rcpt, mail.Address{Address: address})
		rest = after
	}
	m.raw = rest
	if m.rcpt == nil {
		return nil, errors.New("no recipient")
	}
	parsed, err := mail.ReadMessage(bytes.NewReader(m.raw))
	if err != nil {
		return nil, err
	}
	from, err := mail.ParseAddress(parsed.Header.Get("From"))
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	to, err := parsed.Header.AddressList("To")
	if err != nil {
		return nil, fmt.Errorf("recipients: %w", err)
	}
	m.From = *from
	for _, a := range to {
		m.To = append(m.To, *a)
	}
	if m.Date, err = parsed.Header.Date(); err != nil {
		return nil, fmt.Errorf("date: %w", err)
	}
	m.Subject = parsed.Header.Get("Subject")
	return m, nil
}
