package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
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
		if sameFile(info, old) {
			same, err := c.unchanged(ctx, src, info)
			if same || err != nil {
				return err
			}
		}
		d := &delivery{src: src, info: info, old: old}
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

// source is what one file is copied from.
type source struct {
	open func(ctx context.Context, off int64) (io.ReadCloser, error)
	stat func(ctx context.Context) (Info, error)
	hash func(ctx context.Context, n int64) (Prefix, error)
}

func storeSource(s Store, name string) source {
	src := source{
		open: func(ctx context.Context, off int64) (io.ReadCloser, error) { return s.Open(ctx, name, off) },
		stat: func(ctx context.Context) (Info, error) { return s.Stat(ctx, name) },
		hash: func(context.Context, int64) (Prefix, error) { return Prefix{}, errors.ErrUnsupported },
	}
	if h, ok := s.(Hasher); ok {
		src.hash = func(ctx context.Context, n int64) (Prefix, error) { return h.HashPrefix(ctx, name, n) }
	}
	return src
}

func readerSource(r io.ReaderAt, info Info) source {
	stat := func(context.Context) (Info, error) { return info, nil }
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		before, err := f.Stat()
		stat = func(context.Context) (Info, error) {
			now, e := f.Stat()
			if err := cmp.Or(err, e); err != nil {
				return Info{}, err
			}
			if now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) {
				return Info{}, ErrChanged
			}
			return info, nil
		}
	}
	return source{
		open: func(_ context.Context, off int64) (io.ReadCloser, error) {
			return section{io.NewSectionReader(r, off, info.Size-off)}, nil
		},
		stat: stat,
		hash: func(ctx context.Context, n int64) (Prefix, error) {
			return HashReader(ctx, io.NewSectionReader(r, 0, n), n)
		},
	}
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

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
func (c *copier) unchanged(ctx context.Context, src source, info Info) (bool, error) {
	verified := 0
	if c.o.Verify == VerifyAll {
		same, err := sameBytes(ctx, src, storeSource(c.dst, info.Name), info.Size)
		if err != nil || !same {
			return false, err
		}
		verified = 1
	}
	c.count(func(s *Stats) { s.Matched, s.Verified = s.Matched+info.Size, s.Verified+verified })
	return true, nil
}

// sameBytes compares the first n bytes of two sources, each hashed where it
// lies if that can be. One that has fewer is different.
func sameBytes(ctx context.Context, a, b source, n int64) (bool, error) {
	var sums [2][sha256.Size]byte
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range []source{a, b} {
		g.Go(func() (err error) {
			sums[i], err = s.sum(ctx, n)
			return err
		})
	}
	err := g.Wait()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return err == nil && sums[0] == sums[1], err
}

// hashMin is the size below which a file is read rather than hashed by its
// store: asking costs more.
const hashMin = 1 << 20

// sum hashes the first n bytes; io.ErrUnexpectedEOF if there are fewer.
func (s source) sum(ctx context.Context, n int64) (sum [sha256.Size]byte, err error) {
	if n >= hashMin {
		if p, err := s.hash(ctx, n); !errors.Is(err, errors.ErrUnsupported) {
			return p.Sum, err
		}
	}
	if n == 0 {
		return sha256.Sum256(nil), nil
	}
	r, err := s.open(ctx, 0)
	if err != nil {
		return sum, err
	}
	defer r.Close()
	p, err := HashReader(ctx, r, n)
	return p.Sum, err
}

