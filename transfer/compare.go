package transfer

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Comparison is how a tree differs from what it should be. The names are
// sorted and below the directories compared.
type Comparison struct {
	Same      []string
	Differing []string
	Missing   []string
	Extra     []string
	Failed    []*FileError // what could not be listed or read
}

// Equal reports whether all is the same.
func (c *Comparison) Equal() bool {
	return len(c.Differing)+len(c.Missing)+len(c.Extra)+len(c.Failed) == 0
}

// Compare compares the tree opts.To of got with the tree opts.From of want:
// files by size and time, links by target, directories by being there. With
// VerifyAll files are compared by their bytes, not their times.
func Compare(ctx context.Context, want, got Store, opts *Options) (*Comparison, error) {
	o := opts.orDefault()
	var a, b *listing
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { a, err = list(gctx, want, o.From, &o, true); return err })
	g.Go(func() (err error) { b, err = list(gctx, got, o.To, &o, true); return err })
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("transfer: %w", err)
	}
	c := &Comparison{Failed: append(a.failed, b.failed...)}
	have := make(map[string]Info, len(b.infos))
	for _, info := range b.infos {
		have[info.Name] = info
	}
	var read []Info // files to be compared by their bytes
	for _, info := range a.infos {
		other, ok := have[info.Name]
		delete(have, info.Name)
		switch {
		case !ok:
			c.Missing = append(c.Missing, info.Name)
		case info.Mode.Type() != other.Mode.Type(), info.Target != other.Target, info.Size != other.Size:
			c.Differing = append(c.Differing, info.Name)
		case !info.Mode.IsRegular(), o.Verify != VerifyAll && sameTime(info.ModTime, other.ModTime):
			c.Same = append(c.Same, info.Name)
		case o.Verify != VerifyAll:
			c.Differing = append(c.Differing, info.Name)
		default:
			read = append(read, info)
		}
	}
	for name := range have {
		c.Extra = append(c.Extra, name)
	}
	err := c.each(ctx, &o, read, func(ctx context.Context, info Info) (bool, error) {
		return sameBytes(ctx, storeSource(want, join(o.From, info.Name)), storeSource(got, join(o.To, info.Name)), info.Size)
	})
	return c, err
}

// each sorts files into Same and Differing, several at a time.
func (c *Comparison) each(ctx context.Context, o *Options, infos []Info, same func(context.Context, Info) (bool, error)) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Workers)
	for _, info := range infos {
		g.Go(func() error {
			var equal bool
			err := o.retry(gctx, info.Name, func() (_ bool, err error) {
				equal, err = same(gctx, info)
				return false, err
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case gctx.Err() != nil:
				return gctx.Err()
			case errors.Is(err, ErrLost):
				return err
			case errors.Is(err, fs.ErrNotExist):
				c.Missing = append(c.Missing, info.Name)
			case err != nil:
				c.Failed = append(c.Failed, fileError("read", info.Name, err))
			case equal:
				c.Same = append(c.Same, info.Name)
			default:
				c.Differing = append(c.Differing, info.Name)
			}
			return nil
		})
	}
	err := g.Wait()
	for _, names := range [][]string{c.Same, c.Differing, c.Missing, c.Extra} {
		slices.Sort(names)
	}
	if err != nil {
		return fmt.Errorf("transfer: %w", err)
	}
	return nil
}

// SumTree yields the hashes of all regular files of the tree opts.From of s,
// in the order of their names, for [WriteSums]. newHash is sha256.New or
// md5.New. The first file that cannot be read ends it.
func SumTree(ctx context.Context, s Store, newHash func() hash.Hash, opts *Options) iter.Seq2[Sum, error] {
	return func(yield func(Sum, error) bool) {
		o := opts.orDefault()
		l, err := list(ctx, s, o.From, &o, true)
		if err == nil && len(l.failed) > 0 {
			err = l.failed[0]
		}
		if err != nil {
			yield(Sum{}, fmt.Errorf("transfer: %w", err))
			return
		}
		files := slices.DeleteFunc(l.infos, func(i Info) bool { return !i.Mode.IsRegular() })
		sums := make([]Sum, len(files))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(o.Workers)
		for i, info := range files {
			g.Go(func() error {
				err := o.retry(gctx, info.Name, func() (_ bool, err error) {
					sums[i] = Sum{Name: info.Name}
					sums[i].Hash, err = hashFile(gctx, s, join(o.From, info.Name), newHash())
					return false, err
				})
				if err != nil {
					return fileError("read", info.Name, err)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			yield(Sum{}, fmt.Errorf("transfer: %w", err))
			return
		}
		for _, sum := range sums {
			if !yield(sum, nil) {
				return
			}
		}
	}
}

// CheckSums reads the files of the tree opts.From of s that sums names, and
// compares their hashes: MD5, SHA-1, SHA-256 or SHA-512, by their length.
// Files without a sum are not looked at.
func CheckSums(ctx context.Context, s Store, sums []Sum, opts *Options) (*Comparison, error) {
	o := opts.orDefault()
	want := make(map[string][]byte, len(sums))
	infos := make([]Info, len(sums))
	for i, sum := range sums {
		if newHash(len(sum.Hash)) == nil {
			return nil, fmt.Errorf("transfer: sum of %s: %w: a hash of %d bytes", quote(sum.Name), errors.ErrUnsupported, len(sum.Hash))
		}
		want[sum.Name] = sum.Hash
		infos[i].Name = sum.Name
	}
	var c Comparison
	err := c.each(ctx, &o, infos, func(ctx context.Context, info Info) (bool, error) {
		sum := want[info.Name]
		got, err := hashFile(ctx, s, join(o.From, info.Name), newHash(len(sum))())
		return bytes.Equal(got, sum), err
	})
	return &c, err
}

func newHash(size int) func() hash.Hash {
	switch size {
	case md5.Size:
		return md5.New
	case sha1.Size:
		return sha1.New
	case sha256.Size:
		return sha256.New
	case sha512.Size:
		return sha512.New
	}
	return nil
}

// Hash returns the SHA-256 of a file, read where it lies if the store can do
// that.
func Hash(ctx context.Context, s Store, name string) ([sha256.Size]byte, error) {
	info, err := s.Stat(ctx, name)
	var sum [sha256.Size]byte
	if err == nil {
		sum, err = storeSource(s, name).sum(ctx, info.Size)
	}
	if err != nil {
		err = fmt.Errorf("transfer: %w", fileError("read", name, err))
	}
	return sum, err
}

// hashFile reads a file to its end.
func hashFile(ctx context.Context, s Store, name string, h hash.Hash) ([]byte, error) {
	r, err := s.Open(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	buf := getBuffer()
	defer putBuffer(buf)
	if _, err := io.CopyBuffer(h, contextReader{ctx, r}, *buf); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
