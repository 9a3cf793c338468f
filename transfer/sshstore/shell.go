package sshstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/transfer"
)

// errNoShell is returned where the account may not run what is needed.
var errNoShell = fmt.Errorf("no shell on the far side: %w", errors.ErrUnsupported)

const (
	shellUnknown = iota
	shellYes
	shellNo
)

// maxExecs stays below the ten sessions that sshd allows a connection.
const maxExecs = 4

// sessions counts out the right to have a session.
type sessions struct {
	free chan struct{}
	all  chan struct{} // as many as there are in use or free
}

func newSessions(n int) *sessions {
	s := &sessions{make(chan struct{}, n), make(chan struct{}, n)}
	for range n {
		s.free <- struct{}{}
		s.all <- struct{}{}
	}
	return s
}

// refused is called instead of giving back: the server allows fewer. It
// reports whether there are others to wait for.
func (s *sessions) refused() bool {
	<-s.all
	select {
	case v := <-s.all:
		s.all <- v
		return true
	default:
		s.all <- struct{}{}
		s.free <- struct{}{}
		return false
	}
}

// run gives a script to the POSIX shell of the far side and returns the end of
// what it printed. The login shell, which may be any other, sees but "exec sh".
func (l *link) run(ctx context.Context, script string) (string, error) {
	c, err := l.get(ctx)
	if err != nil {
		return "", err
	}
	session, err := l.session(ctx, c)
	if err != nil {
		return "", err
	}
	return await(ctx, c, func() (string, error) {
		defer l.sessionDone()
		return runScript(ctx, c, session, script)
	}, nil)
}

// session opens a session in which to run something. After it sessionDone is to
// be called.
func (l *link) session(ctx context.Context, c *conn) (*ssh.Session, error) {
	for patience := 20; ; patience-- {
		select {
		case <-l.execs.free:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.dead:
			return nil, c.answer(c.cause)
		}
		session, err := await(ctx, c, func() (*ssh.Session, error) {
			s, err := c.client.NewSession()
			if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
				return nil, errNoShell
			}
			return s, err
		}, func(s *ssh.Session) { s.Close() })
		if err == nil {
			return session, nil
		}
		if !errors.Is(err, errNoShell) {
			l.sessionDone()
			return nil, err
		}
		if l.execs.refused() {
			continue
		}
		// A session of ours that has ended counts until the server has cleaned
		// up after it.
		if l.shell.Load() != shellYes || patience <= 0 {
			return nil, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *link) sessionDone() { l.execs.free <- struct{}{} }

func runScript(ctx context.Context, c *conn, session *ssh.Session, script string) (string, error) {
	defer session.Close()
	stop := context.AfterFunc(ctx, func() {
		// Nobody is interested in what it is reading for hours.
		_ = session.Signal(ssh.SIGTERM) // older servers cannot
		session.Close()
	})
	defer stop()
	var out tail
	session.Stdin = strings.NewReader(script)
	session.Stdout = &out
	err := session.Run("exec sh")
	if _, ok := errors.AsType[*ssh.ExitMissingError](err); ok || errors.Is(err, io.EOF) {
		return "", cmp.Or(c.check(ctx), errNoShell) // it may be the line that has ended
	}
	if err != nil {
		return "", errNoShell
	}
	return string(out), nil
}

// tail keeps the last of what a far side prints: some greet first.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	const most = 4096
	*t = append(*t, p...)
	if len(*t) > most {
		*t = append((*t)[:0], (*t)[len(*t)-most:]...)
	}
	return len(p), nil
}

// ask is run for what takes no time. The answer is waited for as long as a
// login is: some accounts say nothing when a program is to be run.
func (l *link) ask(ctx context.Context, script string) (string, error) {
	if l.shell.Load() == shellNo {
		return "", noShell(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, l.config.timeout())
	defer cancel()
	out, err := l.run(limited, script)
	if err != nil && limited.Err() != nil {
		if ctx.Err() == nil {
			l.shell.Store(shellNo)
		}
		return "", noShell(ctx)
	}
	return out, err
}

// noShell is errNoShell, unless it is only that nobody waits for the answer.
func noShell(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errNoShell
}

// hasShell asks once whether the account can hash.
func (l *link) hasShell(ctx context.Context) bool {
	switch l.shell.Load() {
	case shellYes:
		return true
	case shellNo:
		return false
	}
	out, err := l.ask(ctx, "printf obskeep | "+hasher+" && { printf obskeep | "+fastHasher+" 2>/dev/null || :; }\n")
	if errors.Is(err, transfer.ErrLost) || errors.Is(err, fs.ErrClosed) || ctx.Err() != nil {
		return false // not known yet
	}
	want := sha256.Sum256([]byte("obskeep"))
	sums := 0
	for line := range strings.Lines(out) {
		if sum, ok := parseSum(line); ok && sum == want {
			sums++
		}
	}
	if err == nil && sums > 0 {
		l.hashesFast.Store(sums > 1)
		l.shell.Store(shellYes)
		return true
	}
	l.shell.Store(shellNo)
	l.config.logger().Info("no shell on the far side, reading back instead of hashing there", "addr", l.config.addr())
	return false
}

// What hashes its standard input on the far side. That of openssl uses what the
// processor has for it, mostly.
const (
	hasher     = "sha256sum"
	fastHasher = "openssl dgst -sha256 -r"
)

// hashPrefix hashes the first n bytes of a file, or all if n is negative.
func (l *link) hashPrefix(ctx context.Context, full string, n int64) (sum [sha256.Size]byte, err error) {
	command := hasher
	if l.hashesFast.Load() {
		command = fastHasher
	}
	const done = "all was read"
	script := fmt.Sprintf("%s < %s && echo %s\n", command, shellQuote(full), done)
	if n >= 0 {
		// The status of head would be lost in the pipe: a file that cannot be
		// read must not pass for an empty one.
		script = fmt.Sprintf("exec 3>&1\n{ head -c %d < %s && echo %s >&3; } | %s\n", n, shellQuote(full), done, command)
	}
	out, err := l.run(ctx, script)
	if err != nil {
		return sum, err
	}
	hashed, read := false, false
	for line := range strings.Lines(out) {
		if s, ok := parseSum(line); ok {
			sum, hashed = s, true
		}
		read = read || line == done+"\n"
	}
	if !hashed || !read {
		// What SFTP shows the shell may not see, or not under this name.
		l.shell.Store(shellNo)
		return sum, errNoShell
	}
	return sum, nil
}

// syncFS makes all that was written to the file systems of some files
// durable. That the shell sees the files shows that it sees the same ones.
func (l *link) syncFS(ctx context.Context, files []string) error {
	var script strings.Builder
	script.WriteString("sync -f --")
	for _, f := range files {
		script.WriteString(" " + shellQuote(f))
	}
	script.WriteString(" && echo synced\n")
	out, err := l.run(ctx, script.String())
	if err == nil && lastLine(out) != "synced" {
		err = errNoShell
	}
	return err
}

func lastLine(out string) string {
	out = strings.TrimRight(out, "\n")
	return out[strings.LastIndexByte(out, '\n')+1:]
}

func parseSum(line string) (sum [sha256.Size]byte, ok bool) {
	text, _, _ := strings.Cut(line, " ")
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != sha256.Size {
		return sum, false
	}
	return [sha256.Size]byte(b), true
}

// shellQuote makes one word of s for a POSIX shell, whatever its bytes.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
