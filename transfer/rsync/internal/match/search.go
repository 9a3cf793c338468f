// Package match is the search of an rsync sender: given the sums of the blocks
// of a basis, it writes a source as blocks of that basis and literal data
// between them.
//
// The source is read once, from front to back, and searched in segments of
// some MiB on several goroutines. What is found in one segment does not depend
// on another: a block that a match carries over the end of a segment merely
// hides what the next one found under it.
//
// # Guarantees
//
//   - Blocks and literals, put together in order, are the source, unless sums
//     too short to tell two blocks apart say otherwise; the file sum is that of
//     the source in any case.
//   - The same source and sums give the same blocks and literals, whatever the
//     number of workers and their timing.
//   - Where the receiver writes into the basis, no block is used that it has
//     overwritten by then.
//   - Data that is where it was in the basis is found at the speed of the hash;
//     one changed block costs no more than itself.
//   - At most 64 blocks are compared at an offset, and at most 64 bytes hashed in
//     vain for each byte of the source, whatever sums a peer sends.
//   - Memory is bounded by workers + 2 segments, beside a table of some 20 bytes
//     a block.
//   - No goroutine is left when Search returns.
package match

import (
	"context"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
)

const (
	// segmentLen is how much is searched in one piece when blocks are of the
	// usual lengths, in bytes.
	segmentLen = 4 << 20
	// copyLen is the same when there is nothing to search for.
	copyLen = 512 << 10
	// maxBlockLen is the longest block that is searched for; version 29 allows
	// 512 MiB, and a peer could make us hold several of them.
	maxBlockLen = 4 << 20
	// pieceLen is the longest literal.
	pieceLen = 256 << 10
)

// Emitter takes what Search found, in the order of the source, on the
// goroutine that called it.
type Emitter interface {
	// Literal takes data of the source, never empty and at most 256 KiB. The
	// data is valid during the call.
	Literal(p []byte)
	// Block takes the number of a block of the basis.
	Block(i int32)
}

// Search reads size bytes of src and tells out how they are made of the blocks
// of sums and of literals. No sums, or nil, mean that all is literal, and so
// do blocks of more than 4 MiB. It returns the file sum of what it read, and how
// many bytes those were.
//
// With inPlace the receiver writes into the basis: a block that begins before
// the place it would be used at is used only if the source has the same
// block at the block's own place, so that the receiver did not change it.
//
// Up to workers goroutines search (at least one); two more read and hash. s
// must name an algorithm. src is not read beyond size, and not used after
// Search has returned.
//
// A source that ends early is io.ErrUnexpectedEOF. After this and any other
// error of src, what was read has been emitted and summed. After the end of ctx
// less may have been, and there is no file sum.
func Search(ctx context.Context, src io.Reader, size int64, sums *sum.Sums, s sum.Session, inPlace bool, workers int, out Emitter) (fileSum []byte, read int64, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, 0, err
	}
	size = max(size, 0)
	basis, err := newBasis(sums, s, size, inPlace)
	if err != nil {
		return nil, 0, err
	}
	p := &pipeline{src: src, size: size, basis: basis, session: s, file: s.NewFile(), out: out}
	p.step, p.ahead = basis.segment()
	if size <= p.step+p.ahead {
		err = p.alone()
	} else {
		err = p.run(ctx, max(workers, 1))
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, p.read, cause
	}
	return p.file.Sum(nil), p.read, err
}

// pipeline carries segments from the source through the search to the emitter.
type pipeline struct {
	src     io.Reader
	size    int64
	basis   *basis
	session sum.Session
	file    hash.Hash
	out     Emitter

	// A segment is step bytes long and comes with ahead bytes of the next.
	step, ahead int64

	next int64 // where the next segment begins; for the reader
	tail []byte

	read    int64 // emitted so far
	covered int64 // by blocks and literals; may be ahead of read
}

// segment is a stretch of the source.
type segment struct {
	off  int64  // of data in the source
	data []byte // the segment, and what windows that begin in it reach into
	own  int    // bytes of data that are the segment's own
	last bool   // the source ends with data
	hits []hit

	done  chan struct{} // closed when hits are there
	users atomic.Int32  // of data
}

// hit is a block found at off of a segment.
type hit struct {
	off   int32
	block int32
}

