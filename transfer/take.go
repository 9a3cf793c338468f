package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
)

// take has the destination take at once what it can. What it does not take, for
// whatever reason, is left for each, which finds out why.
func (r *run) take(ctx context.Context, tasks []*task) error {
	dst, ok := r.dst.(Taker)
	if !ok {
		return nil
	}
	var offers []Offer
	for _, t := range tasks {
		if t.together() {
			offers = append(offers, r.offer(ctx, t))
		}
	}
	if len(offers) == 0 {
		return nil
	}
	return r.atOnce(ctx, "write", tasks, dst.Take(ctx, r.o.To, offers, r.o.Verify != VerifyNone))
}

func (r *run) offer(ctx context.Context, t *task) Offer {
	o := Offer{Info: t.info}
	o.Name = t.Info.Name
	if t.old.Mode.IsRegular() {
		o.Old = t.old.Size
	}
	o.Open = func() (Input, error) {
		if t.alone {
			return nil, ErrChanged
		}
		t.identify(ctx)
		in, err := t.open(ctx, 0)
		if err != nil {
			return nil, err
		}
		r.set(&t.tally, tally{})
		return &offered{in, ctx, r, t}, nil
	}
	o.Done = func(sum [sha256.Size]byte) {
		t.handed = true
		_ = r.settled(ctx, t, sum, nil) // no error of one becomes none of all
	}
	return o
}

// offered is a file that is being taken.
type offered struct {
	io.ReadCloser
	ctx context.Context
	r   *run
	t   *task
}

func (f *offered) Literal(n int) {
	_ = f.r.await(f.ctx, n) // who sends finds out himself that the context has ended
	next := f.t.tally
	next.literal += int64(n)
	f.r.set(&f.t.tally, next)
}

func (f *offered) Matched(n int) {
	next := f.t.tally
	next.matched += int64(n)
	f.r.set(&f.t.tally, next)
}

func (f *offered) Done(err error) error {
	if err == nil {
		err = f.t.unmoved(f.ctx, f.ReadCloser)
	}
	if errors.Is(err, ErrChanged) || errors.Is(err, io.ErrUnexpectedEOF) {
		f.t.alone = true
	}
	return errors.Join(err, f.Close())
}
