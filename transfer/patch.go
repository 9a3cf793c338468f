package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// scan is what one reading of a source has found.
type scan struct {
	blockSums
	states  []hash.Hash // the running SHA-256 after each stretch; nil if it was read in part
	changed []bool      // the blocks that the destination has not
	differs int64       // bytes of those
}

// stretch is what is read at once, and how far a patch goes from one known state
// to the next; a multiple of all lengths of blocks, bytes.
const stretch = 4 << 20

// inPart reports whether only what may have changed has been read. The SHA-256 of
// the whole is not known then before the destination has told it.
func (s *scan) inPart() bool { return s != nil && s.states == nil }

// scanSource reads a source that is at hand; nil for any other. old is what the
// destination has.
func (d *delivery) scanSource(ctx context.Context, old *blockSums) (*scan, error) {
	r, err := d.open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if d.afar {
		return nil, nil
	}
	s := &scan{blockSums: blockSums{size: d.info.Size, modTime: d.info.ModTime, block: keptBlock(d.info.Size)}}
	if old != nil {
		s.block = old.block
	} else {
		old = new(blockSums)
	}
	n := blockCount(s.size, s.block)
	s.sums, s.changed = make([]sha256Sum, n), make([]bool, n)
	whole := sha256.New()
	bufs := [2][]byte{make([]byte, stretch), make([]byte, stretch)}
	read := make(chan error, 1)
	piece := func(off int64) []byte { return bufs[off/stretch%2][:max(0, min(stretch, s.size-off))] }
	ahead := func(off int64) { go func() { _, err := io.ReadFull(r, piece(off)); read <- err }() }
	ahead(0)
	for off := int64(0); off < s.size; off += stretch {
		err := <-read
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrChanged
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		p := piece(off)
		ahead(off + stretch)
		var g errgroup.Group
		g.Go(func() error { whole.Write(p); return nil })
		first := int(off / int64(s.block))
		blocks := (len(p) + s.block - 1) / s.block
		part := (blocks + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
		for from := 0; from < blocks; from += part {
			g.Go(func() error {
				for i := from; i < min(from+part, blocks); i++ {
					s.sums[first+i] = sha256.Sum256(p[i*s.block : min((i+1)*s.block, len(p))])
				}
				return nil
			})
		}
		_ = g.Wait() // hashing does not fail
		s.states = append(s.states, cloneHash(whole))
	}
	<-read
	s.whole = sha256Sum(whole.Sum(nil))
	s.compare(old)
	return s, nil
}

// compare finds the blocks that old has not.
func (s *scan) compare(old *blockSums) {
	for i := range s.changed {
		s.changed[i] = i >= len(old.sums) || s.sums[i] != old.sums[i]
		if s.changed[i] {
			s.differs += min(int64(s.block), s.size-int64(i)*int64(s.block))
		}
	}
}

func cloneHash(h hash.Hash) hash.Hash {
	c, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic(fmt.Sprintf("transfer: sha256 cannot be cloned: %v", err)) // it can, since Go 1.25
	}
	return c
}

// patch makes an upload, which has off good bytes, of the previous version,
// copied where it is, and of the blocks that differ. ok is false if that cannot
// be, or is not worth it.
func (c *copier) patch(ctx context.Context, up Upload, d *delivery, off int64) (ok bool, err error) {
	cp, ok := up.(Copier)
	if !ok || d.kept == nil {
		return false, nil
	}
	defer func() {
		if !ok && d.scan.inPart() {
			d.scan = nil
		}
	}()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return cp.Copy(gctx, false) })
	pr, proves := up.(Prover)
	if d.scan == nil && proves && off == 0 {
		d.scan, err = c.scanParts(ctx, d)
	}
	if d.scan == nil && err == nil {
		d.scan, err = d.scanSource(ctx, d.kept)
	}
	copied := g.Wait()
	switch {
	case copied != nil && !errors.Is(copied, errors.ErrUnsupported):
		return false, &opError{"write", copied}
	case err != nil:
		c.o.Logger.Debug("source not compared with its signature", "file", d.info.Name, "err", err)
		return false, nil // whoever sends it finds out
	case copied != nil || d.scan == nil || d.scan.differs > d.scan.size/2:
		return false, nil
	}
	if d.scan.inPart() {
		switch err := d.kept.proveCopy(ctx, pr); {
		case errors.Is(err, errors.ErrUnsupported):
			if d.scan, err = d.scanSource(ctx, d.kept); err != nil || d.scan == nil {
				return false, nil // the same
			}
		case err != nil:
			return errors.Is(err, ErrCorrupt), &opError{"write", err}
		}
	}
	if err := c.patchAll(ctx, cp, d, off); err != nil {
		return false, err
	}
	if d.scan.inPart() {
		if err := d.scan.prove(ctx, pr, d.kept); err != nil {
			return true, &opError{"write", err}
		}
	}
	return true, nil
}

// patchAll writes what differs, from off on.
func (c *copier) patchAll(ctx context.Context, cp Copier, d *delivery, off int64) error {
	r, err := d.src.open(ctx, 0)
	if err != nil {
		return &opError{"read", err}
	}
	defer r.Close()
	at, ok := r.(io.ReaderAt)
	if !ok {
		return &opError{"read", ErrChanged} // it could be read so before
	}
	buf := make([]byte, stretch)
	for pos := off; pos < d.scan.size; {
		end := min(pos-pos%stretch+stretch, d.scan.size)
		sent, err := c.patchStretch(ctx, cp, at, d.scan, pos, end, buf)
		if err == nil && !d.scan.inPart() {
			err = cp.Reach(end, cloneHash(d.scan.states[(end-1)/stretch]))
		}
		if err != nil {
			return err
		}
		next := d.tally
		next.literal += sent
		next.matched += end - pos - sent
		c.set(&d.tally, next)
		pos = end
	}
	return d.unmoved(ctx, r)
}

// patchStretch sends what differs from pos to end, and returns how much that is.
// What has changed since the scan will not pass the proof.
func (c *copier) patchStretch(ctx context.Context, to io.WriterAt, from io.ReaderAt, s *scan, pos, end int64, buf []byte) (sent int64, err error) {
	block := int64(s.block)
	last := int((end + block - 1) / block) // and one
	for i := int(pos / block); i < last; {
		first := i
		for i < last && s.changed[i] && (i+1-first)*s.block <= len(buf) {
			i++
		}
		if i == first {
			i++
			continue
		}
		p := buf[:min(int64(i)*block, s.size)-int64(first)*block]
		if n, err := from.ReadAt(p, int64(first)*block); n < len(p) {
			if err == io.EOF {
				err = ErrChanged
			}
			return sent, &opError{"read", err}
		}
		if err := c.await(ctx, len(p)); err != nil {
			return sent, err
		}
		if _, err := to.WriteAt(p, int64(first)*block); err != nil {
			return sent, &opError{"write", err}
		}
		sent += int64(len(p))
	}
	return sent, nil
}
