package rsync

import (
	"context"

	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// generate goes through the lists as they come, and then through the phases.
// Once ctx has ended none of its steps does anything.
func (r *receiver) generate(ctx context.Context) error {
	defer close(r.queue)
	l := r.nextList(ctx)
	for next := l; next != nil; next = r.nextList(ctx) {
		l = next
		r.through(ctx, l)
	}
	settled := func() bool { return l.open == 0 }
	// The sender forgets a piece that has ended, and so cannot send of it again.
	r.await(ctx, func() bool { return !l.piece || len(r.unended) == 1 && settled() && len(r.again) == 0 })
	r.post(ctx, r.done)
	r.await(ctx, settled)
	r.askAgain(ctx)
	r.post(ctx, r.done)
	r.await(ctx, settled)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	counts, err := r.plan.late(ctx)
	if err != nil {
		return err
	}
	r.post(ctx, r.done)
	if r.version >= 31 {
		if r.o.Delete != DeleteNone {
			r.post(ctx, func() { r.deletions(counts) })
		}
		r.post(ctx, r.done)
	}
	select {
	case <-r.over:
		r.post(ctx, r.done)
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// nextList waits for the list whose turn it is; nil after the last.
func (r *receiver) nextList(ctx context.Context) (l *list) {
	r.await(ctx, func() bool { return len(r.waiting) > 0 || !r.more })
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil || len(r.waiting) == 0 {
		return nil
	}
	l, r.waiting[0] = r.waiting[0], nil
	r.waiting = r.waiting[1:]
	if l.dir != nil { // the first was never ahead
		r.ahead -= len(l.entries)
	}
	r.unended = append(r.unended, l)
	return l
}

// through asks for what is wanted of a list.
func (r *receiver) through(ctx context.Context, l *list) {
	r.keepUp(ctx)
	r.plan.begin(l)
	for i, e := range l.entries {
		if ctx.Err() != nil {
			return
		}
		select {
		case <-r.news:
			r.keepUp(ctx)
		default:
		}
		if i > 0 && e.Name == l.entries[i-1].Name {
			continue // the same name twice
		}
		if j := r.plan.entry(e); j != nil {
			j.list, j.ndx, j.entry = l, l.start+int32(i), e
			r.ask(ctx, j)
		}
	}
}

// await waits for something that r.mu guards to be the case.
func (r *receiver) await(ctx context.Context, is func() bool) {
	for ctx.Err() == nil {
		r.keepUp(ctx)
		r.mu.Lock()
		ok := is()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.news:
		case <-ctx.Done():
		}
	}
}

// keepUp asks again for what came damaged of pieces, and ends those that are
// settled, since the sender sends further ones only then. The last has to wait:
// its end is that of the phase.
func (r *receiver) keepUp(ctx context.Context) {
	for len(r.unended) > 0 && r.unended[0].piece {
		r.askAgain(ctx)
		r.mu.Lock()
		settled := r.unended[0].open == 0 && len(r.again) == 0
		r.mu.Unlock()
		if !settled || len(r.unended) == 1 {
			return
		}
		r.unended[0] = nil
		r.unended = r.unended[1:]
		r.post(ctx, r.done)
	}
}

// askAgain asks again for what came damaged.
func (r *receiver) askAgain(ctx context.Context) {
	r.mu.Lock()
	again := r.again
	r.again = nil
	r.mu.Unlock()
	for _, j := range again {
		j.redo = true
		r.ask(ctx, j)
	}
}

// ask has the request for a file written, while the block sums of those that
// follow are made.
func (r *receiver) ask(ctx context.Context, j *job) {
	select {
	case r.inFlight <- struct{}{}:
	case <-ctx.Done():
		return
	}
	r.mu.Lock()
	j.list.open++
	r.mu.Unlock()
	sums := make(chan *sum.Sums, 1)
	if j.basis == nil || r.o.DryRun {
		sums <- new(sum.Sums)
	} else {
		r.makers <- struct{}{}
		r.making.Go(func() {
			defer func() { <-r.makers }()
			sums <- r.blockSums(ctx, j)
		})
	}
	r.post(ctx, func() { r.request(j, <-sums) })
}

// post has something written after all that was posted before it.
func (r *receiver) post(ctx context.Context, f func()) {
	select {
	case r.queue <- f:
	case <-ctx.Done():
	}
}

// write writes what is posted. What is written is not held back while there is
// nothing more to write.
func (r *receiver) write() error {
	for {
		var f func()
		var more bool
		select {
		case f, more = <-r.queue:
		default:
			if err := r.w.Flush(); err != nil {
				return err
			}
			f, more = <-r.queue
		}
		if !more {
			return r.w.Flush()
		}
		f()
		if err := r.w.Err(); err != nil {
			return err
		}
	}
}

func (r *receiver) done() {
	r.ended.Add(1)
	r.w.Index(wire.Done)
}

func (r *receiver) deletions(counts [5]int32) {
	r.w.Index(wire.DeletionCounts)
	for _, n := range counts {
		r.w.Varint(n)
	}
}

// request writes a request.
func (r *receiver) request(j *job, sums *sum.Sums) {
	j.head = sums.Head
	r.mu.Lock()
	r.pending[j.ndx] = j
	r.mu.Unlock()
	flags := j.flags | itemTransfer
	if j.kind != basisFile {
		flags |= itemBasis
	}
	r.w.Index(j.ndx)
	r.w.Short(flags)
	if flags&itemBasis != 0 {
		r.w.Byte(j.kind)
	}
	if r.o.DryRun {
		return
	}
	sums.Head.Write(r.w)
	sums.Write(r.w)
}

// blockSums are the sums of a job's basis. A basis that cannot be read is none.
func (r *receiver) blockSums(ctx context.Context, j *job) *sum.Sums {
	b, err := j.basis()
	if err != nil {
		j.basis = nil
		return new(sum.Sums)
	}
	defer b.Close()
	size := b.Size()
	blen := int32(r.o.BlockSize)
	if blen == 0 {
		blen = blockLen(size)
	}
	strong := min(r.sum.Algorithm.Size(), 16)
	h := sum.NewHead(size, blen, sum.StrongLen(size, blen, strong))
	if j.redo {
		h.StrongLen = int32(strong)
	}
	if (r.o.Append || r.o.AppendBlind) && !j.redo {
		return &sum.Sums{Head: h}
	}
	n := workers
	if size < 4<<20 {
		n = 1
	}
	sums, err := sum.Compute(ctx, b, h, r.sum, n)
	if err != nil {
		j.basis = nil
		return new(sum.Sums)
	}
	return sums
}

// blockLen is the length of a block for a basis of so many bytes. Files that
// are large mostly change in place, by the 4 KiB blocks of a file system.
func blockLen(size int64) int32 {
	if size < 16<<20 {
		return sum.BlockLen(size)
	}
	blen := int64(4096)
	for size/blen > maxBlocks && blen < maxBlock {
		blen *= 2
	}
	return int32(blen)
}

// maxBlocks bounds the blocks of a file, and so what their sums take.
const maxBlocks = 1 << 20
