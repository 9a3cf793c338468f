package mailer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/report/mailer"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
)

// TestMain is also the program of the tests that need another process: with
// MAILER_SPOOL in the environment it flushes that spool to MAILER_SERVER, and
// crashes before or after sending if MAILER_CRASH says so.
func TestMain(m *testing.M) {
	dir := os.Getenv("MAILER_SPOOL")
	if dir == "" {
		goleak.VerifyTestMain(m)
		return
	}
	server := &mailer.SMTP{Addr: os.Getenv("MAILER_SERVER")}
	spool := &mailer.Spool{Dir: dir, Sender: senderFunc(func(ctx context.Context, m *mailer.Message) error {
		crash := os.Getenv("MAILER_CRASH")
		if crash == "before" {
			os.Exit(3)
		}
		err := server.Send(ctx, m)
		if crash == "after" {
			os.Exit(3)
		}
		return err
	})}
	if err := spool.Flush(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type senderFunc func(context.Context, *mailer.Message) error

func (f senderFunc) Send(ctx context.Context, m *mailer.Message) error { return f(ctx, m) }

// another returns this program as another process.
func another(t *testing.T, dir, server, crash string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "MAILER_SPOOL="+dir, "MAILER_SERVER="+server, "MAILER_CRASH="+crash)
	cmd.Stderr = t.Output()
	return cmd
}

var errDown = errors.New("the server is down")

var down = senderFunc(func(context.Context, *mailer.Message) error { return errDown })

// fill puts messages 1 through n into a new spool whose server is down.
func fill(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "spool")
	for i := range n {
		require.ErrorIs(t, (&mailer.Spool{Dir: dir, Sender: down}).Send(t.Context(), numbered(t, i+1)), errDown)
	}
	return dir
}

func sink(t *testing.T) (*smtpsink.Sink, *mailer.SMTP) {
	t.Helper()
	s, err := smtpsink.New("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, &mailer.SMTP{Addr: s.Addr()}
}

func subjects(t *testing.T, messages []smtpsink.Message) []string {
	t.Helper()
	var all []string
	for _, m := range messages {
		opened, err := m.Open()
		require.NoError(t, err)
		all = append(all, opened.Subject)
	}
	return all
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		if entry.Name() != "lock" { // on Windows
			names = append(names, entry.Name())
		}
	}
	return names
}

func spooledError(t *testing.T, err error) *mailer.SpooledError {
	t.Helper()
	e, ok := errors.AsType[*mailer.SpooledError](err)
	require.True(t, ok, "%v", err)
	return e
}

// A message for which Send returned nil was accepted, unchanged, and the
// spool is empty.
func TestSpool_SendsAndForgets(t *testing.T) {
	t.Parallel()
	server, smtp := sink(t)
	dir := filepath.Join(t.TempDir(), "a", "spool")
	m := compose(t, trouble())
	require.NoError(t, (&mailer.Spool{Dir: dir, Sender: smtp}).Send(t.Context(), m))
	require.Len(t, server.Messages(), 1)
	require.Equal(t, written(t, m), string(server.Messages()[0].Data))
	require.Empty(t, files(t, dir))
}

// When the server is down the message stays, the error says how many wait and
// since when, and the next run sends all of them, the oldest first, each once
// and unchanged.
func TestSpool_LosesNothingWhenTheServerIsDown(t *testing.T) {
	t.Parallel()
	dir := fill(t, 2)
	err := (&mailer.Spool{Dir: dir, Sender: down}).Send(t.Context(), numbered(t, 3))
	e := spooledError(t, err)
	require.Equal(t, 3, e.Waiting)
	require.Equal(t, dir, e.Dir)
	require.True(t, numbered(t, 1).Date.Equal(e.Since))
	require.ErrorIs(t, err, errDown)
	require.ErrorContains(t, err, "will be tried again by the next run", "whether it is sent then nobody knows")
	require.Len(t, files(t, dir), 3)

	server, smtp := sink(t)
	spool := &mailer.Spool{Dir: dir, Sender: smtp}
	require.NoError(t, spool.Send(t.Context(), numbered(t, 4)))
	require.Equal(t, []string{"report 1", "report 2", "report 3", "report 4"}, subjects(t, server.Messages()))
	for i, got := range server.Messages() {
		require.Equal(t, written(t, numbered(t, i+1)), string(got.Data))
		require.Equal(t, "backup@example.org", got.From)
		require.Equal(t, []string{"ops@example.org"}, got.To)
	}
	require.NoError(t, spool.Flush(t.Context()))
	require.Len(t, server.Messages(), 4)
	require.Empty(t, files(t, dir))
}

