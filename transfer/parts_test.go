package transfer_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// Of a source of which the caller knows what may have changed nothing else
// is read.
func TestMirror_ReadsOnlyWhatMayHaveChanged(t *testing.T) {
	t.Parallel()
	image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
	known := len(image.data)
	for _, row := range []struct {
		rule          string
		change        func() []transfer.Range
		literal, read int64
	}{
		{"here and there", func() []transfer.Range {
			image.data[5] ^= 1
			image.data[5<<20] ^= 1
			return []transfer.Range{{Off: 5<<20 - 4096, Len: 8192}, {Off: 5, Len: 1}}
		}, 2 * 4096, 5 * 4096},
		{"where nothing did", func() []transfer.Range { return []transfer.Range{{Off: 4095, Len: 2}, {Off: 9 << 20}} }, 0, 2 * 4096},
		{"nowhere", func() []transfer.Range { return nil }, 0, 0},
		{"behind the end, which need not be told", func() []transfer.Range {
			image.data = append(image.data, randomBytes(2, 1<<20)...)
			return nil
		}, 1<<20 + 1000, 2<<20 + 2000},
	} {
		parts := row.change()
		var since transfer.Info
		image.options.Changed = func(name string, s transfer.Info) (iter.Seq[transfer.Range], bool) {
			require.Equal(t, "image", name)
			since = s
			return slices.Values(parts), true
		}
		res, wire := image.push()
		require.Equal(t, int64(known), since.Size, row.rule)
		require.Equal(t, row.literal, res.Literal, row.rule)
		require.Equal(t, int64(len(image.data)), res.Literal+res.Matched, row.rule)
		require.Equal(t, row.read, image.src.read.Load(), row.rule)
		require.Less(t, wire, 2*row.literal+100<<10, row.rule)
		require.Equal(t, sha256.Sum256(image.data), res.Sent["image"], row.rule)
		known = len(image.data)
	}
	image.options.Changed = nil
	changed := scatter(image.data, 10, 1)
	res, _ := image.push()
	require.Equal(t, changed, res.Literal, "a good signature was not kept")
}

// In any doubt the file is read whole.
func TestMirror_ReadsAllWhereWhatHasChangedIsInDoubt(t *testing.T) {
	t.Parallel()
	noRsync := sshtest.Instead(t, "rsync", "exit 127")
	parts := func(parts ...transfer.Range) func(string, transfer.Info) (iter.Seq[transfer.Range], bool) {
		return func(string, transfer.Info) (iter.Seq[transfer.Range], bool) { return slices.Values(parts), true }
	}
	for _, row := range []struct {
		rule, line string
		change     func(i *image)
	}{
		{"it is not known", noRsync, func(i *image) {
			i.options.Changed = func(string, transfer.Info) (iter.Seq[transfer.Range], bool) { return nil, false }
		}},
		{"a part is behind the end", noRsync, func(i *image) { i.options.Changed = parts(transfer.Range{Off: imageSize - 1, Len: 2}) }},
		{"a part is before the beginning", noRsync, func(i *image) { i.options.Changed = parts(transfer.Range{Off: -1, Len: 2}) }},
		{"a part is endless", noRsync, func(i *image) { i.options.Changed = parts(transfer.Range{Off: 1, Len: 1<<63 - 1}) }},
		{"the file is shorter", noRsync, func(i *image) {
			i.options.Changed = parts()
			i.data = i.data[:17<<20]
		}},
		{"the far side cannot hash", "ForceCommand internal-sftp", func(i *image) { i.options.Changed = parts() }},
		{"the far file differs", noRsync, func(i *image) {
			i.options.Changed = parts()
			i.rot(1)
		}},
		{"the far file has another time", noRsync, func(i *image) {
			i.options.Changed = parts()
			stamp(i.T, i.there, "image", noon)
		}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			image := newImage(t, row.line)
			scatter(image.data[:16<<20], 10, 1)
			row.change(image)
			image.push() // looks at what has arrived
			require.GreaterOrEqual(t, image.src.read.Load(), int64(len(image.data)))
		})
	}
}

// The bytes outside what may have changed are taken to be those of the version
// before: neither are they read, nor does the next transfer put them right.
func TestMirror_TakesTheCallersWordForWhatHasNotChanged(t *testing.T) {
	t.Parallel()
	image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
	before := bytes.Clone(image.data)
	image.data[0] ^= 1
	image.data[5<<20] ^= 1
	image.pushes++
	image.write()
	image.data = before
	image.data[0] ^= 1
	image.changed(transfer.Range{Len: 1})
	image.mirror()
}

// An upload put together of parts is not shown if the copy is not what is known, or
// what was written over it is not what is stored.
func TestPush_ProvesWhatWasReadInPart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		bad  badUpload
	}{
		{"nothing is wrong", badUpload{}},
		{"a bad copy", badUpload{copy: true}},
		{"a write that is lost", badUpload{write: true}},
		{"a read that is short", badUpload{short: true}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			const size, changed = 16 << 20, 5 << 20
			data := randomBytes(1, size)
			dst := &badStore{Mem: new(storetest.Mem)}
			o := &transfer.Options{Signatures: filepath.Join(t.TempDir(), "signatures")}
			push := func(when time.Time) transfer.Stats {
				info := transfer.Info{Name: "x", Size: size, ModTime: when, Mode: 0o600}
				stats, err := transfer.Push(t.Context(), dst, info, bytes.NewReader(data), o)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, dst.Data("x")))
				return stats
			}
			push(noon)
			dst.bad = row.bad
			data[changed] ^= 1
			o.Changed = func(string, transfer.Info) (iter.Seq[transfer.Range], bool) {
				return slices.Values([]transfer.Range{{Off: changed, Len: 1}}), true
			}
			want := int64(size)
			if row.bad == (badUpload{}) {
				want = 4096
			}
			require.Equal(t, want, push(later).Literal)
		})
	}
}

// badStore is a store that makes mistakes where it puts files together.
type badStore struct {
	*storetest.Mem
	bad badUpload
}

func (s *badStore) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := s.Mem.Create(ctx, info)
	if err != nil {
		return nil, err
	}
	bad := s.bad
	bad.Upload, bad.Prover = up, up.(transfer.Prover)
	return bad, nil
}

type badUpload struct {
	transfer.Upload
	transfer.Prover
	copy, write, short bool
}

func (u badUpload) Copy(ctx context.Context, share bool) error {
	err := u.Prover.Copy(ctx, share)
	if u.copy {
		_, err = u.Prover.WriteAt([]byte("rot"), 3<<20)
	}
	return err
}

func (u badUpload) WriteAt(p []byte, off int64) (int, error) {
	if u.write {
		return len(p), nil
	}
	return u.Prover.WriteAt(p, off)
}

func (u badUpload) ReadBack(ctx context.Context) (io.ReaderAt, error) {
	back, err := u.Prover.ReadBack(ctx)
	if u.short {
		back = shortReader{back}
	}
	return back, err
}

// shortReader has its end in the middle of the block that has changed.
type shortReader struct{ io.ReaderAt }

func (r shortReader) ReadAt(p []byte, off int64) (int, error) {
	if off != 5<<20 {
		return r.ReaderAt.ReadAt(p, off)
	}
	n, err := r.ReaderAt.ReadAt(p[:len(p)/2], off)
	return n, cmp.Or(err, io.EOF)
}
