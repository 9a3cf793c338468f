package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

func push(t testing.TB, dst transfer.Store, name string, data []byte, o *transfer.Options) (transfer.Stats, error) {
	t.Helper()
	info := transfer.Info{Name: name, Size: int64(len(data)), ModTime: noon, Mode: 0o644}
	return transfer.Push(t.Context(), dst, info, bytes.NewReader(data), o)
}

// An object of equal size and time costs no data.
func TestPush_SendsNoLiteralDataForAnUnchangedFile(t *testing.T) {
	t.Parallel()
	dst := new(storetest.Mem)
	data := randomBytes(1, 3<<20)
	stats, err := push(t, dst, "x", data, nil)
	require.NoError(t, err)
	require.Equal(t, transfer.Stats{Size: 3 << 20, Literal: 3 << 20, Files: 1, Copied: 1, Verified: 1}, stats)
	stats, err = push(t, dst, "x", data, nil)
	require.NoError(t, err)
	require.Equal(t, transfer.Stats{Size: 3 << 20, Matched: 3 << 20, Files: 1}, stats)
}

// An object is not to be seen under its name until it is complete.
func TestPush_NeverShowsAPartialObject(t *testing.T) {
	t.Parallel()
	for _, old := range []string{"", "the previous version"} {
		dst := new(storetest.Mem)
		if old != "" {
			dst.Put(transfer.Info{Name: "x", ModTime: later}, []byte(old))
		}
		seen := 0
		dst.Fault = func(op, name string) error {
			if op == "write" || op == "commit" {
				seen++
				require.Equal(t, old, string(dst.Data("x")))
			}
			return nil
		}
		data := randomBytes(1, 5<<20)
		_, err := push(t, dst, "x", data, nil)
		require.NoError(t, err)
		require.Greater(t, seen, 5)
		require.True(t, bytes.Equal(data, dst.Data("x")))
	}
}

// cutAfter fails an operation from its nth time on.
func cutAfter(op string, n int, err error) func(op, name string) error {
	return func(o, _ string) error {
		if o == op {
			if n--; n < 0 {
				return err
			}
		}
		return nil
	}
}

// An upload that was cut goes on where it stopped.
func TestPush_ResumesWhereItWasCut(t *testing.T) {
	t.Parallel()
	dst := &storetest.Mem{Fault: cutAfter("write", 3, errors.New("cut"))}
	data := randomBytes(1, 5<<20)
	_, err := push(t, dst, "x", data, nil)
	require.Error(t, err)
	require.Nil(t, dst.Data("x"))
	dst.Fault = nil
	stats, err := push(t, dst, "x", data, nil)
	require.NoError(t, err)
	require.Equal(t, transfer.Stats{Size: 5 << 20, Resumed: 3 << 20, Literal: 2 << 20, Files: 1, Copied: 1, Verified: 1}, stats)
	require.True(t, bytes.Equal(data, dst.Data("x")))
}

// What an interrupted upload left is used only after the source has proved it
// by hash, although size and time are the same.
func TestPush_DoesNotResumeAnotherVersion(t *testing.T) {
	t.Parallel()
	dst := &storetest.Mem{Fault: cutAfter("write", 3, errors.New("cut"))}
	_, err := push(t, dst, "x", randomBytes(1, 5<<20), nil)
	require.Error(t, err)
	dst.Fault = nil
	data := randomBytes(2, 5<<20)
	stats, err := push(t, dst, "x", data, nil)
	require.NoError(t, err)
	require.Zero(t, stats.Resumed)
	require.True(t, bytes.Equal(data, dst.Data("x")))
}

// growing is an open file that grows while it is read.
type growing struct {
	*os.File
	grow func()
}

func (g growing) ReadAt(p []byte, off int64) (int, error) {
	n, err := g.File.ReadAt(p, off)
	g.grow()
	return n, err
}

// A source that is shorter than it was said to be, and an open file that
// changes meanwhile, are reported; what was there before stays.
func TestPush_ReportsASourceThatChanged(t *testing.T) {
	t.Parallel()
	dst := new(storetest.Mem)
	dst.Put(transfer.Info{Name: "x", ModTime: later}, []byte("before"))
	info := transfer.Info{Name: "x", Size: 10, ModTime: noon, Mode: 0o644}
	_, err := transfer.Push(t.Context(), dst, info, bytes.NewReader([]byte("short")), nil)
	require.ErrorIs(t, err, transfer.ErrChanged)

	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("0123456789")
	require.NoError(t, err)
	src := growing{f, func() {
		_, err := f.WriteString("more")
		require.NoError(t, err)
	}}
	_, err = transfer.Push(t.Context(), dst, info, src, nil)
	require.ErrorIs(t, err, transfer.ErrChanged)
	require.Equal(t, "before", string(dst.Data("x")))

	_, err = transfer.Push(t.Context(), dst, info, io.NewSectionReader(src, 0, 10), nil)
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(dst.Data("x")))
}

// Only a regular file can be pulled; one that is not there says so.
func TestPull_NeedsARegularFile(t *testing.T) {
	t.Parallel()
	src := local(t, day(t))
	for name, want := range map[string]error{
		"none": fs.ErrNotExist, "268": errors.ErrUnsupported, "268/latest": errors.ErrUnsupported, "../x": transfer.ErrName,
	} {
		_, err := transfer.Pull(t.Context(), new(storetest.Mem), src, name, nil)
		require.ErrorIs(t, err, want, name)
		var file *transfer.FileError
		require.ErrorAs(t, err, &file)
		require.Equal(t, transfer.FileError{Name: name, Op: "read", Err: file.Err}, *file)
	}
}