// alone does all the work here, for a source of one segment.
func (p *pipeline) alone() error {
	seg, err := p.fill(make([]byte, p.size))
	if len(seg.data) > 0 {
		p.file.Write(seg.data)
		p.basis.newScanner(p.session).scan(seg)
		p.emit(seg)
	}
	return err
}

// run puts the reader, the file sum and the search on goroutines of their own.
func (p *pipeline) run(ctx context.Context, workers int) error {
	buffers := workers + 2
	free := make(chan []byte, buffers)
	for range buffers {
		free <- nil
	}
	release := func(seg *segment) {
		if seg.users.Add(-1) == 0 {
			free <- seg.data[:cap(seg.data)]
		}
	}
	toHash := make(chan *segment, buffers)
	toScan := make(chan *segment, buffers)
	toEmit := make(chan *segment, buffers)

	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		defer close(toEmit)
		defer close(toScan)
		defer close(toHash)
		for failed == nil && p.next < p.size {
			var buf []byte
			select {
			case buf = <-free:
			case <-ctx.Done():
				return
			}
			if buf == nil {
				buf = make([]byte, min(p.step+p.ahead, p.size-p.next))
			}
			var seg *segment
			seg, failed = p.fill(buf)
			if len(seg.data) == 0 {
				return
			}
			seg.users.Store(2)
			toHash <- seg
			toScan <- seg
			toEmit <- seg
		}
	})
	wg.Go(func() {
		for seg := range toHash {
			p.file.Write(seg.data[:seg.own])
			release(seg)
		}
	})
	for range workers {
		wg.Go(func() {
			scanner := p.basis.newScanner(p.session)
			for seg := range toScan {
				if ctx.Err() == nil {
					scanner.scan(seg)
				}
				close(seg.done)
			}
		})
	}
	for seg := range toEmit {
		<-seg.done
		if ctx.Err() == nil {
			p.emit(seg)
		}
		release(seg)
	}
	wg.Wait()
	return failed
}

// fill reads the next segment into buf.
func (p *pipeline) fill(buf []byte) (*segment, error) {
	want := min(p.step+p.ahead, p.size-p.next)
	buf = buf[:want]
	kept := copy(buf, p.tail)
	n, err := io.ReadFull(p.src, buf[kept:])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	seg := &segment{off: p.next, data: buf[:kept+n], own: kept + n, done: make(chan struct{})}
	seg.last = err != nil || p.next+want == p.size
	if !seg.last {
		seg.own = int(p.step)
		p.tail = append(p.tail[:0], seg.data[p.step:]...)
	}
	p.next += int64(seg.own)
	p.basis.compareInPlace(seg)
	return seg, err
}

// emit tells what was found in seg, from where the segment before left off.
func (p *pipeline) emit(seg *segment) {
	for _, h := range seg.hits {
		at := seg.off + int64(h.off)
		if at < p.covered {
			continue
		}
		p.literal(seg.data[p.covered-seg.off : h.off])
		p.out.Block(h.block)
		p.covered = at + int64(p.basis.head.Len(h.block))
	}
	end := seg.off + int64(seg.own)
	if p.covered < end {
		p.literal(seg.data[p.covered-seg.off : seg.own])
		p.covered = end
	}
	p.read = end
}

func (p *pipeline) literal(data []byte) {
	for len(data) > 0 {
		n := min(len(data), pieceLen)
		p.out.Literal(data[:n])
		data = data[n:]
	}
}

func checkSums(sums *sum.Sums, s sum.Session) error {
	h := sums.Head
	switch {
	case h.Count < 0, h.Count > 0 && h.BlockLen <= 0, h.Rem < 0, h.Rem > h.BlockLen:
		return fmt.Errorf("match: %d blocks of %d, the last of %d bytes", h.Count, h.BlockLen, h.Rem)
	case h.StrongLen < 0, int(h.StrongLen) > s.Algorithm.Size():
		return fmt.Errorf("match: %d bytes of a sum of %d", h.StrongLen, s.Algorithm.Size())
	case len(sums.Weak) != int(h.Count), int64(len(sums.Strong)) != int64(h.Count)*int64(h.StrongLen):
		return fmt.Errorf("match: %d weak sums and %d bytes of strong sums for %d blocks", len(sums.Weak), len(sums.Strong), h.Count)
	}
	return nil
}
