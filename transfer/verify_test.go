package transfer_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// lyingFS is a file system that stores another byte than it was given.
type lyingFS struct{ fsstore.FS }

func (l lyingFS) Sub(ctx context.Context, dir string) (fsstore.FS, error) {
	sub, err := l.FS.Sub(ctx, dir)
	return lyingFS{sub}, err
}

func (l lyingFS) Create(ctx context.Context, name string, perm fs.FileMode, truncate bool) (fsstore.File, error) {
	f, err := l.FS.Create(ctx, name, perm, truncate)
	return lyingFile{f}, err
}

type lyingFile struct{ fsstore.File }

func (f lyingFile) WriteAt(p []byte, off int64) (int, error) {
	p = bytes.Clone(p)
	p[len(p)/2] ^= 1
	return f.File.WriteAt(p, off)
}

// What is not stored as it was sent is found before it is shown, reported and
// taken away.
func TestMirror_VerifyTransferredFindsAStoreThatLies(t *testing.T) {
	t.Parallel()
	src, to := day(t), t.TempDir()
	write(t, to, "268/0000.dat", []byte("previous"))
	dst := &fsstore.Store{FS: lyingFS{localFS(t, to)}}
	res, err := transfer.Mirror(t.Context(), dst, local(t, src), nil)
	require.Equal(t, []string{"write 268/0000.dat", "write 268/0100.dat", "write 268/deep/er/last.dat"}, failures(t, err))
	require.ErrorIs(t, err, transfer.ErrCorrupt)
	require.Equal(t, 1, res.Verified, "the empty file")
	got, err := os.ReadFile(filepath.Join(to, "268/0000.dat"))
	require.NoError(t, err)
	require.Equal(t, "previous", string(got))
	require.NoFileExists(t, filepath.Join(to, "268/0100.dat"))
	require.Empty(t, hidden(tree(t, to)))
}

// VerifyNone trusts the destination.
func TestMirror_VerifyNoneTrustsTheDestination(t *testing.T) {
	t.Parallel()
	dst := &fsstore.Store{FS: lyingFS{localFS(t, t.TempDir())}}
	res, err := transfer.Mirror(t.Context(), dst, local(t, day(t)), &transfer.Options{Verify: transfer.VerifyNone})
	require.NoError(t, err)
	require.Zero(t, res.Verified)
}

// VerifyAll finds bytes that have changed although size and time have not, and
// sends the file again.
func TestMirror_VerifyAllMendsWhatHasRotted(t *testing.T) {
	t.Parallel()
	src, dst := day(t), t.TempDir()
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	for _, name := range []string{"268/0100.dat", "268/deep/er/last.dat"} {
		file := filepath.Join(dst, name)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		data[1] ^= 1
		require.NoError(t, os.WriteFile(file, data, 0o644))
		stamp(t, dst, name, noon)
	}
	res, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	require.Zero(t, res.Literal, "what other mirrors see")

	all := &transfer.Options{Verify: transfer.VerifyAll}
	res, err = transfer.Mirror(t.Context(), local(t, dst), local(t, src), all)
	require.NoError(t, err)
	require.Equal(t, transfer.Stats{Size: 3<<20 + 2004, Matched: 2000, Literal: 3<<20 + 4, Files: 4, Copied: 2, Verified: 4}, res.Stats)
	requireSameTree(t, src, dst)
	res, err = transfer.Mirror(t.Context(), local(t, dst), local(t, src), all)
	require.NoError(t, err)
	require.Equal(t, transfer.Stats{Size: 3<<20 + 2004, Matched: 3<<20 + 2004, Files: 4, Verified: 4}, res.Stats)
}

// VerifyAll of one file finds rot as well.
func TestPull_VerifyAllMendsWhatHasRotted(t *testing.T) {
	t.Parallel()
	dst, src := new(storetest.Mem), new(storetest.Mem)
	src.Put(transfer.Info{Name: "x", ModTime: noon}, []byte("good"))
	dst.Put(transfer.Info{Name: "x", ModTime: noon}, []byte("goad"))
	stats, err := transfer.Pull(t.Context(), dst, src, "x", &transfer.Options{Verify: transfer.VerifyAll})
	require.NoError(t, err)
	require.Equal(t, transfer.Stats{Size: 4, Literal: 4, Files: 1, Copied: 1, Verified: 1}, stats)
	require.Equal(t, "good", string(dst.Data("x")))
}
