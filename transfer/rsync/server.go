package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// Access says what a client may do.
type Access uint8

const (
	ReadWrite Access = iota
	ReadOnly
	WriteOnly
)

// ErrAccess is returned when a client wants more than it may.
var ErrAccess = errors.New("not allowed")

// Serve answers one client, in place of "rsync --server": args are those that
// the client started the server with. No path leads out of root, whatever the
// client names and whatever links lie in it. The result is never nil.
func Serve(ctx context.Context, c Conn, args []string, root *os.Root, access Access) (*Result, error) {
	a, err := parseServerArgs(args)
	o := new(Options)
	if err == nil {
		o = &a.Options
	}
	s := newSession(ctx, c, o)
	s.server = true
	if err != nil {
		return s.end(ctx, &Error{Code: CodeUsage, Err: err})
	}
	s.sender = a.send
	if a.send && access == WriteOnly || !a.send && access == ReadOnly {
		return s.end(ctx, &Error{Code: CodeUnsupported, Err: ErrAccess})
	}
	stop := s.keepAlive()
	defer stop()
	if err = s.handshake(a); err == nil && a.send {
		err = s.serveSender(ctx, root, a)
	} else if err == nil {
		err = s.serveReceiver(ctx, root, a)
	}
	res, err := s.end(ctx, err)
	if e, ok := errors.AsType[*Error](err); ok && e.Code != CodePartial && e.Code != CodeVanished {
		// The client may have gone, or be in no mood to listen.
		late := time.AfterFunc(lastWords, func() { c.Close() })
		defer late.Stop()
		_ = s.w.Message(wire.MsgErrorExit, littleEndian(int32(e.Code)))
		_ = s.w.Flush()
	}
	return res, err
}

// lastWords is how long a client has to take the reason why a session ends.
const lastWords = 5 * time.Second

func (s *session) serveSender(ctx context.Context, root *os.Root, a *serverArgs) error {
	l, err := filter.Read(s.r)
	if err != nil {
		return err
	}
	if err := s.take(l); err != nil {
		return err
	}
	if a.filesFrom {
		if err := s.readNames(); err != nil {
			return err
		}
	}
	return sendTree(ctx, s, root, a.paths)
}

func (s *session) serveReceiver(ctx context.Context, root *os.Root, a *serverArgs) error {
	if len(a.paths) != 1 {
		return &Error{Code: CodeUsage, Err: fmt.Errorf("%d destinations", len(a.paths))}
	}
	if s.o.sendsFilters() {
		l, err := filter.Read(s.r)
		if err != nil {
			return err
		}
		if err := s.take(l); err != nil {
			return err
		}
	}
	r, err := newReceiver(s)
	if err != nil {
		return err
	}
	return r.makeTree(ctx, root, a.paths[0])
}

// take makes the client's filters ours.
func (s *session) take(l filter.List) error {
	for _, r := range l {
		s.o.Filter = append(s.o.Filter, r.String())
	}
	return s.r.Err()
}

// readNames reads the names that the client wants.
func (s *session) readNames() error {
	const most = 64 << 20 // bytes of all names
	var name bytes.Buffer
	for range most {
		b := s.r.Byte()
		switch {
		case s.r.Err() != nil:
			return s.r.Err()
		case b != 0:
			name.WriteByte(b)
		case name.Len() == 0:
			return nil
		default:
			s.o.FilesFrom = append(s.o.FilesFrom, name.String())
			name.Reset()
		}
	}
	return fmt.Errorf("more than %d bytes of names", most)
}
