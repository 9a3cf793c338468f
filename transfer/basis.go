package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
)

// openBasis opens what the destination has of a file: what an upload that was cut has
// left of it, which is so long, and behind that the previous version.
func (r *run) openBasis(ctx context.Context, info, old Info) (b Basis, kept int64, err error) {
	if b, err = openPrevious(ctx, r.dst, old); err != nil {
		return nil, 0, err
	}
	opener, ok := r.dst.(KeptOpener)
	if !ok {
		return b, 0, nil
	}
	part, err := opener.OpenKept(ctx, info)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, 0, nil
	case err != nil:
		return nil, 0, errors.Join(err, b.Close())
	}
	return &joinedBasis{part, b}, part.Size(), nil
}

func openPrevious(ctx context.Context, s Store, info Info) (Basis, error) {
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

// joinedBasis is a basis that begins with what is kept.
type joinedBasis struct{ kept, old Basis }

func (b *joinedBasis) Size() int64 { return max(b.kept.Size(), b.old.Size()) }

func (b *joinedBasis) ReadAt(p []byte, off int64) (n int, err error) {
	if left := b.kept.Size() - off; left > 0 {
		n, err = b.kept.ReadAt(p[:min(int64(len(p)), left)], off)
		if err == io.EOF && int64(n) == left {
			err = nil
		}
		if n == len(p) || err != nil {
			return n, err
		}
	}
	if off+int64(n) >= b.old.Size() {
		return n, io.EOF
	}
	m, err := b.old.ReadAt(p[n:], off+int64(n))
	return n + m, err
}

func (b *joinedBasis) Close() error { return errors.Join(b.kept.Close(), b.old.Close()) }
