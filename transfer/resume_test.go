package transfer_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

const bigSize = 24 << 20

// killed mirrors src into dst in another process, and kills that in the middle
// of a big file.
func killed(t *testing.T, dst, src string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	if runtime.GOOS == "linux" {
		exe = "/proc/self/exe" // which an ordinary user may run as well
	}
	cmd := exec.Command(exe, src, dst)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		if n >= 8<<20 {
			break
		}
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoFileExists(t, filepath.Join(dst, "big"), "nothing is visible under its name until it is complete")
	require.Len(t, hidden(tree(t, dst)), 2)
}

// What a killed process has sent of a file is not sent again by the next.
func TestMirror_GoesOnInsideAFileAfterAKill(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "big", randomBytes(1, bigSize))
	killed(t, dst, src)
	res, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	require.GreaterOrEqual(t, res.Resumed, int64(6<<20))
	require.Equal(t, int64(bigSize), res.Resumed+res.Literal)
	requireSameTree(t, src, dst)
}

// What a killed process has left is used only after both sides have proved
// that it is the beginning of the source.
func TestMirror_ProvesThatTheKeptPartStillMatches(t *testing.T) {
	t.Parallel()
	data := randomBytes(1, bigSize)
	from, left := t.TempDir(), t.TempDir()
	write(t, from, "big", data)
	killed(t, left, from)
	for _, row := range []struct {
		rule   string
		change func(t *testing.T, src, dst string)
	}{
		{"the kept part has changed", func(t *testing.T, src, dst string) {
			f, err := os.OpenFile(only(t, dst, ".obskeep-part-*"), os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("rot"), 1<<20)
			require.NoError(t, errors.Join(err, f.Close()))
		}},
		{"the kept part is shorter", func(t *testing.T, src, dst string) {
			require.NoError(t, os.Truncate(only(t, dst, ".obskeep-part-*"), 1<<20))
		}},
		{"the note beside it is torn", func(t *testing.T, src, dst string) {
			require.NoError(t, os.Truncate(only(t, dst, ".obskeep-kept-*"), 100))
		}},
		{"the source has changed, but neither its size nor its time", func(t *testing.T, src, dst string) {
			write(t, src, "big", randomBytes(2, bigSize))
			stamp(t, src, ".", later)
		}},
		{"the source is shorter now", func(t *testing.T, src, dst string) {
			write(t, src, "big", randomBytes(1, 3<<20))
			stamp(t, src, ".", later)
		}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			src, dst := t.TempDir(), t.TempDir()
			write(t, src, "big", data)
			require.NoError(t, os.CopyFS(dst, os.DirFS(left)))
			row.change(t, src, dst)
			res, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
			require.NoError(t, err)
			require.Zero(t, res.Resumed)
			requireSameTree(t, src, dst)
		})
	}
}

// only is the one file that matches a pattern.
func only(t *testing.T, dir, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	require.Len(t, files, 1)
	return files[0]
}

// A transfer whose connection is cut at every tenth of it arrives all the
// same, and without sending much twice.
func TestMirror_SurvivesACutAtEveryTenth(t *testing.T) {
	t.Parallel()
	sshd := sshtest.Start(t)
	plain := sshtest.Start(t, "ForceCommand internal-sftp")
	const size = 32 << 20
	data := randomBytes(1, size)
	for _, row := range []struct {
		rule string
		sshd *sshtest.Sshd
		pull bool
	}{
		{"pulled", sshd, true},
		{"pushed", sshd, false},
		{"pulled from where nothing can be run", plain, true},
		{"pushed to where nothing can be run", plain, false},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			proxy := sshtest.NewProxy(t, row.sshd.Addr)
			here, there := t.TempDir(), t.TempDir()
			far := remote(t, row.sshd.Via(t, proxy), there)
			src, dst, from, to := transfer.Store(local(t, here)), transfer.Store(far), here, there
			if row.pull {
				src, dst, from, to = far, local(t, here), there, here
			}
			write(t, from, "big", data)
			write(t, from, "small", data[:2000])
			stamp(t, from, ".", noon)
			var cuts []int64
			for i := range 9 {
				cuts = append(cuts, int64(i+1)*size/10)
			}
			received, sent := proxy.Bytes()
			proxy.CutAt(cuts...)
			res, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Pause: time.Millisecond, Verify: transfer.VerifyNone})
			require.NoError(t, err)
			require.Zero(t, proxy.CutsLeft())
			require.Equal(t, res.Size, res.Literal+res.Resumed)
			r, s := proxy.Bytes()
			wire := r + s - received - sent
			t.Logf("%d bytes on the wire for %d", wire, size)
			require.Less(t, wire, int64(size*3/2))
			got, err := os.ReadFile(filepath.Join(to, "big"))
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
			require.Empty(t, hidden(tree(t, to)))
		})
	}
}

