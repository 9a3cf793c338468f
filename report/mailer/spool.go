package mailer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/internal/filelock"
)

// Spool is a [Sender] that loses nothing when the server is down: it writes
// each message down before it sends it, and removes it when the server has
// taken it. The next Send or Flush sends what is left, also in another
// process. It may be used by several goroutines and processes at a time.
type Spool struct {
	Dir    string // made if it is not there, for its owner only
	Sender Sender // how messages leave; it gets their bytes, not their Text and HTML
}

var _ Sender = (*Spool)(nil)

// SpooledError says that messages wait in a spool, safely. Those are not
// lost; a later Send or Flush sends them.
type SpooledError struct {
	Dir     string
	Waiting int       // messages
	Since   time.Time // the date of the oldest
	Err     error     // why they could not be sent; a *SendError for each of several, joined
}

func (e *SpooledError) Error() string {
	return fmt.Sprintf("mailer: spool %s: %d waiting since %s, will be tried again by the next run: %v",
		e.Dir, e.Waiting, e.Since.UTC().Format("2006-01-02 15:04:05 UTC"), e.Err)
}

func (e *SpooledError) Unwrap() error { return e.Err }

// NotSpooledError says that a message could not be written down, on a full
// disk for example, and so was sent without that. If it was not Sent either,
// nothing of it is left.
type NotSpooledError struct {
	Dir     string
	Sent    bool  // the server has it
	Err     error // why it could not be written down
	SendErr error // why it could not be sent; nil if Sent
}

func (e *NotSpooledError) Error() string {
	if e.Sent {
		return fmt.Sprintf("mailer: spool %s: the message was sent, but could not be spooled first: %v", e.Dir, e.Err)
	}
	return fmt.Sprintf("mailer: spool %s: the message is lost: nothing could be spooled: %v; and sending failed: %v", e.Dir, e.Err, e.SendErr)
}

func (e *NotSpooledError) Unwrap() []error { return []error{e.Err, e.SendErr} }

// DamagedError says that a file of a spool does not hold a whole message. It
// was renamed, and is not looked at again.
type DamagedError struct {
	Path string // where it is now; ends in ".bad"
	Err  error  // what is wrong with it
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("mailer: %s: damaged, set aside and not sent: %v", e.Path, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Send writes m down, and then does what Flush does. Nil means that the
// server has m and everything that waited.
//
// Errors, several of them joined: a *[SpooledError] if anything waits, a
// *[NotSpooledError] if m could not be written down, a *[DamagedError] for
// each file set aside. An m that cannot be written as a message is an error
// without any of these.
func (s *Spool) Send(ctx context.Context, m *Message) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	root, err := s.open()
	if err == nil {
		defer root.Close()
		err = write(root, m, text)
	}
	if err != nil {
		sendErr := s.Sender.Send(ctx, m)
		return &NotSpooledError{Dir: s.Dir, Sent: sendErr == nil, Err: err, SendErr: sendErr}
	}
	return s.flush(ctx, root)
}

// Flush sends what waits, the oldest first, each once. It goes on after a
// message that the server refuses, and stops when the server cannot be
// reached. If another process is sending, it waits until that is done. Nil
// means that nothing waits. The errors are those of Send.
func (s *Spool) Flush(ctx context.Context) error {
	root, err := s.open()
	if err != nil {
		return err
	}
	defer root.Close()
	return s.flush(ctx, root)
}

func (s *Spool) open() (*os.Root, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("mailer: spool: %w", err)
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("mailer: spool: %w", err)
	}
	return root, nil
}

func write(root *os.Root, m *Message, text []byte) error {
	name := spoolName(m)
	// One that waits already may have fewer recipients left.
	if _, err := root.Lstat(name); err == nil {
		return nil
	}
	return durable.WriteFile(root, name, encodeSpooled(text, m.Recipients()), 0o600)
}

func (s *Spool) flush(ctx context.Context, root *os.Root) error {
	unlock, err := lock(ctx, s.Dir)
	if err != nil {
		if names, e := spooled(root); e == nil && len(names) == 0 {
			return nil // the other process has sent everything
		}
		return s.waiting(root, fmt.Errorf("another process is sending: %w", err))
	}
	defer unlock()
	names, err := spooled(root)
	if err != nil {
		return fmt.Errorf("mailer: spool %s: %w", s.Dir, err)
	}
	var failed, damaged []error
	for _, name := range names {
		data, err := root.ReadFile(name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		m, err := decodeSpooled(data)
		if err != nil {
			damaged = append(damaged, s.setAside(root, name, err))
			continue
		}
		err = s.Sender.Send(ctx, m)
		if settleErr := settle(root, name, m, err); settleErr != nil {
			failed = append(failed, settleErr)
		}
		if err == nil {
			continue
		}
		failed = append(failed, err)
		if e, ok := errors.AsType[*SendError](err); !ok || !e.aboutMessage() {
			break
		}
	}
	return errors.Join(append(damaged, s.waiting(root, errors.Join(failed...)))...)
}

// settle writes down what became of a message: a crash before it repeats the
// message, with the same ID.
func settle(root *os.Root, name string, m *Message, sendErr error) error {
	if sendErr == nil {
		return errors.Join(root.Remove(name), durable.SyncDir(root, "."))
	}
	e, ok := errors.AsType[*SendError](sendErr)
	if ok && len(e.Remaining) > 0 && len(e.Remaining) < len(m.Recipients()) {
		return durable.WriteFile(root, name, encodeSpooled(m.raw, e.Remaining), 0o600)
	}
	return nil
}

func (s *Spool) setAside(root *os.Root, name string, cause error) error {
	bad := name + ".bad"
	err := root.Rename(name, bad)
	if err == nil {
		err = durable.SyncDir(root, ".")
	}
	return &DamagedError{Path: filepath.Join(s.Dir, bad), Err: errors.Join(cause, err)}
}

// waiting returns a *SpooledError, or cause alone if nothing waits.
func (s *Spool) waiting(root *os.Root, cause error) error {
	names, err := spooled(root)
	if err != nil {
		return errors.Join(cause, fmt.Errorf("mailer: spool %s: %w", s.Dir, err))
	}
	if len(names) == 0 {
		return cause
	}
	if cause == nil {
		// Written by another process after this one looked; that one sends it.
		return nil
	}
	e := &SpooledError{Dir: s.Dir, Waiting: len(names), Err: cause}
	date, _, _ := strings.Cut(names[0], "-")
	// A file that somebody else put here has no date in its name: zero.
	e.Since, _ = time.Parse("20060102T150405.000000000Z", date)
	return e
}

// spooled returns the names of what waits, the oldest first.
func spooled(root *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), spoolSuffix) && !durable.IsTemp(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// lockPause is between two attempts to get the lock: the kernel has no wait
// that a context can end.
const lockPause = 20 * time.Millisecond

// lock waits until this process alone may send from dir. The kernel releases
// the lock when the process ends, however it ends.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := filelock.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		err := filelock.TryLock(f)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, filelock.ErrLocked) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
