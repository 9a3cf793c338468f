package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sync/errgroup"
)

// source is what one file is copied from.
type source struct {
	open func(ctx context.Context, off int64) (io.ReadCloser, error)
	stat func(ctx context.Context) (Info, error)
	hash func(ctx context.Context, n int64) (Prefix, error)

	identity func(ctx context.Context) Identity // zero if it is not known
}

func storeSource(s Store, name string) source {
	src := source{
		open: func(ctx context.Context, off int64) (io.ReadCloser, error) { return s.Open(ctx, name, off) },
		stat: func(ctx context.Context) (Info, error) { return s.Stat(ctx, name) },
		hash: func(context.Context, int64) (Prefix, error) { return Prefix{}, errors.ErrUnsupported },

		identity: func(context.Context) Identity { return Identity{} },
	}
	if h, ok := s.(Hasher); ok {
		src.hash = func(ctx context.Context, n int64) (Prefix, error) { return h.HashPrefix(ctx, name, n) }
	}
	if i, ok := s.(Identifier); ok {
		src.identity = func(ctx context.Context) Identity {
			id, err := i.Identify(ctx, name)
			if err != nil {
				return Identity{} // whoever opens it finds out
			}
			return id
		}
	}
	return src
}

func readerSource(r io.ReaderAt, info Info) source {
	stat := func(context.Context) (Info, error) { return info, nil }
	identity := func(context.Context) Identity { return Identity{} }
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		before, err := f.Stat()
		stat = func(context.Context) (Info, error) {
			now, e := f.Stat()
			if err := cmp.Or(err, e); err != nil {
				return Info{}, err
			}
			if now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) {
				return Info{}, ErrChanged
			}
			return info, nil
		}
		identity = func(context.Context) Identity {
			now, err := f.Stat()
			if err != nil {
				return Identity{}
			}
			return IdentityOf(now)
		}
	}
	return source{
		open: func(_ context.Context, off int64) (io.ReadCloser, error) {
			return section{io.NewSectionReader(r, off, info.Size-off)}, nil
		},
		stat: stat,
		hash: func(ctx context.Context, n int64) (Prefix, error) {
			return HashReader(ctx, io.NewSectionReader(r, 0, n), n)
		},
		identity: identity,
	}
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// sameBytes compares the first n bytes of two sources, each hashed where it
// lies if that can be. One that has fewer is different.
func sameBytes(ctx context.Context, a, b source, n int64) (bool, error) {
	var sums [2][sha256.Size]byte
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range []source{a, b} {
		g.Go(func() (err error) {
			sums[i], err = s.sum(ctx, n)
			return err
		})
	}
	err := g.Wait()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return err == nil && sums[0] == sums[1], err
}

// hashMin is the size below which a file is read rather than hashed by its
// store: asking costs more.
const hashMin = 1 << 20

// sum hashes the first n bytes; io.ErrUnexpectedEOF if there are fewer.
func (s source) sum(ctx context.Context, n int64) (sum [sha256.Size]byte, err error) {
	if n >= hashMin {
		if p, err := s.hash(ctx, n); !errors.Is(err, errors.ErrUnsupported) {
			return p.Sum, err
		}
	}
	if n == 0 {
		return sha256.Sum256(nil), nil
	}
	r, err := s.open(ctx, 0)
	if err != nil {
		return sum, err
	}
	defer r.Close()
	p, err := HashReader(ctx, r, n)
	return p.Sum, err
}

// HashReader hashes the next n bytes of r; io.ErrUnexpectedEOF if there are
// fewer. Stores that read what they hash use it to be a [Hasher].
func HashReader(ctx context.Context, r io.Reader, n int64) (Prefix, error) {
	h := sha256.New()
	buf := getBuffer()
	defer putBuffer(buf)
	m, err := io.CopyBuffer(h, io.LimitReader(contextReader{ctx, r}, n), *buf)
	if err == nil && m < n {
		err = io.ErrUnexpectedEOF
	}
	return Prefix{Sum: [sha256.Size]byte(h.Sum(nil)), State: h}, err
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