// HashReader hashes the next n bytes of r; io.ErrUnexpectedEOF if there are
// fewer. Stores that read what they hash use it to be a [Hasher].
func HashReader(ctx context.Context, r io.Reader, n int64) (Prefix, error) {
	h := sha256.New()
	buf := getBuffer()
	defer putBuffer(buf)
	m, err := io.CopyBuffer(h, io.LimitReader(contextReader{ctx, r}, n), *buf)
	if err == nil && m < n {
		err = io.ErrUnexpectedEOF
	}
	return Prefix{Sum: [sha256.Size]byte(h.Sum(nil)), State: h}, err
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
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

// commitFunc sees to it that an upload is shown under its name and closed, now
// or later.
type commitFunc func(ctx context.Context, up Upload) error

func (c *copier) commit(ctx context.Context, up Upload) error {
	return errors.Join(up.Commit(ctx, c.o.Verify != VerifyNone), up.Close())
}

// prove is commit for an upload that was put together at the destination.
func prove(ctx context.Context, up Upload) error {
	return errors.Join(up.Commit(ctx, true), up.Close())
}

// delivery is one file on its way, however many attempts that takes.
type delivery struct {
	src       source
	info, old Info // as it will be, and what is under its name

	attempts int
	tally    tally
	best     int64 // bytes that a broken attempt left

	kept    *blockSums // of what the destination has
	scan    *scan      // of the source
	patched bool       // the upload is made of what the destination had
	doubted bool       // that it had what it was thought to have
}

// file sends one file, hands it to commit, and returns the SHA-256 of its bytes.
func (c *copier) file(ctx context.Context, d *delivery, commit commitFunc) (sum [sha256.Size]byte, err error) {
	for changed := false; ; changed = true {
		if d.scan, d.kept = nil, nil; !d.doubted {
			d.kept = c.loadKept(d.old)
		}
		err = c.o.retry(ctx, d.info.Name, func() (bool, error) {
			d.attempts++
			before := d.best
			sum, err = c.attempt(ctx, d, commit)
			return d.best > before, err
		})
		if errors.Is(err, ErrCorrupt) && d.patched {
			c.o.Logger.Warn("the destination had not what it was known to have, or has not copied it well", "file", d.info.Name)
			d.doubted = true
			c.forget(d.info.Name)
			continue
		}
		// A file that was being written when it was listed may be whole now.
		if !errors.Is(err, ErrChanged) || changed {
			break
		}
		now, e := d.src.stat(ctx)
		if e != nil || !now.Mode.IsRegular() {
			break
		}
		size := d.info.Size
		d.info.Size, d.info.ModTime, d.info.Mode = now.Size, now.ModTime, now.Mode
		c.count(func(s *Stats) { s.Size += now.Size - size })
	}
	return sum, err
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

// attempt sends what is missing of one file.
func (c *copier) attempt(ctx context.Context, d *delivery, commit commitFunc) (sum [sha256.Size]byte, err error) {
	if d.attempts > 1 && c.o.Verify != VerifyAll {
		// The connection may have gone between the commit and its answer.
		if now, ok, err := c.stat(ctx, d.info.Name); err != nil {
			return sum, err
		} else if ok && sameFile(now, d.info) && !sameFile(d.old, d.info) {
			return storeSource(c.dst, d.info.Name).sum(ctx, d.info.Size)
		}
	}
	up, err := c.dst.Create(ctx, d.info)
	if err != nil {
		return sum, &opError{"write", err}
	}
	owned := true
	defer func() {
		if owned {
			err = errors.Join(err, up.Close())
		}
	}()

	off, err := up.Resume(ctx, func(k Kept) (bool, error) { return d.isBeginning(ctx, k) })
	if err != nil {
		return sum, &opError{"write", err}
	}
	d.best = max(d.best, off)
	next := d.tally
	if d.attempts == 1 {
		next = tally{resumed: off}
	} else {
		next.resumed = min(next.resumed, off)
		next.matched = min(next.matched, off-next.resumed)
		next.literal = off - next.resumed - next.matched
	}
	c.set(&d.tally, next)

	if err := c.fill(ctx, up, d, off); err != nil {
		return sum, err
	}
	if d.patched {
		commit = prove
	}
	sum = up.Sum()
	owned = false
	if err := commit(ctx, up); err != nil {
		return sum, &opError{"write", err}
	}
	return sum, nil
}

// fill brings an upload that has off good bytes to its end, as cheaply as can be.
func (c *copier) fill(ctx context.Context, up Upload, d *delivery, off int64) (err error) {
	if d.patched, err = c.patch(ctx, up, d, off); d.patched || err != nil {
		return err
	}
	if off == 0 && !d.doubted {
		if off, err = c.grown(ctx, up, d); err != nil {
			return err
		}
		d.patched = off > 0
		next := d.tally
		next.matched += off
		c.set(&d.tally, next)
	}
	return c.pump(ctx, up, d, off)
}

// isBeginning reports whether kept bytes are the first of the source. Its own
// hash proves it. Where the source cannot tell, or has told already in this
// run, it is the same version by the rule that mirrors go by. An error means
// that the question is still open.
func (d *delivery) isBeginning(ctx context.Context, k Kept) (bool, error) {
	if k.Size > d.info.Size {
		return false, nil
	}
	sameVersion := k.Source.Size == d.info.Size && sameTime(k.Source.ModTime, d.info.ModTime)
	if d.attempts > 1 && sameVersion && !d.doubted {
		return true, nil
	}
	p, err := d.src.hash(ctx, k.Size)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return sameVersion, nil
	case errors.Is(err, ErrLost), ctx.Err() != nil:
		return false, &opError{"read", err}
	}
	return err == nil && p.Sum == k.Sum, nil
}

// grown appends the previous version to the upload, if the source is that
// version with something added, and both sides can prove it where they are.
func (c *copier) grown(ctx context.Context, up Upload, d *delivery) (int64, error) {
	old := d.old
	cp, ok := up.(Copier)
	if !ok || !old.Mode.IsRegular() || old.Size < hashMin || old.Size >= d.info.Size {
		return 0, nil
	}
	hasher, ok := c.dst.(Hasher)
	if !ok {
		return 0, nil
	}
	var ours, theirs Prefix
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { theirs, err = d.src.hash(gctx, old.Size); return err })
	g.Go(func() (err error) { ours, err = hasher.HashPrefix(gctx, old.Name, old.Size); return err })
	err := g.Wait()
	if errors.Is(err, ErrLost) || ctx.Err() != nil {
		return 0, err
	}
	state := cmp.Or(theirs.State, ours.State)
	if err != nil || state == nil || ours.Sum != theirs.Sum {
		c.o.Logger.Debug("not known to have only grown", "file", d.info.Name, "err", err)
		return 0, nil
	}
	err = cp.Copy(ctx, false)
	if errors.Is(err, errors.ErrUnsupported) {
		return 0, nil
	}
	if err == nil {
		err = cp.Reach(old.Size, state)
	}
	if err != nil {
		return 0, &opError{"write", err}
	}
	return old.Size, nil
}