// When the source is lost while it is asked whether the kept part matches,
// what is kept stays and is used once the source is back.
func TestMirror_KeepsWhatItCannotProveYet(t *testing.T) {
	t.Parallel()
	for _, into := range []func(t *testing.T) transfer.Store{
		func(t *testing.T) transfer.Store { return new(storetest.Mem) },
		func(t *testing.T) transfer.Store { return local(t, t.TempDir()) },
	} {
		dst := into(t)
		src := new(storetest.Mem)
		src.Put(transfer.Info{Name: "x", ModTime: noon}, randomBytes(1, 10<<20))
		src.Fault = cutAfter("read", 5, errors.New("cut"))
		_, err := transfer.Pull(t.Context(), dst, src, "x", nil)
		require.Error(t, err)
		src.Fault = cutAfter("open", 0, transfer.ErrLost)
		_, err = transfer.Pull(t.Context(), dst, src, "x", &transfer.Options{Retries: 2, Pause: 1})
		var lost *transfer.LostError
		require.ErrorAs(t, err, &lost)
		require.Equal(t, 3, lost.Attempts)
		src.Fault = nil
		stats, err := transfer.Pull(t.Context(), dst, src, "x", nil)
		require.NoError(t, err)
		require.Equal(t, int64(5<<20), stats.Resumed)
		require.Equal(t, int64(5<<20), stats.Literal)
	}
}

// When the answer to a commit is lost, the file is not sent again.
func TestMirror_SeesThatALostCommitWasDone(t *testing.T) {
	t.Parallel()
	dst, src := new(storetest.Mem), new(storetest.Mem)
	data := randomBytes(1, 2<<20)
	src.Put(transfer.Info{Name: "x", ModTime: noon}, data)
	dst.Fault = func(op, name string) error {
		if op == "commit" && dst.Data("x") == nil {
			dst.Put(transfer.Info{Name: "x", ModTime: noon}, data)
			return transfer.ErrLost
		}
		return nil
	}
	reads := 0
	src.Fault = func(op, name string) error {
		if op == "open" {
			reads++
		}
		return nil
	}
	res, err := transfer.Mirror(t.Context(), forgetful{dst}, src, &transfer.Options{Pause: 1})
	require.NoError(t, err)
	require.Equal(t, 1, reads)
	require.Equal(t, transfer.Stats{Size: 2 << 20, Literal: 2 << 20, Files: 1, Copied: 1, Verified: 1}, res.Stats)
	require.Len(t, res.Sent, 1)
}

// forgetful is a store that keeps nothing of an upload that was cut.
type forgetful struct{ *storetest.Mem }

func (f forgetful) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := f.Mem.Create(ctx, info)
	return forgetfulUpload{up}, err
}

type forgetfulUpload struct{ transfer.Upload }

func (forgetfulUpload) Resume(context.Context, func(transfer.Kept) (bool, error)) (int64, error) {
	return 0, nil
}

// Totals stay true when something has to be sent again.
func TestMirror_CountsNothingTwice(t *testing.T) {
	t.Parallel()
	for _, dst := range []transfer.Store{new(storetest.Mem), forgetful{new(storetest.Mem)}} {
		src := new(storetest.Mem)
		src.Put(transfer.Info{Name: "x", ModTime: noon}, randomBytes(1, 10<<20))
		n := 0
		src.Fault = func(op, _ string) error {
			if op == "read" {
				if n++; n == 3 || n == 7 {
					return transfer.ErrLost
				}
			}
			return nil
		}
		res, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Pause: 1})
		require.NoError(t, err)
		require.Equal(t, transfer.Stats{Size: 10 << 20, Literal: 10 << 20, Files: 1, Copied: 1, Verified: 1}, res.Stats)
	}
}