// When the server cannot be reached, Flush does not try every message.
func TestSpool_StopsWhenTheServerIsDown(t *testing.T) {
	t.Parallel()
	dir := fill(t, 3)
	attempts := 0
	spool := &mailer.Spool{Dir: dir, Sender: senderFunc(func(context.Context, *mailer.Message) error {
		attempts++
		return errDown
	})}
	require.Equal(t, 3, spooledError(t, spool.Flush(t.Context())).Waiting)
	require.Equal(t, 1, attempts)
}

// A message that the server refuses stays, and does not block the others.
func TestSpool_ARefusedMessageBlocksNothing(t *testing.T) {
	t.Parallel()
	dir := fill(t, 3)
	var tried []string
	spool := &mailer.Spool{Dir: dir, Sender: senderFunc(func(_ context.Context, m *mailer.Message) error {
		tried = append(tried, m.Subject)
		if m.Subject == "report 1" {
			return &mailer.SendError{Step: "data", Code: 554, Permanent: true, Remaining: m.Recipients(), Err: refusal(554)}
		}
		return nil
	})}
	e := spooledError(t, spool.Flush(t.Context()))
	require.Equal(t, 1, e.Waiting)
	require.Equal(t, 554, sendError(t, e).Code)
	require.Equal(t, []string{"report 1", "report 2", "report 3"}, tried)
}

// If a server takes a message for some recipients only, the others alone are
// tried again.
func TestSpool_TriesTheRemainingRecipientsOnly(t *testing.T) {
	t.Parallel()
	refuse := true
	s := (&server{onRcpt: func(_ net.Conn, to string) error {
		if refuse && to == "b@example.org" {
			return refusal(450)
		}
		return nil
	}}).start(t)
	spool := &mailer.Spool{Dir: t.TempDir(), Sender: &mailer.SMTP{Addr: s.addr}}
	m := compose(t, trouble(), mail.Address{Address: "a@example.org"}, mail.Address{Address: "b@example.org"})
	require.Equal(t, 1, spooledError(t, spool.Send(t.Context(), m)).Waiting)
	// The same message again: those who have it do not get it once more.
	spooledError(t, spool.Send(t.Context(), m))
	refuse = false
	require.NoError(t, spool.Flush(t.Context()))

	var to [][]string
	for _, got := range s.messages() {
		to = append(to, got.To)
		require.Equal(t, written(t, m), string(got.Data))
	}
	require.Empty(t, cmp.Diff([][]string{{"a@example.org"}, {"b@example.org"}}, to))
}

// After a crash at any moment the message is sent: once if the server did
// not have it, and with the same Message-ID if it did.
func TestSpool_SurvivesACrash(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		crash string
		want  int
	}{{"before", 1}, {"after", 2}} {
		t.Run(row.crash+" the server has it", func(t *testing.T) {
			dir := fill(t, 1)
			server, smtp := sink(t)
			err := another(t, dir, server.Addr(), row.crash).Run()
			exit, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 3, exit.ExitCode())

			require.NoError(t, (&mailer.Spool{Dir: dir, Sender: smtp}).Flush(t.Context()))
			got := server.Messages()
			require.Len(t, got, row.want)
			for _, m := range got {
				opened, err := m.Open()
				require.NoError(t, err)
				require.Equal(t, "<"+numbered(t, 1).ID()+">", opened.Header.Get("Message-Id"))
			}
			require.Empty(t, files(t, dir))
		})
	}
}

