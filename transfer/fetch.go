package transfer

import (
	"context"
	"errors"
	"io"
	"time"
)

// fetchMax is the size up to which a file that the destination has not is
// fetched with others. A larger one alone fills the line, and is resumed.
const fetchMax = 8 << 20

// fetch has the source send all at once what it can. What it does not send, for
// whatever reason, is left for each, which finds out why.
func (r *run) fetch(ctx context.Context, tasks []*task, commits *commits) error {
	src, ok := r.plan.src.(Fetcher)
	if !ok {
		return nil
	}
	var wants []Want
	for _, t := range tasks {
		if w, ok := r.want(ctx, t, commits); ok {
			wants = append(wants, w)
		}
	}
	if len(wants) == 0 {
		return nil
	}
	err := src.Fetch(ctx, r.o.From, wants)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrLost):
		r.lost = tasks[0]
		return &opError{"read", err}
	case err != nil:
		r.o.Logger.Debug("not all was fetched at once", "err", err)
	}
	return nil
}

// want says how a file is to be fetched; ok is false if it had better be sent
// alone.
func (r *run) want(ctx context.Context, t *task, commits *commits) (w Want, ok bool) {
	old := t.old
	switch {
	case t.Action != Send || t.alone:
		return w, false
	case old.Mode.IsRegular() && old.Size >= hashMin && old.Size < t.info.Size:
		return w, false // it may have grown only
	case old.Size < hashMin && t.info.Size > fetchMax:
		return w, false
	}
	w = Want{Name: t.Info.Name, Size: t.info.Size, ModTime: t.info.ModTime}
	if old.Mode.IsRegular() && old.Size > 0 {
		w.Basis = func() (Basis, error) { return openBasis(ctx, r.dst, old) }
	}
	w.Create = func() (Output, error) {
		up, err := r.dst.Create(ctx, t.info)
		if err != nil {
			return nil, err
		}
		if _, err := up.Resume(ctx, func(Kept) (bool, error) { return false, nil }); err != nil {
			return nil, errors.Join(err, up.Close())
		}
		return &fetched{ctx: ctx, r: r, t: t, up: up, commits: commits}, nil
	}
	return w, true
}

// openBasis opens a file of the destination as a basis.
func openBasis(ctx context.Context, s Store, info Info) (Basis, error) {
	r, err := s.Open(ctx, info.Name, 0)
	if err != nil {
		return nil, err
	}
	at, ok := r.(io.ReaderAt)
	if !ok {
		return nil, errors.Join(errors.ErrUnsupported, r.Close())
	}
	return basisFile{at, r, info.Size}, nil
}

type basisFile struct {
	io.ReaderAt
	io.Closer
	size int64
}

func (b basisFile) Size() int64 { return b.size }

// fetched is a file that is being fetched.
type fetched struct {
	ctx     context.Context
	r       *run
	t       *task
	up      Upload
	commits *commits
}

func (f *fetched) Literal(p []byte) error {
	if f.r.limit != nil {
		for q := p; len(q) > 0; {
			n := min(len(q), f.r.limit.Burst())
			if err := wait(f.ctx, f.r.limit.ReserveN(time.Now(), n).Delay()); err != nil {
				return err
			}
			q = q[n:]
		}
	}
	next := f.t.tally
	next.literal += int64(len(p))
	return f.write(p, next)
}

func (f *fetched) Matched(p []byte, _ int64) error {
	next := f.t.tally
	next.matched += int64(len(p))
	return f.write(p, next)
}

func (f *fetched) write(p []byte, next tally) error {
	_, err := f.up.Write(p)
	if err == nil {
		f.r.set(&f.t.tally, next)
	}
	return err
}

// Done commits a file that came whole, if the source is still what was wanted.
// Of another nothing is kept but what the store keeps of a broken upload.
func (f *fetched) Done(err error) error {
	size := f.t.tally.literal + f.t.tally.matched
	if err == nil && size != f.t.info.Size {
		err = ErrChanged
	}
	unmoved := func(ctx context.Context) error { return f.t.unmoved(ctx, nil) }
	if err == nil && f.commits != nil {
		f.r.hand(f.t, f.up, f.commits, unmoved)
		return nil
	}
	if err == nil {
		err = unmoved(f.ctx)
	}
	sum := f.up.Sum()
	if err == nil {
		err = f.up.Commit(f.ctx, f.r.o.Verify != VerifyNone)
	}
	if err = errors.Join(err, f.up.Close()); err != nil {
		f.r.set(&f.t.tally, tally{})
		return err
	}
	f.t.handed = true
	return f.r.settled(f.ctx, f.t, sum, nil)
}