// pump moves the bytes from off on, and makes sure that they were the whole
// and that the source is still what it was.
func (c *copier) pump(ctx context.Context, up Upload, d *delivery, off int64) error {
	if d.info.Size == off {
		return d.unmoved(ctx, nil)
	}
	r, err := d.src.open(ctx, off)
	if err != nil {
		return &opError{"read", err}
	}
	defer r.Close()
	left := d.info.Size - off
	write := func(p []byte) error {
		if _, err := up.Write(p); err != nil {
			return &opError{"write", err}
		}
		next := d.tally
		next.literal += int64(len(p))
		c.set(&d.tally, next)
		return nil
	}
	read := func(ctx context.Context, p []byte) ([]byte, error) {
		p = p[:min(int64(len(p)), left)]
		in := io.Reader(r)
		if c.limit != nil {
			in = limitedReader{ctx, r, c}
		}
		n, err := io.ReadFull(in, p)
		left -= int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrChanged
		}
		if err != nil {
			err = &opError{"read", err}
		}
		return p[:n], err
	}

	if left <= bufferSize {
		buf := getBuffer()
		defer putBuffer(buf)
		p, err := read(ctx, *buf)
		if werr := write(p); werr != nil {
			return werr
		}
		if err != nil {
			return err
		}
		return d.unmoved(ctx, r)
	}

	// Two goroutines, so that reading goes on while a buffer is hashed and
	// written.
	type chunk struct {
		buf *[]byte
		n   int
	}
	full := make(chan chunk, 2)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(full)
		for left > 0 {
			buf := getBuffer()
			p, err := read(gctx, *buf)
			select {
			case full <- chunk{buf, len(p)}:
			case <-gctx.Done():
				return gctx.Err()
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		for c := range full {
			err := write((*c.buf)[:c.n])
			putBuffer(c.buf)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return d.unmoved(ctx, r)
}

// unmoved returns ErrChanged if the source is not what it was when it was
// listed.
func (d *delivery) unmoved(ctx context.Context, r io.Reader) error {
	stat := d.src.stat
	if s, ok := r.(interface{ Stat() (Info, error) }); ok {
		stat = func(context.Context) (Info, error) { return s.Stat() }
	}
	now, err := stat(ctx)
	if err != nil {
		return &opError{"read", err}
	}
	if now.Size != d.info.Size || !sameTime(now.ModTime, d.info.ModTime) {
		return &opError{"read", ErrChanged}
	}
	return nil
}

// bufferSize is what is read at once: several packets of any protocol.
const bufferSize = 1 << 20

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

func getBuffer() *[]byte  { return buffers.Get().(*[]byte) }
func putBuffer(b *[]byte) { buffers.Put(b) }