// Two processes never send one spooled message at the same time: each
// message arrives once, however many processes flush.
func TestSpool_SendsOnceFromManyProcesses(t *testing.T) {
	t.Parallel()
	const messages, processes = 10, 4
	dir := fill(t, messages)
	server, smtp := sink(t)
	var wg sync.WaitGroup
	for range processes {
		cmd := another(t, dir, server.Addr(), "")
		require.NoError(t, cmd.Start())
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := (&mailer.Spool{Dir: dir, Sender: smtp}).Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var want []string
	for i := range messages {
		want = append(want, fmt.Sprint("report ", i+1))
	}
	require.Equal(t, want, subjects(t, server.Messages()))
}

// While another is sending, a message is on the disk before Send waits, and
// Send ends with its context.
func TestSpool_WaitsForAnotherNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	dir := fill(t, 1)
	sending, finish := make(chan struct{}), make(chan struct{})
	var sent []string
	slow := &mailer.Spool{Dir: dir, Sender: senderFunc(func(_ context.Context, m *mailer.Message) error {
		sent = append(sent, m.Subject)
		close(sending)
		<-finish
		return nil
	})}
	flushed := make(chan error)
	go func() { flushed <- slow.Flush(t.Context()) }()
	<-sending

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := (&mailer.Spool{Dir: dir, Sender: down}).Send(ctx, numbered(t, 2))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 2, spooledError(t, err).Waiting)

	close(finish)
	require.NoError(t, <-flushed)
	require.Equal(t, []string{"report 1"}, sent)
	require.Len(t, files(t, dir), 1)
}

// A damaged file is set aside and reported once; the others are sent.
func TestSpool_SetsADamagedFileAside(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		damage func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"cut short", func(b []byte) []byte { return b[:len(b)-1] }},
		{"one bit changed", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"a recipient changed", func(b []byte) []byte { return bytes.Replace(b, []byte("ops@"), []byte("spy@"), 1) }},
		{"something else", func([]byte) []byte { return []byte("Subject: hello\r\n\r\n") }},
	} {
		t.Run(row.rule, func(t *testing.T) {
			dir := fill(t, 3)
			victim := files(t, dir)[1]
			content, err := os.ReadFile(filepath.Join(dir, victim))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, victim), row.damage(content), 0o600))

			server, smtp := sink(t)
			spool := &mailer.Spool{Dir: dir, Sender: smtp}
			err = spool.Flush(t.Context())
			damaged, ok := errors.AsType[*mailer.DamagedError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, filepath.Join(dir, victim+".bad"), damaged.Path)
			_, waits := errors.AsType[*mailer.SpooledError](err)
			require.False(t, waits, "%v", err)
			require.Equal(t, []string{"report 1", "report 3"}, subjects(t, server.Messages()))

			require.NoError(t, spool.Flush(t.Context()))
			require.Equal(t, []string{victim + ".bad"}, files(t, dir))
		})
	}
}

// Files of others in the folder are left alone.
func TestSpool_LeavesOtherFilesAlone(t *testing.T) {
	t.Parallel()
	dir := fill(t, 1)
	for _, name := range []string{"README", ".durable-X.eml", "old.eml.bad"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600))
	}
	server, smtp := sink(t)
	require.NoError(t, (&mailer.Spool{Dir: dir, Sender: smtp}).Flush(t.Context()))
	require.Len(t, server.Messages(), 1)
	require.Equal(t, []string{".durable-X.eml", "README", "old.eml.bad"}, files(t, dir))
}

