package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"
)

// fetch has the source send all at once what it can. What it does not send, for
// whatever reason, is left for each, which finds out why.
func (r *run) fetch(ctx context.Context, tasks []*task, commits *commits) error {
	src, ok := r.plan.src.(Fetcher)
	if !ok {
		return nil
	}
	for {
		fctx, cancel := context.WithCancelCause(ctx)
		var wants []Want
		for _, t := range tasks {
			if w, ok := r.want(ctx, t, commits, cancel); ok {
				wants = append(wants, w)
			}
		}
		var err error
		if len(wants) > 0 {
			err = src.Fetch(fctx, r.o.From, wants, len(r.plan.Steps))
		}
		vain := context.Cause(fctx) == errVain
		cancel(nil)
		if !vain {
			return r.atOnce(ctx, "read", tasks, err)
		}
	}
}

// want says how a file is to be fetched, if that is so.
func (r *run) want(ctx context.Context, t *task, commits *commits, cancel context.CancelCauseFunc) (w Want, ok bool) {
	if !t.together() {
		return w, false
	}
	old := t.old
	w = Want{Name: t.Info.Name, Size: t.info.Size, ModTime: t.info.ModTime}
	kept := int64(0) // bytes of the basis that an upload that was cut has left
	if old.Mode.IsRegular() && old.Size > 0 {
		w.Basis = func() (b Basis, err error) {
			b, kept, err = r.openBasis(ctx, t.info, old)
			return b, err
		}
	}
	w.Create = func() (Output, error) {
		up, err := r.dst.Create(ctx, t.info)
		if err != nil {
			return nil, err
		}
		if _, err := up.Resume(ctx, func(Kept) (bool, error) { return false, nil }); err != nil {
			return nil, errors.Join(err, up.Close())
		}
		r.set(&t.tally, tally{}) // it may have come before, and not have been committed
		t.afar = true
		f := &fetched{ctx: ctx, r: r, t: t, up: up, kept: kept, commits: commits, cancel: cancel, begun: time.Now()}
		if cp, ok := up.(Copier); ok && old.Mode.IsRegular() && old.Size >= keptMin {
			switch err := cp.Copy(ctx, true); {
			case err == nil:
				f.over = &overlay{to: cp, hash: sha256.New()}
			case !errors.Is(err, errors.ErrUnsupported):
				return nil, errors.Join(err, up.Close())
			}
		}
		return f, nil
	}
	return w, true
}

// fetched is a file that is being fetched.
type fetched struct {
	ctx     context.Context
	r       *run
	t       *task
	up      Upload
	kept    int64    // bytes at the beginning of the basis that are not what an overlay is over
	over    *overlay // nil if the upload is written from its beginning
	commits *commits
	cancel  context.CancelCauseFunc // of the fetch
	begun   time.Time
}

func (f *fetched) Literal(p []byte) error {
	if err := f.r.await(f.ctx, len(p)); err != nil {
		return err
	}
	next := f.t.tally
	next.literal += int64(len(p))
	if f.inVain(next) {
		f.r.o.Logger.Debug("nothing in common", "file", f.t.info.Name)
		f.t.alone = true
		f.cancel(errVain)
		return errVain
	}
	return f.write(p, next)
}

func (f *fetched) Matched(p []byte, off int64) error {
	next := f.t.tally
	next.matched += int64(len(p))
	if f.over != nil && f.over.n == off && off >= f.kept {
		f.over.leave(p)
		f.r.set(&f.t.tally, next)
		return nil
	}
	return f.write(p, next)
}

func (f *fetched) write(p []byte, next tally) error {
	var to io.Writer = f.up
	if f.over != nil {
		to = f.over
	}
	_, err := to.Write(p)
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
	if err == nil && f.over != nil {
		err = f.over.to.Reach(f.over.n, f.over.hash)
	}
	unmoved := func(ctx context.Context) error { return f.t.unmoved(ctx, nil) }
	if err == nil && f.commits != nil && f.over == nil {
		f.r.hand(f.t, f.up, f.commits, unmoved)
		return nil
	}
	if err == nil {
		err = unmoved(f.ctx)
	}
	sum := f.up.Sum()
	if err == nil {
		err = f.up.Commit(f.ctx, f.over != nil || f.r.o.Verify != VerifyNone)
	}
	if err = errors.Join(err, f.up.Close()); err != nil {
		f.r.set(&f.t.tally, tally{})
		return err
	}
	f.t.handed = true
	return f.r.settled(f.ctx, f.t, sum, nil)
}
