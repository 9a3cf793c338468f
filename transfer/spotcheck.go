package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"
)

// spots is how many blocks are looked at beside the first and the last.
const spots = 6

// believe returns what is known of the blocks of what the destination has, after
// a look at some of them. An error means that the question is still open.
func (c *copier) believe(ctx context.Context, d *delivery) (*blockSums, error) {
	if c.o.Signatures == "" || d.doubted || !d.old.Mode.IsRegular() || d.old.Size < keptMin {
		return nil, nil
	}
	s := c.readKept(d.old.Name, false)
	if s == nil || d.believed {
		return s, nil
	}
	if !s.describes(d.old) {
		return c.recognize(ctx, s, d)
	}
	ok, err := spotCheck(ctx, s, func(off int64) (io.ReadCloser, error) { return c.dst.Open(ctx, d.old.Name, off) })
	switch {
	case errors.Is(err, ErrLost), ctx.Err() != nil:
		return nil, err
	case !ok:
		c.o.Logger.Warn("the destination has not what it was known to have", "file", d.old.Name, "err", err)
		c.forget(d.old.Name)
		return nil, nil
	}
	d.believed = true
	return s, nil
}

// believeEach finds the files of which the signature of what the destination has
// is kept, and can be believed: they are sent alone.
func (r *run) believeEach(ctx context.Context, tasks []*task) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.o.Workers)
	for _, t := range tasks {
		if t.Action == Send && !t.alone {
			g.Go(func() error {
				t.identify(gctx)
				s, err := r.believe(gctx, t.delivery)
				t.alone = s != nil
				return err
			})
		}
	}
	return r.atOnce(ctx, "verify", tasks, g.Wait())
}

// recognize believes a signature of the source as it is if the destination has
// the same bytes, under whatever time.
func (c *copier) recognize(ctx context.Context, s *blockSums, d *delivery) (*blockSums, error) {
	h, ok := c.dst.(Hasher)
	if !ok || s.size != d.old.Size || !s.describes(d.info) || !s.identity.is(d.identity) {
		c.o.Logger.Debug("signature is of another version", "file", d.old.Name)
		return nil, nil
	}
	p, err := h.HashPrefix(ctx, d.old.Name, s.size)
	switch {
	case errors.Is(err, ErrLost), ctx.Err() != nil:
		return nil, err
	case err != nil, p.Sum != s.whole:
		c.o.Logger.Debug("signature is of another version", "file", d.old.Name, "err", err)
		return nil, nil
	}
	d.believed = true
	return s, nil
}

// spotCheck compares the first block, the last and some others with their sums,
// all at once.
func spotCheck(ctx context.Context, s *blockSums, open func(off int64) (io.ReadCloser, error)) (bool, error) {
	blocks := []int{0, len(s.sums) - 1}
	for range spots {
		blocks = append(blocks, rand.IntN(len(s.sums)))
	}
	same := make([]bool, len(blocks))
	g, ctx := errgroup.WithContext(ctx)
	for i, block := range blocks {
		g.Go(func() error {
			off := int64(block) * int64(s.block)
			r, err := open(off)
			if err != nil {
				return err
			}
			defer r.Close()
			p := make([]byte, min(int64(s.block), s.size-off))
			_, err = io.ReadFull(contextReader{ctx, r}, p)
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil // shorter is different, too
			}
			same[i] = err == nil && sha256.Sum256(p) == s.sums[block]
			return err
		})
	}
	err := g.Wait()
	for _, ok := range same {
		if !ok {
			return false, err
		}
	}
	return true, nil
}