// What waits can be read by its owner alone, and by any mail program.
func TestSpool_KeepsMessagesPrivateAndReadable(t *testing.T) {
	t.Parallel()
	dir := fill(t, 1)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	path := filepath.Join(dir, files(t, dir)[0])
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	opened, err := smtpsink.Open(content)
	require.NoError(t, err)
	require.Equal(t, "report 1", opened.Subject)
	require.Equal(t, string(numbered(t, 1).Text), strings.ReplaceAll(opened.Text, "\r\n", "\n"))
}

// A message that cannot be written down is sent all the same, and the error
// says so; if it cannot be sent either, the error says that it is lost.
func TestSpool_SendsWhatItCannotWriteDown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	testNotSpooled(t, filepath.Join(file, "spool"))
}

func testNotSpooled(t *testing.T, dir string) *mailer.NotSpooledError {
	t.Helper()
	server, smtp := sink(t)
	m := compose(t, trouble())
	err := (&mailer.Spool{Dir: dir, Sender: smtp}).Send(t.Context(), m)
	e, ok := errors.AsType[*mailer.NotSpooledError](err)
	require.True(t, ok, "%v", err)
	require.True(t, e.Sent)
	require.NoError(t, e.SendErr)
	require.Error(t, e.Err)
	require.Len(t, server.Messages(), 1)
	require.Equal(t, written(t, m), string(server.Messages()[0].Data))

	err = (&mailer.Spool{Dir: dir, Sender: down}).Send(t.Context(), m)
	e, ok = errors.AsType[*mailer.NotSpooledError](err)
	require.True(t, ok, "%v", err)
	require.False(t, e.Sent)
	require.ErrorIs(t, err, errDown)
	require.Error(t, e.Err)
	return e
}

// A message that cannot be written as a message is refused, not spooled.
func TestSpool_RefusesAMessageThatCannotBeSent(t *testing.T) {
	t.Parallel()
	dir := fill(t, 1)
	m := numbered(t, 2)
	m.To = nil
	require.Error(t, (&mailer.Spool{Dir: dir, Sender: down}).Send(t.Context(), m))
	require.Len(t, files(t, dir), 1)
}

// Whatever a file of a spool holds, Flush neither panics nor blocks.
func FuzzSpool_TakesAnyFile(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("X-Obskeep-Spool: v1 sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n"))
	f.Add([]byte("X-Obskeep-Spool: v1 sha256="))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "x.eml"), content, 0o600))
		var sent []string
		spool := &mailer.Spool{Dir: dir, Sender: senderFunc(func(_ context.Context, m *mailer.Message) error {
			sent = append(sent, m.Subject)
			return nil
		})}
		require.NoError(t, (&mailer.Spool{Dir: t.TempDir(), Sender: down}).Flush(t.Context()))
		require.Error(t, spool.Flush(t.Context()))
		require.Empty(t, sent)
		require.NoError(t, spool.Flush(t.Context()))
	})
}

// A backup mails its report; when the server is down the report waits, and
// the next run sends it.
func ExampleSpool() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := smtpsink.New("127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	run := func(addr string, day int) error {
		r := &report.Report{Name: "supim", Jobs: []report.Job{{Name: fmt.Sprint("2026-", day)}}}
		m, err := mailer.Compose(r,
			mail.Address{Address: "backup@example.org"},
			[]mail.Address{{Address: "ops@example.org"}},
			time.Date(2026, 9, day-243, 6, 0, 0, 0, time.UTC))
		if err != nil {
			return err
		}
		spool := &mailer.Spool{Dir: dir, Sender: &mailer.SMTP{Addr: addr}}
		return spool.Send(context.Background(), m)
	}

	err = run("127.0.0.1:0", 267) // nobody listens there
	if spooled, ok := errors.AsType[*mailer.SpooledError](err); ok {
		fmt.Println(spooled.Waiting, "waiting since", spooled.Since.Format(time.DateOnly))
	}
	fmt.Println(run(server.Addr(), 268), len(server.Messages()))
	// Output:
	// 1 waiting since 2026-09-24
	// <nil> 2
}
