package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// changedParts yields where the source may differ from what the destination has;
// ok is false if that is not known.
func (c *copier) changedParts(d *delivery) (parts iter.Seq[Range], ok bool) {
	if d.kept.describes(d.info) && d.kept.identity.is(d.identity) {
		return func(func(Range) bool) {}, true
	}
	if c.o.Changed == nil || d.info.Size < d.kept.size {
		return nil, false
	}
	return c.o.Changed(d.name, Info{Name: d.old.Name, Size: d.kept.size, ModTime: d.kept.modTime, Mode: d.old.Mode})
}

// scanParts is scanSource for a source of which only some parts may have changed;
// nil if that is not known.
func (c *copier) scanParts(ctx context.Context, d *delivery) (*scan, error) {
	parts, ok := c.changedParts(d)
	if !ok {
		return nil, nil
	}
	s := &scan{blockSums: blockSums{size: d.info.Size, modTime: d.info.ModTime, block: d.kept.block}}
	n := blockCount(s.size, s.block)
	s.sums, s.changed = make([]sha256Sum, n), make([]bool, n)
	copy(s.sums, d.kept.sums)
	look := s.changed // becomes what differs, of what is looked at
	mark := func(r Range) {
		for i := r.Off / int64(s.block); r.Len > 0 && i*int64(s.block) < r.Off+r.Len; i++ {
			look[i] = true
		}
	}
	for r := range parts {
		if r.Off < 0 || r.Len < 0 || r.Off > s.size || r.Len > s.size-r.Off {
			c.o.Logger.Warn("changed parts not used: one is not in the file", "file", d.info.Name, "off", r.Off, "len", r.Len)
			return nil, nil
		}
		mark(r)
	}
	mark(Range{d.kept.size, s.size - d.kept.size})
	r, err := d.open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	at, ok := r.(io.ReaderAt)
	if !ok {
		return nil, nil
	}
	err = s.eachRun(ctx, look, func(first int, p []byte) error {
		if err := readFull(at, p, int64(first)*int64(s.block)); err != nil {
			return err
		}
		for i := first; len(p) > 0; i++ {
			b := p[:min(s.block, len(p))]
			s.sums[i], p = sha256.Sum256(b), p[len(b):]
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.compare(d.kept)
	return s, nil
}

// readFull is ReadAt of a source that must not have become shorter.
func readFull(at io.ReaderAt, p []byte, off int64) error {
	n, err := at.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == io.EOF:
		return ErrChanged
	}
	return err
}

// eachRun calls f for the blocks that are set, as many at once as come one after the
// other and make bufferSize at most: p has room for them. Some calls run side by side.
func (s *blockSums) eachRun(ctx context.Context, set []bool, f func(first int, p []byte) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(8, runtime.GOMAXPROCS(0))) // a far side is asked for several at once
	most := max(1, bufferSize/s.block)
	for i := 0; i < len(set) && gctx.Err() == nil; {
		first := i
		for i < len(set) && set[i] && i-first < most {
			i++
		}
		if i == first {
			i++
			continue
		}
		size := min(int64(i)*int64(s.block), s.size) - int64(first)*int64(s.block)
		g.Go(func() error {
			buf := getBuffer()
			defer putBuffer(buf)
			if size > int64(len(*buf)) {
				return f(first, make([]byte, size))
			}
			return f(first, (*buf)[:size])
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// proveCopy returns an ErrCorrupt if an upload is no copy of what the signature
// tells, where it lies.
func (s *blockSums) proveCopy(ctx context.Context, pr Prover) error {
	p, err := pr.HashPrefix(ctx, s.size)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && p.Sum != s.whole {
		return ErrCorrupt
	}
	return err
}

// prove finishes an upload that was a proved copy of kept before the blocks that
// differ were written over it: these are read back, and some of the others. Then the
// destination tells the SHA-256 of all.
func (s *scan) prove(ctx context.Context, pr Prover, kept *blockSums) error {
	back, err := pr.ReadBack(ctx)
	if err != nil {
		return err
	}
	err = s.eachRun(ctx, s.changed, func(first int, p []byte) error {
		n, err := back.ReadAt(p, int64(first)*int64(s.block))
		switch {
		case n == len(p):
		case err == io.EOF:
			return ErrCorrupt
		default:
			return err
		}
		for i := first; len(p) > 0; i++ {
			b := p[:min(s.block, len(p))]
			if p = p[len(b):]; sha256.Sum256(b) != s.sums[i] {
				return ErrCorrupt
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	ok, err := spotCheck(ctx, &s.blockSums, func(off int64) (io.ReadCloser, error) {
		return section{io.NewSectionReader(back, off, s.size-off)}, nil
	})
	switch {
	case err != nil:
		return err
	case !ok:
		return ErrCorrupt
	}
	s.whole = kept.whole
	if s.differs > 0 || s.size != kept.size {
		p, err := pr.HashPrefix(ctx, s.size)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrCorrupt
		}
		if err != nil {
			return err
		}
		s.whole = p.Sum
	}
	return pr.Reach(s.size, nil)
}
