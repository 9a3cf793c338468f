package sshstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sync/semaphore"

	"github.com/obskeep/obskeep/transfer"
)

// inFlight is how many requests a file has on the way at once, in each session.
// With 255 KiB each that is twice what x/crypto/ssh lets a server send before it
// has been read: its window is 2 MiB.
const inFlight = 16

// file is an open file with its requests in flight.
type file struct {
	fs    *sftpFS
	conn  *conn
	f     *sftp.File
	name  string
	write bool
	mode  fs.FileMode     // as far as it is known
	ctx   context.Context // of the opening, for io.WriterAt

	lanes    lanes
	inFlight *semaphore.Weighted // of writes; a write weighs less when there are more lanes
	mu       sync.Mutex
	err      error // of a write in flight
}

func newFile(ctx context.Context, s *sftpFS, c *conn, f *sftp.File, name string, write bool) *file {
	return &file{fs: s, conn: c, f: f, name: name, write: write, ctx: ctx, inFlight: semaphore.NewWeighted(inFlight * maxLanes)}
}

var packets = sync.Pool{New: func() any { b := make([]byte, largePacket); return &b }}

// WriteAt sends p without waiting for the answers.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		if err := f.failure(); err != nil {
			return n, err
		}
		to, width := f.lane(f.conn.packet)
		weight := int64(maxLanes / width)
		if err := f.inFlight.Acquire(f.ctx, weight); err != nil {
			return n, err
		}
		buf := packets.Get().(*[]byte)
		m := copy((*buf)[:f.conn.packet], p[n:])
		at := off + int64(n)
		n += m
		go func() {
			defer func() { packets.Put(buf); f.inFlight.Release(weight) }()
			if _, err := to.WriteAt((*buf)[:m], at); err != nil {
				f.fail(f.conn.answer(err))
			}
		}()
	}
	return n, nil
}

func (f *file) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *file) failure() error {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err == nil {
		return nil
	}
	return f.fs.why(f.ctx, f.name, err)
}

// Flush waits for all answers.
func (f *file) Flush(ctx context.Context) error {
	const all = inFlight * maxLanes
	if err := f.inFlight.Acquire(ctx, all); err != nil {
		return err
	}
	f.inFlight.Release(all)
	return f.failure()
}

func (f *file) do(ctx context.Context, do func() error) error {
	_, err := await(ctx, f.conn, func() (struct{}, error) { return struct{}{}, do() }, nil)
	return err
}

// Sync flushes and fsyncs, if the server can.
func (f *file) Sync(ctx context.Context) error {
	if err := f.Flush(ctx); err != nil {
		return err
	}
	if _, ok := f.conn.sftp.HasExtension("fsync@openssh.com"); !ok {
		return errors.ErrUnsupported
	}
	return f.fs.why(ctx, f.name, f.do(ctx, f.f.Sync))
}

func (f *file) Truncate(ctx context.Context, size int64) error {
	return f.fs.why(ctx, f.name, f.do(ctx, func() error { return f.f.Truncate(size) }))
}

// SetInfo sends its requests at once.
func (f *file) SetInfo(ctx context.Context, info transfer.Info) error {
	return f.do(ctx, func() error {
		mode := make(chan error, 1)
		if info.Mode == f.mode {
			mode <- nil
		} else {
			go func() { mode <- f.f.Chmod(info.Mode) }()
		}
		err := f.conn.sftp.Chtimes(f.fs.path(f.name), time.Now(), info.ModTime)
		return errors.Join(err, <-mode)
	})
}

func (f *file) Stat(ctx context.Context) (transfer.Info, error) {
	return await(ctx, f.conn, func() (transfer.Info, error) {
		fi, err := f.f.Stat()
		if err != nil {
			return transfer.Info{}, err
		}
		return transfer.Info{Name: f.name, Size: max(0, fi.Size()), ModTime: fi.ModTime(), Mode: fi.Mode()}, nil
	}, nil)
}

// Close does not wait for the answer: there is none worth waiting for, what
// had to be durable has been synced.
func (f *file) Close() error {
	go f.f.Close()
	go f.lanes.close()
	return nil
}

// Reader reads ahead, the further the more has been read: a small file costs
// one request.
func (f *file) Reader(ctx context.Context, off int64) io.Reader {
	return &reader{ctx: ctx, f: f, off: off}
}

type reader struct {
	ctx   context.Context
	f     *file
	off   int64 // of the next request
	ahead []chan chunk
	depth int
	width int // of the lanes
	cur   chunk
	err   error
}

type chunk struct {
	buf  *[]byte
	data []byte
	err  error
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.err != nil {
		return 0, r.err
	}
	if r.depth == 0 {
		// The first request is as large as the caller asks for: the reader of
		// a small file knows its size.
		r.depth = 1
		r.request(min(len(p), r.f.conn.packet))
	}
	for len(r.cur.data) == 0 {
		r.release()
		if r.cur.err != nil {
			r.err = r.end(r.cur.err)
			return 0, r.err
		}
		for len(r.ahead) < r.depth {
			r.request(r.f.conn.packet)
		}
		select {
		case r.cur = <-r.ahead[0]:
			r.ahead = r.ahead[1:]
			r.depth = min(2*r.depth, inFlight*r.width)
		case <-r.ctx.Done():
			r.err = r.ctx.Err()
			return 0, r.err
		}
	}
	n := copy(p, r.cur.data)
	r.cur.data = r.cur.data[n:]
	if len(r.cur.data) == 0 {
		r.release()
	}
	return n, nil
}

func (r *reader) release() {
	if r.cur.buf != nil {
		packets.Put(r.cur.buf)
		r.cur.buf = nil
	}
}

func (r *reader) request(n int) {
	c := make(chan chunk, 1)
	r.ahead = append(r.ahead, c)
	off := r.off
	r.off += int64(n)
	var from *sftp.File
	from, r.width = r.f.lane(n)
	go func() {
		buf := packets.Get().(*[]byte)
		m, err := from.ReadAt((*buf)[:n], off)
		if err != io.EOF {
			err = r.f.conn.answer(err)
		}
		c <- chunk{buf, (*buf)[:m], err}
	}()
}

// end makes sure that EOF is the end of the file: a request that could not be
// sent is EOF as well.
func (r *reader) end(err error) error {
	if err == io.EOF {
		if _, e := r.f.Stat(r.ctx); e != nil {
			return e
		}
	}
	return err
}
