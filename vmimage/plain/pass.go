package plain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/vmimage"
)

const (
	blockSize = 1 << 20 // bytes read at once
	depth     = 4       // blocks under way between two of reading, hashing and writing
	page      = 4 << 10 // bytes; what a file system keeps or leaves out
)

var zeros [64 << 10]byte // as many as stay in the cache of a core

// sink takes what a pass reads, in order. Holes are given as long as they are.
type sink interface {
	data(off int64, p []byte) error
	hole(off, n int64) error
}

// block is a part of a source: a hole if data is nil.
type block struct {
	off, n int64
	data   []byte
}

// pass reads the data of a source once, hashes it with its holes, and gives it to a
// sink, each beside the others. A nil sink takes nothing. The SHA-256 is hexadecimal;
// progress is called with the bytes done since it was called last, and at the end.
func pass(ctx context.Context, source vmimage.Source, to sink, progress func(int64)) (sha string, err error) {
	group, ctx := errgroup.WithContext(ctx)
	free := make(chan []byte, 2*depth)
	for range 2 * depth {
		free <- nil // made when first used
	}
	read, hashed := make(chan block, depth), make(chan block, depth)
	group.Go(func() error {
		defer close(read)
		return readBlocks(ctx, source, free, read)
	})
	group.Go(func() error {
		for b := range hashed {
			var err error
			switch {
			case to == nil:
			case b.data == nil:
				err = to.hole(b.off, b.n)
			default:
				err = to.data(b.off, b.data)
			}
			if err != nil {
				return err
			}
			if b.data != nil {
				free <- b.data
			}
		}
		return nil
	})
	h := sha256.New()
	err = hashBlocks(ctx, h, read, hashed, progress)
	close(hashed)
	if e := group.Wait(); e != nil {
		err = e // the cause of what ended the hashing
	}
	if err == nil {
		progress(0)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// readBlocks sends all of a source, in order, in buffers from free.
func readBlocks(ctx context.Context, source vmimage.Source, free <-chan []byte, to chan<- block) error {
	send := func(b block) error {
		select {
		case to <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	pos, size := int64(0), source.Size()
	for e, err := range source.Extents() {
		if err != nil {
			return fmt.Errorf("extents: %w", err)
		}
		if e.Off < pos || e.Len < 0 || e.Len > size-e.Off {
			return fmt.Errorf("extent of %d bytes at %d, behind one that ends at %d: %w", e.Len, e.Off, pos, errors.ErrUnsupported)
		}
		if e.Off > pos {
			if err := send(block{off: pos, n: e.Off - pos}); err != nil {
				return err
			}
		}
		for pos = e.Off; pos < e.Off+e.Len; {
			var p []byte
			select {
			case p = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			if p == nil {
				p = make([]byte, blockSize)
			}
			// Blocks end where pages do, for the sink to find pages of zeros.
			n := min(blockSize-pos%blockSize, e.Off+e.Len-pos)
			if m, err := source.ReadAt(p[:n], pos); int64(m) < n {
				if err == nil || err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return fmt.Errorf("read at %d: %w", pos, err)
			}
			if err := send(block{off: pos, n: n, data: p[:n]}); err != nil {
				return err
			}
			pos += n
		}
	}
	if pos < size {
		return send(block{off: pos, n: size - pos})
	}
	return nil
}

// hashBlocks hashes blocks and hands them on.
func hashBlocks(ctx context.Context, h hash.Hash, from <-chan block, to chan<- block, progress func(int64)) error {
	for b := range from {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.data != nil {
			h.Write(b.data)
			progress(b.n)
		} else if err := hashZeros(ctx, h, b.n, progress); err != nil {
			return err
		}
		select {
		case to <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// hashZeros hashes a hole, of which a large one takes minutes.
func hashZeros(ctx context.Context, h hash.Hash, n int64, progress func(int64)) error {
	const step = 16 << 20
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := min(n, step)
		for left := part; left > 0; left -= min(left, int64(len(zeros))) {
			h.Write(zeros[:min(left, int64(len(zeros)))])
		}
		n -= part
		progress(part)
	}
	return nil
}