// Of a file that has grown, only the tail is sent, either way.
func TestPull_SendsOnlyWhatWasAppended(t *testing.T) {
	t.Parallel()
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	c := sshd.Via(t, proxy)
	const size, tail = 16 << 20, 1 << 20
	data := randomBytes(1, size+tail)
	for _, row := range []struct {
		rule     string
		dst, src func(t *testing.T, dir string) transfer.Store
	}{
		{
			"pulled",
			func(t *testing.T, dir string) transfer.Store { return local(t, dir) },
			func(t *testing.T, dir string) transfer.Store { return remote(t, c, dir) },
		},
		{
			"pushed",
			func(t *testing.T, dir string) transfer.Store { return remote(t, c, dir) },
			func(t *testing.T, dir string) transfer.Store { return local(t, dir) },
		},
	} {
		t.Run(row.rule, func(t *testing.T) {
			from, to := t.TempDir(), t.TempDir()
			write(t, from, "log", data[:size])
			dst, src := row.dst(t, to), row.src(t, from)
			_, err := transfer.Pull(t.Context(), dst, src, "log", &transfer.Options{Verify: transfer.VerifyNone})
			require.NoError(t, err)
			write(t, from, "log", data)
			received, sent := proxy.Bytes()
			stats, err := transfer.Pull(t.Context(), dst, src, "log", nil)
			require.NoError(t, err)
			require.Equal(t, transfer.Stats{Size: size + tail, Matched: size, Literal: tail, Files: 1, Copied: 1, Verified: 1}, stats)
			r, s := proxy.Bytes()
			require.Less(t, r+s-received-sent, int64(tail+tail/20), "bytes on the wire")
			got, err := os.ReadFile(filepath.Join(to, "log"))
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
		})
	}
}

// A file that has grown, but not only at its end, is sent whole.
func TestPull_SendsAllOfAFileThatDidNotOnlyGrow(t *testing.T) {
	t.Parallel()
	data := randomBytes(1, 3<<20)
	dst, src := new(storetest.Mem), new(storetest.Mem)
	dst.Put(transfer.Info{Name: "log", ModTime: noon}, data[:2<<20])
	changed := bytes.Clone(data)
	changed[1000]++
	src.Put(transfer.Info{Name: "log", ModTime: later}, changed)
	stats, err := transfer.Pull(t.Context(), dst, src, "log", nil)
	require.NoError(t, err)
	require.Equal(t, int64(3<<20), stats.Literal)
	require.True(t, bytes.Equal(changed, dst.Data("log")))
}

// halfCopier begins with the previous version, and fails on the way.
type halfCopier struct{ *storetest.Mem }

func (h halfCopier) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := h.Mem.Create(ctx, info)
	return halfCopy{up}, err
}

type halfCopy struct{ transfer.Upload }

func (h halfCopy) Copy(context.Context, bool) error {
	_, err := h.Write(make([]byte, 1<<20))
	return errors.Join(err, io.ErrUnexpectedEOF)
}

func (halfCopy) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (halfCopy) Reach(int64, hash.Hash) error       { return errors.ErrUnsupported }

// When copying the previous version fails half-way, nothing of it is shown.
func TestPull_DoesNotBuildOnAHalfCopy(t *testing.T) {
	t.Parallel()
	data := randomBytes(1, 3<<20)
	dst, src := new(storetest.Mem), new(storetest.Mem)
	dst.Put(transfer.Info{Name: "log", ModTime: noon}, data[:2<<20])
	src.Put(transfer.Info{Name: "log", ModTime: later}, data)
	_, err := transfer.Pull(t.Context(), halfCopier{dst}, src, "log", nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.True(t, bytes.Equal(data[:2<<20], dst.Data("log")))
	_, err = transfer.Pull(t.Context(), dst, src, "log", nil)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, dst.Data("log")))
}

// badCopier copies the previous version, and not well.
type badCopier struct{ *storetest.Mem }

func (b badCopier) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := b.Mem.Create(ctx, info)
	return badCopy{up, up.(transfer.Copier)}, err
}

type badCopy struct {
	transfer.Upload
	transfer.Copier
}

func (b badCopy) Copy(context.Context, bool) error {
	_, err := b.WriteAt([]byte("x"), 2<<20-1) // as long, and zeros
	return err
}

// What is put together at the destination is proved, whatever is to be verified;
// if it is wrong, the file is sent whole.
func TestPull_ProvesWhatIsPutTogetherAtTheDestination(t *testing.T) {
	t.Parallel()
	data := randomBytes(1, 3<<20)
	for _, verify := range []transfer.Verify{transfer.VerifyTransferred, transfer.VerifyNone} {
		dst, src := new(storetest.Mem), new(storetest.Mem)
		dst.Put(transfer.Info{Name: "log", ModTime: noon}, data[:2<<20])
		src.Put(transfer.Info{Name: "log", ModTime: later}, data)
		stats, err := transfer.Pull(t.Context(), badCopier{dst}, src, "log", &transfer.Options{Verify: verify})
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, dst.Data("log")))
		require.Equal(t, int64(3<<20), stats.Literal+stats.Resumed)
	}
}

// Hash is the SHA-256 of a file, whether its store can hash or not.
func TestHash_IsTheSHA256(t *testing.T) {
	t.Parallel()
	m := new(storetest.Mem)
	for _, n := range []int{0, 1, 2 << 20} {
		data := randomBytes(1, n)
		m.Put(transfer.Info{Name: "x"}, data)
		for _, s := range []transfer.Store{m, bucket{m}} {
			sum, err := transfer.Hash(t.Context(), s, "x")
			require.NoError(t, err)
			require.Equal(t, sha256.Sum256(data), sum)
		}
	}
	_, err := transfer.Hash(t.Context(), m, "none")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
