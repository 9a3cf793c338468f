package sum

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
	"golang.org/x/sync/errgroup"
)

// Sums are the sums of all blocks of a basis.
type Sums struct {
	Head Head
	// Weak has Head.Count weak sums.
	Weak []uint32
	// Strong has Head.StrongLen bytes of the strong sum of each block, one
	// after the other.
	Strong []byte
}

// segment is how much of a basis a worker reads at once.
const segment = 1 << 20

// Compute reads the basis that h describes and returns its sums, using up to
// workers goroutines (at least one), each with a buffer of 1 MiB or one block.
// r is read by several goroutines at once, from front to back as a whole, each
// byte once. A basis that ends early, since it is shrinking, is taken as if
// zeros followed. The error is that of r, of ctx, or says what is wrong with h.
func Compute(ctx context.Context, r io.ReaderAt, h Head, s Session, workers int) (*Sums, error) {
	if err := h.check(s.Algorithm.Size()); err != nil {
		return nil, err
	}
	sums := &Sums{
		Head:   h,
		Weak:   make([]uint32, h.Count),
		Strong: make([]byte, int64(h.Count)*int64(h.StrongLen)),
	}
	if h.Count == 0 {
		return sums, nil
	}
	per := max(1, segment/int64(h.BlockLen))
	segments := (int64(h.Count) + per - 1) / per
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(int64(max(workers, 1)), segments) {
		g.Go(func() error {
			buf := make([]byte, min(per*int64(h.BlockLen), h.Size()))
			hasher := s.NewBlock()
			for {
				first := (next.Add(1) - 1) * per
				if first >= int64(h.Count) {
					return nil
				}
				if err := context.Cause(ctx); err != nil {
					return err
				}
				off := first * int64(h.BlockLen)
				data := buf[:min(int64(len(buf)), h.Size()-off)]
				n, err := r.ReadAt(data, off)
				if n < len(data) && err != io.EOF {
					return fmt.Errorf("sum: read basis: %w", err)
				}
				clear(data[n:])
				sums.fill(int32(first), data, hasher)
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return sums, nil
}

// fill sets the sums of the blocks in data, which begins with block first.
func (s *Sums) fill(first int32, data []byte, hasher *BlockHasher) {
	var full [20]byte
	size := int(s.Head.StrongLen)
	for i := int(first); len(data) > 0; i++ {
		block := data[:s.Head.Len(int32(i))]
		data = data[len(block):]
		s.Weak[i] = Weak(block)
		copy(s.Strong[i*size:(i+1)*size], hasher.Sum(full[:0], block))
	}
}

// ReadSums reads the sums that follow h, which is from ReadHead. After an error of r it returns nil.
func ReadSums(r *wire.Reader, h Head) *Sums {
	s := &Sums{Head: h}
	each := 4 + int(h.StrongLen)
	// The head may claim 2³¹ blocks and the peer then send none.
	for left := int(h.Count); left > 0; {
		n := min(left, max(1, 32<<10/each))
		left -= n
		for b := r.Bytes(n * each); len(b) >= each; b = b[each:] {
			s.Weak = append(s.Weak, binary.LittleEndian.Uint32(b))
			s.Strong = append(s.Strong, b[4:each]...)
		}
		if r.Err() != nil {
			return nil
		}
	}
	if r.Err() != nil {
		return nil
	}
	return s
}

// Write writes the sums without their head.
func (s *Sums) Write(w *wire.Writer) {
	size := int(s.Head.StrongLen)
	for i, weak := range s.Weak {
		w.Int(int32(weak))
		w.Write(s.Strong[i*size : (i+1)*size])
	}
}
