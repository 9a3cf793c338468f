package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/token"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// job is one file to be brought up to date.
type job struct {
	ndx   int32
	entry *flist.Entry
	flags uint16 // of the request
	kind  byte   // of the basis

	// basis opens what the destination has; nil if that is nothing.
	basis func() (Basis, error)
	// create opens what is to become the file, once the first data are there.
	create func() (Output, error)

	redo bool // for the second time
	head sum.Head
}

// plan says what is to be done. Its methods are called one after the other.
type plan interface {
	// each calls ask for every file that is to be sent, in the order of the
	// list, and does by itself what needs no data.
	each(ctx context.Context, ask func(*job) error) error
	// late does what is to be done when all files have come, and returns the
	// counts of what was deleted.
	late(ctx context.Context) ([5]int32, error)
}

// receiver asks for files and rebuilds them. Requests are written by one
// goroutine and answers read by another; every file is rebuilt by one of its
// own.
type receiver struct {
	*session
	list   []*flist.Entry // sorted
	sent   []*flist.Entry // as sent
	plan   plan
	tokens *token.Reader

	mu      sync.Mutex // of what follows
	pending map[int32]*job
	again   []*job // to be asked for again

	inFlight chan struct{}  // one for each pending job
	builders chan struct{}  // one for each file being rebuilt
	building sync.WaitGroup // those
	phases   chan struct{}  // one for each DONE of the sender that is waited for
	ended    atomic.Int32   // DONEs of ours
}

// maxInFlight bounds the files asked for.
const maxInFlight = 1024

// maxBuilders bounds the files rebuilt at once. More than one on two processors
// only wait for the lock of the directory.
var maxBuilders = max(1, workers/2)

// newReceiver reads the file list.
func newReceiver(s *session) (*receiver, error) {
	d := flist.NewDecoder(s.r, s.listOptions())
	r := &receiver{
		session: s, pending: make(map[int32]*job),
		inFlight: make(chan struct{}, maxInFlight), builders: make(chan struct{}, maxBuilders), phases: make(chan struct{}, 8),
	}
	s.refused = r.refused
	for {
		e, ok := d.Next()
		if !ok {
			break
		}
		r.sent = append(r.sent, e)
		if e.Mode&modeType == modeFile {
			s.result.Files++
			s.result.Size += e.Size
		}
	}
	r.ids(d.IDs())
	if err := s.r.Err(); err != nil {
		return nil, err
	}
	if err := r.unasked(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.ioErrors |= d.IOErrors()
	s.mu.Unlock()
	r.list = append([]*flist.Entry(nil), r.sent...)
	flist.Sort(r.list)
	var err error
	r.tokens, err = token.NewReader(s.r, s.method)
	return r, err
}

// unasked returns an error for a list in which is what a client has excluded.
func (r *receiver) unasked() error {
	filters, err := r.o.filters()
	if err != nil || r.server || len(filters) == 0 {
		return err
	}
	excluded := map[string]bool{".": false}
	var isExcluded func(name string, isDir bool) bool
	isExcluded = func(name string, isDir bool) bool {
		if isDir {
			if ex, ok := excluded[name]; ok {
				return ex
			}
		}
		ex := filters.Excluded(name, isDir) || isExcluded(path.Dir(name), true)
		if isDir {
			excluded[name] = ex
		}
		return ex
	}
	for _, e := range r.sent {
		if !(e.Top && e.NoContent) && isExcluded(e.Name, e.IsDir()) {
			return fmt.Errorf("the far side sends %s, which was excluded", quote(e.Name))
		}
	}
	return nil
}

// run carries the plan out.
func (r *receiver) run(ctx context.Context) error {
	if len(r.list) == 0 && !r.server {
		return nil // the server has gone already
	}
	r.eager.Store(false) // whoever writes flushes
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { r.conn.Close() })
	defer stop()
	g.Go(func() error { return r.generate(ctx) })
	g.Go(func() error { return r.read(ctx) })
	err := g.Wait()
	r.building.Wait()
	return err
}

