package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	list  *list
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
	// begin is called with each list, before its entries.
	begin(l *list)
	// entry returns what is to be sent for an entry, or nil, and does by itself
	// what needs no data.
	entry(e *flist.Entry) *job
	// late does what is to be done when all files have come, and returns the
	// counts of what was deleted.
	late(ctx context.Context) ([5]int32, error)
}

// receiver asks for files and rebuilds them. It decides, writes requests and
// reads answers on a goroutine each; every file is rebuilt by one of its own.
type receiver struct {
	*session
	lists  *lists
	first  *list // until the plan is carried out
	plan   plan
	tokens *token.Reader

	unended []*list     // that the sender has not been told to forget; of the goroutine that decides
	queue   chan func() // what is to be written

	mu      sync.Mutex // of what follows
	waiting []*list    // to be gone through
	ahead   int        // entries of these
	more    bool       // lists are to come
	pending map[int32]*job
	again   []*job // to be asked for again

	news     chan struct{}  // something of this has changed
	inFlight chan struct{}  // one for each pending job
	makers   chan struct{}  // one for each basis whose block sums are made
	making   sync.WaitGroup // those
	builders chan struct{}  // one for each file being rebuilt
	building sync.WaitGroup // those
	over     chan struct{}  // closed at the last DONE of the sender
	ended    atomic.Int32   // DONEs of ours
}

// maxInFlight bounds the files asked for.
const maxInFlight = 1024

// maxAhead bounds the entries of lists that have come before it was their turn.
// The reference program sends some thousands and one list more.
const maxAhead = 1 << 16

// maxBuilders bounds the files rebuilt at once. More than one on two processors
// only wait for the lock of the directory.
var maxBuilders = max(1, workers/2)

// newReceiver reads the first list.
func newReceiver(s *session) (*receiver, error) {
	r := &receiver{
		session: s, queue: make(chan func(), 64), pending: make(map[int32]*job), news: make(chan struct{}, 1), over: make(chan struct{}),
		inFlight: make(chan struct{}, maxInFlight), makers: make(chan struct{}, workers), builders: make(chan struct{}, maxBuilders),
	}
	var err error
	if r.lists, err = newLists(s); err != nil {
		return nil, err
	}
	s.refused = r.refused
	if r.first, err = r.lists.read(nil); err != nil {
		return nil, err
	}
	r.waiting, r.more = []*list{r.first}, r.lists.more
	r.tokens, err = token.NewReader(s.r, s.method)
	return r, err
}

// run carries the plan out.
func (r *receiver) run(ctx context.Context) error {
	if r.first.size == 0 && !r.server {
		return nil // the server has gone already
	}
	r.first = nil
	r.eager.Store(false) // whoever writes flushes
	g, ctx := errgroup.WithContext(ctx)
	var cause error
	var once sync.Once
	work := func(f func() error) {
		g.Go(func() error {
			err := f()
			if err != nil {
				// The others wait for the far side, and fail for that reason only.
				once.Do(func() { cause = err; r.conn.Close() })
			}
			return err
		})
	}
	work(func() error { return r.generate(ctx) })
	work(r.write)
	work(func() error { return r.read(ctx) })
	_ = g.Wait() // cause is the first of its errors
	err := cause
	r.building.Wait()
	r.making.Wait()
	return err
}

// read takes all answers and lists, until the sender's last word.
func (r *receiver) read(ctx context.Context) error {
	phase := 1
	for dones := int32(1); ; {
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
		case ndx == wire.EndOfLists, ndx <= wire.ListOffset:
			if err := r.listed(ndx); err != nil {
				return err
			}
			continue
		case ndx != wire.Done:
			if err := r.answer(ctx, ndx); err != nil {
				return err
			}
			continue
		}
		if r.ended.Load() < dones {
			return errors.New("the far side ends what has not ended")
		}
		dones++
		if r.lists.ended() {
			continue
		}
		if phase <= 2 {
			r.unsent(phase == 2)
		}
		if phase == 3 && !r.server {
			for range 5 {
				r.r.Varlong(3)
			}
			if err := r.r.Err(); err != nil {
				return err
			}
		}
		if phase == 3 && r.version < 31 || phase == 4 {
			close(r.over)
			return nil
		}
		phase++
	}
}

// listed takes a list, or the word that there are no more.
func (r *receiver) listed(ndx int32) error {
	l, err := r.lists.announced(ndx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.more = r.lists.more
	if l != nil {
		if r.ahead > maxAhead {
			return errors.New("the far side does not wait with its lists")
		}
		r.waiting = append(r.waiting, l)
		r.ahead += len(l.entries)
	}
	r.tell()
	return nil
}

// tell has whoever waits look again.
func (r *receiver) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// unsent ends a phase in which files are sent for the first or the second time:
// what is still pending of these will not come.
func (r *receiver) unsent(redo bool) {
	r.mu.Lock()
	var jobs []*job
	for ndx, j := range r.pending {
		if j.redo == redo {
			delete(r.pending, ndx)
			jobs = append(jobs, j)
		}
	}
	r.mu.Unlock()
	for _, j := range jobs {
		<-r.inFlight
		r.fail(j.entry.Name, errors.New("the far side has not sent it"))
		r.settle(j, false)
	}
}

// settle notes that no more comes of a file, or that it is to be sent again.
func (r *receiver) settle(j *job, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j.list.open--
	if again {
		r.again = append(r.again, j)
	}
	r.tell()
}

// refused settles a file that the sender cannot send.
func (r *receiver) refused(ndx int32) error {
	if j := r.take(ndx); j != nil {
		r.fail(j.entry.Name, errors.New("the far side cannot read it"))
		r.settle(j, false)
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
	e := r.lists.entry(ndx)
	if e == nil {
		return fmt.Errorf("answer for entry %d, which is in no list", ndx)
	}
	if flags&itemTransfer == 0 {
		return nil
	}
	j := r.take(ndx)
	if j == nil {
		return fmt.Errorf("%s is sent, which was not asked for", quote(e.Name))
	}
	if r.o.DryRun {
		r.count(func(s *Stats) { s.Sent++ })
		r.settle(j, false)
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
