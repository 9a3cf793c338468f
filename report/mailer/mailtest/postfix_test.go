package mailtest_test

import (
	"errors"
	"io/fs"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report/mailer"
	"github.com/obskeep/obskeep/report/mailer/mailtest"
)

// send sends a mail to one address.
func send(t *testing.T, mta *mailtest.MTA, to string) error {
	t.Helper()
	return (&mailer.SMTP{Addr: mta.Addr}).Send(t.Context(), &mailer.Message{
		From: mail.Address{Address: "a@" + mailtest.Domain}, To: []mail.Address{{Address: to}},
		Date: time.Date(2026, 9, 25, 6, 0, 0, 0, time.UTC), Subject: "hello", Text: []byte("body\n"),
	})
}

// Messages returns what was delivered, whoever in the domain it was for.
func TestPostfix_DeliversToAnyNameInItsDomain(t *testing.T) {
	t.Parallel()
	mta := mailtest.Postfix(t)
	for _, name := range []string{"ops", "duty"} {
		require.NoError(t, send(t, mta, name+"@"+mailtest.Domain))
	}
	for _, mail := range mta.Messages(2) {
		require.Equal(t, "hello", mail.Subject)
		require.Equal(t, "body\n", mail.Text)
	}
	require.DirExists(t, filepath.Join(mta.Maildir(), "new"))
}

// No message leaves the machine.
func TestPostfix_RefusesOtherDomains(t *testing.T) {
	t.Parallel()
	mta := mailtest.Postfix(t)
	e, ok := errors.AsType[*mailer.SendError](send(t, mta, "ops@example.org"))
	require.True(t, ok)
	require.Equal(t, "recipient", e.Step)
	require.Equal(t, 554, e.Code)
}

// When the test ends, or is killed, the server is stopped and its files are
// removed, and nothing of the system's mail server has changed.
func TestPostfix_LeavesNothingBehind(t *testing.T) {
	t.Parallel()
	before := system(t)
	var mta *mailtest.MTA
	t.Run("a test", func(t *testing.T) { mta = mailtest.Postfix(t) })
	if mta == nil {
		t.Skip("no server was started")
	}
	_, err := net.Dial("tcp", mta.Addr)
	require.Error(t, err)
	require.NoDirExists(t, mta.Config)
	require.NoFileExists(t, mta.Sendmail)
	require.Empty(t, cmp.Diff(before, system(t)))
}

// system returns the names, sizes and times of the system's configuration
// and queue.
func system(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, dir := range []string{"/etc/postfix", "/var/spool/postfix"} {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err == nil {
				all[path] = info.Mode().String() + info.ModTime().String()
			}
			return err
		})
		require.NoError(t, err)
	}
	return all
}
