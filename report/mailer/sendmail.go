package mailer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Sendmail sends through the sendmail program of a local mail server, which
// Postfix, Exim, OpenSMTPD and others have under this name. It may be used by
// several goroutines at a time.
type Sendmail struct {
	Path string // "": /usr/sbin/sendmail
}

var _ Sender = (*Sendmail)(nil)

// Exit statuses of sendmail (sysexits.h) that another attempt does not change.
const (
	exUsage  = 64
	exDataEr = 65
	exNoUser = 67
	exNoHost = 68
	exNoPerm = 77
)

// Send runs "sendmail -t -i" and gives it the message. Nil means that the
// local mail server has queued it. If ctx ends first the program is killed,
// and the *[SendError] says Unknown.
func (s *Sendmail) Send(ctx context.Context, m *Message) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	args := []string{"-t", "-i"} // recipients from the header; a lone dot is text
	if len(m.Recipients()) < len(m.To) {
		args = []string{"-i", "--"}
		for _, to := range m.Recipients() {
			args = append(args, to.Address)
		}
	}
	path := cmp.Or(s.Path, "/usr/sbin/sendmail")
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = 5 * time.Second // a child may hold the pipes open
	// Programs of Unix end lines with a newline.
	cmd.Stdin = bytes.NewReader(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
	var output headBuffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	if err == nil {
		return nil
	}
	e := &SendError{Server: path, Step: "run", Remaining: m.Recipients(), Err: err}
	if cause := context.Cause(ctx); cause != nil {
		e.Unknown = cmd.Process != nil
		e.Err = fmt.Errorf("%w: %w", cause, err)
		return e
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		e.Code = exit.ExitCode()
	}
	switch e.Code {
	case exUsage, exDataEr, exNoUser, exNoHost, exNoPerm:
		e.Permanent = true
	}
	if said := strings.TrimSpace(string(output)); said != "" {
		e.Err = fmt.Errorf("%w: %s", err, strings.Trim(strconv.Quote(said), `"`))
	}
	return e
}

// headBuffer keeps the first bytes of what a program says.
type headBuffer []byte

func (b *headBuffer) Write(p []byte) (int, error) {
	const limit = 1000
	*b = append(*b, p[:min(len(p), limit-min(len(*b), limit))]...)
	return len(p), nil
}
