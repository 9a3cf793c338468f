package smtpsink_test

import (
	"fmt"
	"net/smtp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Messages holds what was acknowledged to the client, in that order.
func TestSink_KeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	sink, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	for _, subject := range []string{"first", "second"} {
		text := "Subject: " + subject + "\r\n\r\n.a line with a dot\r\n"
		require.NoError(t, smtp.SendMail(sink.Addr(), nil, "supim@example.org", []string{"ops@example.org", "duty@example.org"}, []byte(text)))
	}
	require.NoError(t, sink.Close())
	to := []string{"ops@example.org", "duty@example.org"}
	require.Empty(t, cmp.Diff([]smtpsink.Message{
		{From: "supim@example.org", To: to, Data: []byte("Subject: first\r\n\r\n.a line with a dot\r\n")},
		{From: "supim@example.org", To: to, Data: []byte("Subject: second\r\n\r\n.a line with a dot\r\n")},
	}, sink.Messages()))
}

// When Close returns, no goroutine and no connection is left: TestMain looks.
func TestSink_CloseEndsOpenConnections(t *testing.T) {
	t.Parallel()
	sink, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	client, err := smtp.Dial(sink.Addr())
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, sink.Close())
	require.NoError(t, sink.Close())
	require.Error(t, client.Noop())
	_, err = smtp.Dial(sink.Addr())
	require.Error(t, err)
}

func TestNew_ReportsAPortInUse(t *testing.T) {
	t.Parallel()
	sink, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	defer sink.Close()
	_, err = smtpsink.New(sink.Addr())
	require.Error(t, err)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, data, subject, text, html string }{
		{
			"a plain message is text",
			"Subject: a\r\nContent-Type: text/plain\r\n\r\nbody\r\n", "a", "body\r\n", "",
		},
		{
			"an encoded subject and body are decoded",
			"Subject: =?utf-8?q?S=C3=A3o?=\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A3=\r\no", "São", "", "ão",
		},
		{
			"the parts of a multipart are told apart",
			"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nt\r\n--x\r\nContent-Type: text/html\r\n\r\nh\r\n--x--\r\n", "", "t", "h",
		},
	} {
		t.Run(row.rule, func(t *testing.T) {
			m, err := smtpsink.Open([]byte(row.data))
			require.NoError(t, err)
			require.Equal(t, []string{row.subject, row.text, row.html}, []string{m.Subject, m.Text, m.HTML})
		})
	}
	for _, row := range []struct{ rule, data string }{
		{"nothing", ""},
		{"no content type", "Subject: a\r\n\r\nbody"},
		{"a multipart that ends early", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nt"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			_, err := smtpsink.Open([]byte(row.data))
			require.Error(t, err)
		})
	}
}

// A demonstration shows the mail that a program sent.
func Example() {
	sink, err := smtpsink.New("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sink.Close()

	text := "Subject: [OK] supim\r\nContent-Type: text/plain\r\n\r\n1 ok\r\n"
	if err := smtp.SendMail(sink.Addr(), nil, "supim@example.org", []string{"ops@example.org"}, []byte(text)); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range sink.Messages() {
		mail, err := m.Open()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v: %s: %s", m.To, mail.Subject, mail.Text)
	}
	// Output: [ops@example.org]: [OK] supim: 1 ok
}
