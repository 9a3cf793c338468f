package rsync

import (
	"cmp"
	"context"
	"io"
	"os"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
)

// Push sends what the paths of root name to the server at the other end of c,
// which was started with [Options.ServerArgs]. The server stores it; how
// durable it is when Push returns is the server's affair (option Fsync).
// The end of ctx closes c, and so may an error. The result is never nil.
func Push(ctx context.Context, c Conn, root *os.Root, o *Options, paths ...string) (*Result, error) {
	return client(ctx, c, o, true, func(s *session) error {
		if s.o.sendsFilters() {
			if err := sendFilters(s); err != nil {
				return err
			}
		}
		return sendTree(ctx, s, root, paths)
	})
}

// Pull makes the directory dest of root, or the file, what the server at the
// other end of c sends; it was started with [Options.ServerArgs]. With the
// option Fsync every file and its name are durable when Pull returns.
// The end of ctx closes c, and so may an error. The result is never nil.
func Pull(ctx context.Context, c Conn, root *os.Root, dest string, o *Options) (*Result, error) {
	return client(ctx, c, o, false, func(s *session) error {
		r, err := s.askForList()
		if err != nil {
			return err
		}
		return r.makeTree(ctx, root, dest)
	})
}

// askForList tells a server what is wanted, and reads its list, or the first of
// its lists.
func (s *session) askForList() (*receiver, error) {
	if err := sendFilters(s); err != nil {
		return nil, err
	}
	names := make(chan error, 1)
	go func() { names <- s.sendNames() }()
	r, err := newReceiver(s)
	if err != nil {
		s.conn.Close() // whoever writes names has nobody to read them
	}
	return r, cmp.Or(err, <-names)
}

// sendNames sends the names of the files that are wanted, if not all are. The
// server lists while it reads them.
func (s *session) sendNames() error {
	if len(s.o.FilesFrom) > 0 {
		for _, name := range s.o.FilesFrom {
			_, _ = io.WriteString(s.w, name+"\x00") // errors stick
		}
		s.w.Byte(0)
	}
	return s.w.Flush()
}

// client leads a conversation as its client.
func client(ctx context.Context, c Conn, o *Options, send bool, f func(*session) error) (*Result, error) {
	if o == nil {
		o = new(Options)
	}
	s := newSession(ctx, c, o)
	s.sender = send
	err := o.check()
	if err != nil {
		err = &Error{Code: CodeUsage, Err: err}
	}
	if err == nil {
		stop := s.keepAlive()
		defer stop()
		if err = s.handshake(nil); err == nil {
			err = f(s)
		}
	}
	if err == nil {
		s.drain()
	}
	return s.end(ctx, err)
}

// drain says that there is nothing more to come, and hears what the far side
// still has to say.
func (s *session) drain() {
	if w, ok := s.conn.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite() // the far side may have gone, having all it needs
	}
	s.eager.Store(false)
	for range 1 << 20 {
		if s.r.Byte(); s.r.Err() != nil {
			return
		}
	}
}

func sendFilters(s *session) error {
	l, err := s.o.filters()
	if err != nil {
		return err
	}
	if s.sender && s.o.DeleteAll {
		l = filter.List{}
	}
	l.Write(s.w)
	return s.w.Err()
}
