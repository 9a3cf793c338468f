//go:build !windows

package mailer_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report/mailer"
)

// program writes a shell script that stands for a mail server's program.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sendmail")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\ncd "+filepath.Dir(path)+"\n"+script), 0o755))
	return path
}

// The program gets the message with the newlines of Unix, and takes the
// recipients from it.
func TestSendmail_GivesTheMessageToTheProgram(t *testing.T) {
	t.Parallel()
	path := program(t, `echo "$@" >args; cat >text`)
	m := compose(t, trouble())
	require.NoError(t, (&mailer.Sendmail{Path: path}).Send(t.Context(), m))
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "text"))
	require.NoError(t, err)
	require.Equal(t, strings.ReplaceAll(written(t, m), "\r\n", "\n"), string(text))
	args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "args"))
	require.NoError(t, err)
	require.Equal(t, "-t -i\n", string(args))
}

// Recipients who have the message already do not get it again.
func TestSendmail_SendsToTheRemainingRecipientsOnly(t *testing.T) {
	t.Parallel()
	a, b := mail.Address{Address: "a@example.org"}, mail.Address{Address: "b@example.org"}
	dir := t.TempDir()
	spool := &mailer.Spool{Dir: dir, Sender: senderFunc(func(_ context.Context, m *mailer.Message) error {
		return &mailer.SendError{Step: "recipient", Code: 450, Remaining: []mail.Address{b}, Err: refusal(450)}
	})}
	require.Error(t, spool.Send(t.Context(), compose(t, trouble(), a, b)))

	path := program(t, `echo "$@" >args; cat >/dev/null`)
	require.NoError(t, (&mailer.Spool{Dir: dir, Sender: &mailer.Sendmail{Path: path}}).Flush(t.Context()))
	args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "args"))
	require.NoError(t, err)
	require.Equal(t, "-i -- b@example.org\n", string(args))
}

// A program that fails gives its status (sysexits.h) and its words; they
// cannot forge a line.
func TestSendmail_ReportsWhatTheProgramSays(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule      string
		status    int
		permanent bool
	}{
		{"EX_TEMPFAIL is worth another attempt", 75, false},
		{"EX_UNAVAILABLE is worth another attempt", 69, false},
		{"EX_NOUSER is not", 67, true},
		{"EX_DATAERR is not", 65, true},
		{"any other failure is worth another attempt", 1, false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			path := program(t, fmt.Sprintf("cat >/dev/null; printf 'queue\\nis full' >&2; exit %d", row.status))
			err := (&mailer.Sendmail{Path: path}).Send(t.Context(), numbered(t, 1))
			e := sendError(t, err)
			require.Equal(t, row.status, e.Code)
			require.Equal(t, row.permanent, e.Permanent)
			require.Equal(t, path, e.Server)
			require.ErrorContains(t, err, `queue\nis full`)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// A program that is not there is named.
func TestSendmail_ReportsAProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	err := (&mailer.Sendmail{Path: "/nonexistent/sendmail"}).Send(t.Context(), numbered(t, 1))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "/nonexistent/sendmail")
	require.False(t, sendError(t, err).Unknown)
}

// A program that does not end is killed with the context, and nobody knows
// whether the message was queued.
func TestSendmail_EndsWithTheContext(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "started")
	path := program(t, `cat >/dev/null; echo >"`+fifo+`"; exec sleep 60`)
	require.NoError(t, mkfifo(fifo))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		os.ReadFile(fifo) // until the program has written
		cancel()
	}()
	err := (&mailer.Sendmail{Path: path}).Send(ctx, numbered(t, 1))
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, sendError(t, err).Unknown)
}
