package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Pull brings one file from src to dst, under the same name. A file that is
// there already with equal size and time costs nothing.
func Pull(ctx context.Context, dst, src Store, name string, opts *Options) (Stats, error) {
	return single(ctx, dst, name, opts, func() (source, Info, error) {
		info, err := src.Stat(ctx, name)
		if err == nil && !info.Mode.IsRegular() {
			err = fmt.Errorf("not a regular file: %w", errors.ErrUnsupported)
		}
		return storeSource(src, name), info, err
	})
}

// Push stores info.Size bytes of src, which need not be in a store, as
// info.Name. An object that is there already with equal size and time costs
// nothing. A shorter src is an [ErrChanged]; so is one with the method Stat of
// an [os.File] whose size or time changes meanwhile. Who means the beginning
// of a growing file passes an [io.SectionReader].
func Push(ctx context.Context, dst Store, info Info, src io.ReaderAt, opts *Options) (Stats, error) {
	return single(ctx, dst, info.Name, opts, func() (source, Info, error) {
		return readerSource(src, info), info, nil
	})
}

// single transfers one file.
func single(ctx context.Context, dst Store, name string, opts *Options, describe func() (source, Info, error)) (Stats, error) {
	o := opts.orDefault()
	c := newCopier(dst, &o)
	err := c.run(func() error {
		var src source
		var info, old Info
		err := o.retry(ctx, name, func() (bool, error) {
			var err error
			if src, info, err = describe(); err != nil {
				return false, &opError{"read", err}
			}
			old, _, err = c.stat(ctx, name)
			return false, err
		})
		if err != nil {
			return err
		}
		c.expect(info)
		d := &delivery{name: name, src: src, info: info, old: old}
		if sameFile(info, old) {
			same, err := c.unchanged(ctx, d, c.suspect(ctx, src, old))
			if same || err != nil {
				return err
			}
		}
		sum, err := c.file(ctx, d, c.commit)
		if err == nil {
			c.copied()
			c.keep(ctx, d, sum)
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("transfer: %w", fileError("copy", name, err))
	}
	return c.total(), err
}

// copier sends files to one store and counts them.
type copier struct {
	dst   Store
	o     *Options
	limit *rate.Limiter

	mu    sync.Mutex
	stats Stats
}

func newCopier(dst Store, o *Options) *copier {
	c := &copier{dst: dst, o: o}
	if o.Bandwidth > 0 {
		// Tenths of a second, so that it is even, but not byte by byte.
		c.limit = rate.NewLimiter(rate.Limit(o.Bandwidth), int(min(max(o.Bandwidth/10, 4<<10), bufferSize)))
	}
	return c
}

// await waits until n bytes may be sent.
func (c *copier) await(ctx context.Context, n int) error {
	for n > 0 && c.limit != nil {
		m := min(n, c.limit.Burst())
		// Not WaitN, which fails at once when the context would end meanwhile.
		if err := wait(ctx, c.limit.ReserveN(time.Now(), m).Delay()); err != nil {
			return err
		}
		n -= m
	}
	return nil
}

func (c *copier) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

func (c *copier) total() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// expect counts a file that is to be transferred, before anything is.
func (c *copier) expect(info Info) {
	c.count(func(s *Stats) { s.Files, s.Size = s.Files+1, s.Size+info.Size })
}

// run calls work on another goroutine, and reports progress on this one.
func (c *copier) run(work func() error) error {
	if c.o.Progress == nil {
		return work()
	}
	done := make(chan error, 1)
	go func() { done <- work() }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			c.o.Progress(c.total())
			return err
		case <-tick.C:
			c.o.Progress(c.total())
		}
	}
}

// stat describes what the destination holds under name, if anything.
func (c *copier) stat(ctx context.Context, name string) (info Info, ok bool, err error) {
	info, err = c.dst.Stat(ctx, name)
	if isNotExist(err) {
		return Info{}, false, nil
	}
	return info, err == nil, err
}

// unchanged counts a file of equal size and time, and reports whether its
// bytes are equal too, if that is to be looked at.
func (c *copier) unchanged(ctx context.Context, d *delivery, suspect bool) (bool, error) {
	verified := 0
	if c.o.Verify == VerifyAll {
		same, err := sameBytes(ctx, d.src, storeSource(c.dst, d.info.Name), d.info.Size)
		if err != nil || !same {
			return false, err
		}
		verified = 1
	} else if suspect {
		altered, err := c.altered(ctx, d)
		if err != nil || altered {
			return false, err
		}
	}
	c.count(func(s *Stats) { s.Matched, s.Verified = s.Matched+d.info.Size, s.Verified+verified })
	return true, nil
}

// limitedReader keeps to a bandwidth.
type limitedReader struct {
	ctx context.Context
	r   io.Reader
	c   *copier
}

func (l limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(len(p), l.c.limit.Burst())])
	if e := l.c.await(l.ctx, n); e != nil {
		return n, e
	}
	return n, err
}

// tally is what one file has contributed to the totals.
type tally struct{ resumed, matched, literal int64 }

// set makes the tally of a file that now has off good bytes, of which the
// first are still those of earlier runs.
func (c *copier) set(t *tally, next tally) {
	c.count(func(s *Stats) {
		s.Resumed += next.resumed - t.resumed
		s.Matched += next.matched - t.matched
		s.Literal += next.literal - t.literal
	})
	*t = next
}

// copied counts a file that is under its name.
func (c *copier) copied() {
	c.count(func(s *Stats) {
		s.Copied++
		if c.o.Verify != VerifyNone {
			s.Verified++
		}
	})
}

// bufferSize is what is read at once: several packets of any protocol.
const bufferSize = 1 << 20

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

func getBuffer() *[]byte  { return buffers.Get().(*[]byte) }
func putBuffer(b *[]byte) { buffers.Put(b) }