// request is a job whose block sums are being made.
type request struct {
	job  *job
	sums chan *sum.Sums
}

// generate writes all requests, phase by phase.
func (r *receiver) generate(ctx context.Context) error {
	if err := r.ask(ctx, func(ask func(*job) error) error { return r.plan.each(ctx, ask) }); err != nil {
		return err
	}
	r.done()
	if err := r.phaseEnd(ctx); err != nil {
		return err
	}
	again := r.again
	err := r.ask(ctx, func(ask func(*job) error) error {
		for _, j := range again {
			j.redo = true
			if err := ask(j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.done()
	if err := r.phaseEnd(ctx); err != nil {
		return err
	}
	counts, err := r.plan.late(ctx)
	if err != nil {
		return err
	}
	r.done()
	if r.version >= 31 {
		if r.o.Delete != DeleteNone {
			r.w.Index(wire.DeletionCounts)
			for _, n := range counts {
				r.w.Varint(n)
			}
		}
		r.done()
	}
	if err := r.phaseEnd(ctx); err != nil {
		return err
	}
	r.done()
	return r.w.Flush()
}

func (r *receiver) done() {
	r.ended.Add(1)
	r.w.Index(wire.Done)
}

// phaseEnd waits for the sender to be done with a phase.
func (r *receiver) phaseEnd(ctx context.Context) error {
	if err := r.w.Flush(); err != nil {
		return err
	}
	select {
	case <-r.phases:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ask writes the requests for the jobs that each hands over, in their order,
// while it makes the block sums of those that follow.
func (r *receiver) ask(ctx context.Context, each func(ask func(*job) error) error) error {
	queue := make(chan *request, 64)
	var making sync.WaitGroup // of block sums
	defer making.Wait()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		small := make(chan struct{}, workers)
		return each(func(j *job) error {
			select {
			case r.inFlight <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			q := &request{job: j, sums: make(chan *sum.Sums, 1)}
			if j.basis == nil || r.o.DryRun {
				q.sums <- new(sum.Sums)
			} else {
				small <- struct{}{}
				making.Go(func() {
					defer func() { <-small }()
					q.sums <- r.blockSums(ctx, q)
				})
			}
			select {
			case queue <- q:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	g.Go(func() error {
		for {
			var q *request
			var more bool
			select {
			case q, more = <-queue:
			default:
				if err := r.w.Flush(); err != nil {
					return err
				}
				q, more = <-queue
			}
			if !more {
				return nil
			}
			r.write(q.job, <-q.sums)
			if err := r.w.Err(); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// blockSums are the sums of a job's basis. A basis that cannot be read is none.
func (r *receiver) blockSums(ctx context.Context, q *request) *sum.Sums {
	b, err := q.job.basis()
	if err != nil {
		q.job.basis = nil
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
	if q.job.redo {
		h.StrongLen = int32(strong)
	}
	if (r.o.Append || r.o.AppendBlind) && !q.job.redo {
		return &sum.Sums{Head: h}
	}
	n := workers
	if size < 4<<20 {
		n = 1
	}
	sums, err := sum.Compute(ctx, b, h, r.sum, n)
	if err != nil {
		q.job.basis = nil
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

func (r *receiver) write(j *job, sums *sum.Sums) {
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

// read takes all answers, until the sender's last word.
func (r *receiver) read(ctx context.Context) error {
	for phase := 1; ; {
		ndx := r.r.Index()
		if err := r.r.Err(); err != nil {
			return err
		}
		switch {
		case ndx == wire.DeletionCounts:
			for range 5 {
				r.r.Varint()
			}
			continue
		case ndx != wire.Done:
			if err := r.answer(ctx, ndx); err != nil {
				return err
			}
			continue
		}
		if int(r.ended.Load()) < phase {
			return errors.New("the far side ends a phase that has not ended")
		}
		r.building.Wait()
		r.settle(phase)
		last := phase == 3 && r.version < 31 || phase == 4
		if phase == 3 && !r.server {
			for range 5 {
				r.r.Varlong(3)
			}
			if err := r.r.Err(); err != nil {
				return err
			}
		}
		if phase <= 2 || last {
			r.phases <- struct{}{}
		}
		if last {
			return nil
		}
		phase++
	}
}

// settle ends a phase: what is still pending will not come.
func (r *receiver) settle(phase int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if phase > 2 {
		return
	}
	for ndx, j := range r.pending {
		delete(r.pending, ndx)
		<-r.inFlight
		r.fail(j.entry.Name, errors.New("the far side has not sent it"))
	}
}

// refused settles a file that the sender cannot send.
func (r *receiver) refused(ndx int32) error {
	if j := r.take(ndx); j != nil {
		r.fail(j.entry.Name, errors.New("the far side cannot read it"))
	}
	return nil
}

// take returns the job that an answer is for; nil if there is none.
func (r *receiver) take(ndx int32) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.pending[ndx]
	if j != nil {
		delete(r.pending, ndx)
		<-r.inFlight
	}
	return j
}

// answer takes one answer, and hands its data to whoever rebuilds the file.
func (r *receiver) answer(ctx context.Context, ndx int32) error {
	flags := r.r.Short()
	if flags&itemBasis != 0 {
		r.r.Byte()
	}
	if flags&itemName != 0 {
		r.r.Vstring(maxPath)
	}
	if err := r.r.Err(); err != nil {
		return err
	}
	if ndx < 0 || int(ndx) >= len(r.list) {
		return fmt.Errorf("answer for entry %d of %d", ndx, len(r.list))
	}
	if flags&itemTransfer == 0 {
		return nil
	}
	j := r.take(ndx)
	if j == nil {
		return fmt.Errorf("%s is sent, which was not asked for", quote(r.list[ndx].Name))
	}
	if r.o.DryRun {
		r.count(func(s *Stats) { s.Sent++ })
		return nil
	}
	h := sum.ReadHead(r.r, r.sum.Algorithm.Size(), r.version)
	if err := r.r.Err(); err != nil {
		return err
	}
	if h != j.head {
		return fmt.Errorf("%s is sent against another basis than the one here", quote(j.entry.Name))
	}
	parts := r.build(j)
	defer close(parts)
	send := func(p part) error {
		select {
		case parts <- p:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var run part // of blocks, one after the other
	for {
		literal, block, count, err := r.tokens.Next()
		if err != nil {
			return err
		}
		if count > 0 && (block < 0 || count > h.Count || block > h.Count-count) {
			return fmt.Errorf("%s is sent with block %d of %d", quote(j.entry.Name), block, h.Count)
		}
		if count > 0 && block == run.block+run.count && int64(run.count)*int64(h.BlockLen) < copyAtOnce {
			run.count += count
			continue
		}
		if run.count > 0 {
			if err := send(run); err != nil {
				return err
			}
		}
		run = part{block: block, count: count}
		var p part
		switch {
		case count > 0:
			continue
		case literal != nil:
			p.buf = buffers.Get().(*bytes.Buffer)
			p.buf.Reset()
			p.buf.Write(literal)
		default:
			p.sum = bytes.Clone(r.r.Bytes(r.sum.Algorithm.Size()))
			if err := r.r.Err(); err != nil {
				return err
			}
		}
		if err := send(p); err != nil || p.sum != nil {
			return err
		}
	}
}

// copyAtOnce is about how much of the basis is copied at once, bytes.
const copyAtOnce = 256 << 10

// part is a piece of a file: literal data, blocks, or the sum at its end.
type part struct {
	buf          *bytes.Buffer
	block, count int32
	sum          []byte
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// build rebuilds a file of the parts it is sent, on a goroutine of its own.
func (r *receiver) build(j *job) chan<- part {
	parts := make(chan part, 16)
	r.builders <- struct{}{}
	r.building.Go(func() {
		defer func() { <-r.builders }()
		b := builder{receiver: r, job: j, hash: r.sum.NewFile()}
		for p := range parts {
			b.add(p)
		}
		b.done()
	})
	return parts
}

// builder rebuilds one file.
type builder struct {
	*receiver
	job   *job
	hash  hash.Hash
	basis Basis
	out   Output
	buf   []byte
	err   error // of this side; the rest is read and dropped
	whole bool  // the file's sum was read
	same  bool  // and is right

	literal, matched int64
}

func (b *builder) open() error {
	if b.out != nil {
		return nil
	}
	var err error
	if b.job.basis != nil && b.basis == nil {
		if b.basis, err = b.job.basis(); err != nil {
			return err
		}
	}
	b.out, err = b.job.create()
	if err == nil && (b.o.Append || b.o.AppendBlind) && !b.job.redo && b.basis != nil {
		err = b.prefix()
	}
	return err
}

func (b *builder) add(p part) {
	if b.err == nil {
		b.err = b.open()
	}
	switch {
	case p.buf != nil:
		data := p.buf.Bytes()
		if b.err == nil {
			b.hash.Write(data)
			b.literal += int64(len(data))
			b.err = b.out.Literal(data)
		}
		buffers.Put(p.buf)
	case p.count > 0:
		blen := int64(b.job.head.BlockLen)
		end := min(int64(p.block+p.count)*blen, b.job.head.Size())
		for off := int64(p.block) * blen; off < end && b.err == nil; off += copyAtOnce {
			b.err = b.copy(off, int(min(copyAtOnce, end-off)))
		}
	default:
		b.whole = true
		b.same = b.err == nil && bytes.Equal(b.hash.Sum(nil), p.sum)
	}
}

// copy takes n bytes of the basis. Those that are gone become zeros: the sum
// will tell.
func (b *builder) copy(off int64, n int) error {
	if b.basis == nil {
		return errors.New("the basis is gone")
	}
	if cap(b.buf) < n {
		b.buf = make([]byte, n)
	}
	p := b.buf[:n]
	m, err := b.basis.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return err
	}
	clear(p[m:])
	b.hash.Write(p)
	b.matched += int64(n)
	return b.out.Matched(p, off)
}

// prefix begins with the basis, of which only what follows is sent.
func (b *builder) prefix() error {
	size := b.job.head.Size()
	if b.o.AppendBlind {
		p := b.hash
		b.hash = discard{p}
		defer func() { b.hash = p }()
	}
	for off := int64(0); off < size && b.err == nil; off += copyAtOnce {
		if err := b.copy(off, int(min(copyAtOnce, size-off))); err != nil {
			return err
		}
	}
	return nil
}

// discard is a hash that is not told anything.
type discard struct{ hash.Hash }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// done settles the file.
func (b *builder) done() {
	name := b.job.entry.Name
	err := b.err
	switch {
	case err == nil && !b.whole:
		err = io.ErrUnexpectedEOF // the session has ended; somebody else knows why
	case err == nil && !b.same:
		err = ErrCorrupt
	}
	if b.out != nil {
		if e := b.out.Done(err); e != nil && err == nil {
			err = e
		}
	}
	if b.basis != nil {
		b.basis.Close()
	}
	switch {
	case err == nil:
		b.count(func(s *Stats) { s.Sent, s.Literal, s.Matched = s.Sent+1, s.Literal+b.literal, s.Matched+b.matched })
	case errors.Is(err, ErrCorrupt) && !b.job.redo:
		b.mu.Lock()
		b.again = append(b.again, b.job)
		b.mu.Unlock()
	case !b.whole && b.err == nil:
	default:
		b.fail(name, bare(err))
	}
}
