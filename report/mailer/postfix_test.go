package mailer_test

import (
	"net/mail"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/report/mailer"
	"github.com/obskeep/obskeep/report/mailer/mailtest"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

// A real Postfix delivers a report that came over SMTP and one that came
// through its sendmail program, and the readers see the same.
func TestSend_ARealPostfixDelivers(t *testing.T) {
	t.Parallel()
	mta := mailtest.Postfix(t)
	r := trouble()
	for i, row := range []struct {
		rule   string
		sender mailer.Sender
	}{
		{"over SMTP, with STARTTLS", &mailer.SMTP{Addr: mta.Addr}},
		{"through sendmail", &mailer.Sendmail{Path: mta.Sendmail}},
		{"from a spool, over SMTP", &mailer.Spool{Dir: t.TempDir(), Sender: &mailer.SMTP{Addr: mta.Addr}}},
		{"from a spool, through sendmail", &mailer.Spool{Dir: t.TempDir(), Sender: &mailer.Sendmail{Path: mta.Sendmail}}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			m := compose(t, r, mail.Address{Name: "São José", Address: "ops@" + mailtest.Domain})
			require.NoError(t, row.sender.Send(t.Context(), m))

			mails := mta.Messages(i + 1)
			got := mails[len(mails)-1]
			require.Len(t, mails, i+1)
			checkMail(t, r, m, got)
		})
	}
	log, err := os.ReadFile(mta.Log)
	require.NoError(t, err)
	require.NotContains(t, string(log), "warning:")
	require.NotContains(t, string(log), "error:")
}

// A recipient whom a real Postfix refuses does not keep a report from the
// others, and the error names the refused one.
func TestSend_ARefusedRecipientDoesNotKeepTheOthersWaiting(t *testing.T) {
	t.Parallel()
	mta := mailtest.Postfix(t)
	m := compose(t, trouble(), mail.Address{Address: "ops@elsewhere.test"}, mail.Address{Address: "ops@" + mailtest.Domain})

	err := (&mailer.SMTP{Addr: mta.Addr}).Send(t.Context(), m)
	refused := sendError(t, err)
	require.Equal(t, "recipient", refused.Step)
	require.Equal(t, []mail.Address{{Address: "ops@elsewhere.test"}}, refused.Remaining)
	require.True(t, refused.Permanent)
	require.ErrorContains(t, err, mta.Addr)
	require.ErrorContains(t, err, "ops@elsewhere.test")

	checkMail(t, trouble(), m, mta.Messages(1)[0])
}

func checkMail(t *testing.T, r *report.Report, m *mailer.Message, got *smtpsink.Mail) {
	t.Helper()
	require.Equal(t, r.Subject(), got.Subject)
	require.Equal(t, "auto-generated", got.Header.Get("Auto-Submitted"))
	require.Equal(t, "<"+m.ID()+">", got.Header.Get("Message-Id"))
	require.Equal(t, r.Outcome().String(), got.Header.Get("X-Obskeep-Outcome"))
	require.NotEmpty(t, got.Header.Get("List-Id"))
	require.Equal(t, got.Header.Get("In-Reply-To"), got.Header.Get("References"))
	date, err := got.Header.Date()
	require.NoError(t, err)
	require.True(t, date.Equal(m.Date))
	to, err := got.Header.AddressList("To")
	require.NoError(t, err)
	require.Len(t, to, len(m.To))
	for i := range to {
		require.Equal(t, m.To[i], *to[i])
	}
	require.Equal(t, string(m.Text), strings.ReplaceAll(got.Text, "\r\n", "\n"))
	require.Equal(t, string(m.HTML), strings.ReplaceAll(got.HTML, "\r\n", "\n"))
}
