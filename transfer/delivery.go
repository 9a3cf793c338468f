package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"
)

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

// show is commit for an upload that has been proved.
func show(ctx context.Context, up Upload) error {
	return errors.Join(up.Commit(ctx, false), up.Close())
}

// delivery is one file on its way, however many attempts that takes.
type delivery struct {
	name      string // of the source, as its caller knows it
	src       source
	info, old Info // as it will be, and what is under its name

	attempts int
	afar     bool // the source is known not to be at hand
	tally    tally
	best     int64 // bytes that a broken attempt left

	identity Identity   // of the source before it was read, if that has settled
	kept     *blockSums // of what the destination has
	scan     *scan      // of the source
	believed bool       // kept has been compared with what the destination has
	patched  bool       // the upload is made of what the destination had
	doubted  bool       // that it had what it was thought to have
}

// open opens the source.
func (d *delivery) open(ctx context.Context, off int64) (io.ReadCloser, error) {
	r, err := d.src.open(ctx, off)
	if err == nil {
		_, atHand := r.(io.ReaderAt)
		d.afar = !atHand
	}
	return r, err
}

// file sends one file, hands it to commit, and returns the SHA-256 of its bytes.
func (c *copier) file(ctx context.Context, d *delivery, commit commitFunc) (sum [sha256.Size]byte, err error) {
	for changed := false; ; changed = true {
		if d.kept = nil; changed || d.scan == nil {
			d.scan = nil
			d.identify(ctx)
		}
		err = c.o.retry(ctx, d.info.Name, func() (_ bool, err error) {
			if d.kept == nil {
				if d.kept, err = c.believe(ctx, d); err != nil {
					return false, &opError{"verify", err}
				}
			}
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
	switch {
	case d.patched && d.scan.inPart():
		sum, commit = d.scan.whole, show
	case d.patched:
		sum, commit = up.Sum(), prove
	default:
		sum = up.Sum()
	}
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
	r, err := d.open(ctx, off)
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
