package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// Between directories, modes, times to the nanosecond and links are kept.
func TestMirror_KeepsModesTimesAndLinks(t *testing.T) {
	t.Parallel()
	src, dst := day(t), t.TempDir()
	for name, target := range map[string]string{
		"outside": "/etc/passwd", "dangling": "no such file", "up": "../../..", "dir": "268", "odd": "a\n\xff",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(src, name)))
	}
	stamp(t, src, ".", later)
	res, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	requireSameTree(t, src, dst)
	require.Equal(t, transfer.Stats{Size: 3<<20 + 2004, Literal: 3<<20 + 2004, Files: 4, Copied: 4, Verified: 4}, res.Stats)
	require.Len(t, res.Sent, 4)
}

// Over SFTP alone, times are kept to the second.
func TestMirror_KeepsWholeSecondsOverSFTP(t *testing.T) {
	t.Parallel()
	c := sshtest.Start(t, "ForceCommand internal-sftp").Config()
	src, dst := day(t), t.TempDir()
	_, err := transfer.Mirror(t.Context(), remote(t, c, dst), local(t, src), nil)
	require.NoError(t, err)
	want := tree(t, src)
	for name, e := range want {
		e.Time = e.Time.Truncate(1e9)
		want[name] = e
	}
	require.Empty(t, cmp.Diff(want, tree(t, dst)))
}

// A second mirror finds nothing to do: no data, no step, and over SSH next to
// no bytes.
func TestMirror_TwiceDoesNothing(t *testing.T) {
	t.Parallel()
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	c := sshd.Via(t, proxy)
	src := day(t)
	for _, row := range []struct {
		rule string
		dst  transfer.Store
		src  transfer.Store
	}{
		{"directory to directory", local(t, t.TempDir()), local(t, src)},
		{"push over SFTP", remote(t, c, t.TempDir()), local(t, src)},
		{"pull over SFTP", local(t, t.TempDir()), remote(t, c, src)},
		{"into memory", new(storetest.Mem), local(t, src)},
	} {
		t.Run(row.rule, func(t *testing.T) {
			_, err := transfer.Mirror(t.Context(), row.dst, row.src, nil)
			require.NoError(t, err)
			received, sent := proxy.Bytes()
			plan, err := transfer.PlanMirror(t.Context(), row.dst, row.src, nil)
			require.NoError(t, err)
			for _, s := range plan.Steps {
				require.Equal(t, transfer.Leave, s.Action, s.Info.Name)
			}
			res, err := plan.Run(t.Context())
			require.NoError(t, err)
			require.Equal(t, transfer.Stats{Size: 3<<20 + 2004, Matched: 3<<20 + 2004, Files: 4}, res.Stats)
			require.Empty(t, res.Sent)
			r, s := proxy.Bytes()
			require.Less(t, r+s-received-sent, int64(16<<10), "bytes on the wire")
		})
	}
}

// A change of mode or time alone costs no data.
func TestMirror_SendsNoDataForANewMode(t *testing.T) {
	t.Parallel()
	src, dst := day(t), t.TempDir()
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(filepath.Join(src, "268/0100.dat"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(src, "void"), 0o700))
	res, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	require.Zero(t, res.Literal)
	requireSameTree(t, src, dst)
}

// Nothing is removed from the destination.
func TestMirror_RemovesNothing(t *testing.T) {
	t.Parallel()
	src, dst := day(t), t.TempDir()
	write(t, dst, "kept/old.dat", []byte("old"))
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(dst, "kept/old.dat"))
	require.NoError(t, err)
	require.Equal(t, "old", string(got))
}

// A link is never followed: what it points to is neither read nor written,
// at the source and at the destination.
func TestMirror_NeverFollowsALink(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, outside, "secret", []byte("secret"))
	before := tree(t, outside)
	src, dst := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(src, "link")))
	write(t, src, "file", []byte("file"))
	write(t, src, "dir/x", []byte("x"))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dst, "file")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dst, "dir")))

	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.Equal(t, []string{"write dir"}, failures(t, err))
	require.Empty(t, cmp.Diff(before, tree(t, outside)))
	fi, err := os.Lstat(filepath.Join(dst, "file"))
	require.NoError(t, err)
	require.True(t, fi.Mode().IsRegular(), "the file took the place of the link")
	require.NoFileExists(t, filepath.Join(dst, "link", "link"))
}

// Names that the library has reserved are skipped, and reported.
func TestMirror_SkipsReservedNames(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, transfer.ReservedPrefix+"stage-1/x", nil)
	write(t, src, "x", nil)
	res, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	require.Equal(t, []transfer.Skip{{Name: ".obskeep-stage-1", Reason: "the name is reserved"}}, res.Skipped)
	require.NoDirExists(t, filepath.Join(dst, ".obskeep-stage-1"))
}

// A plan changes nothing.
func TestPlanMirror_ChangesNothing(t *testing.T) {
	t.Parallel()
	src, dst := day(t), t.TempDir()
	before := tree(t, dst)
	plan, err := transfer.PlanMirror(t.Context(), local(t, dst), local(t, src), &transfer.Options{To: "2026/268"})
	require.NoError(t, err)
	all, send := plan.Size()
	require.Equal(t, int64(3<<20+2004), all)
	require.Equal(t, all, send)
	require.Empty(t, cmp.Diff(before, tree(t, dst)))
	_, err = plan.Run(t.Context())
	require.NoError(t, err)
	requireSameTree(t, src, filepath.Join(dst, "2026/268"))
}

// A tree that is not there, or not a directory, is one error.
func TestPlanMirror_NeedsADirectory(t *testing.T) {
	t.Parallel()
	src := day(t)
	for from, want := range map[string]error{"none": fs.ErrNotExist, "empty": nil, "268/latest": nil} {
		_, err := transfer.PlanMirror(t.Context(), new(storetest.Mem), local(t, src), &transfer.Options{From: from})
		var file *transfer.FileError
		require.ErrorAs(t, err, &file, from)
		require.Equal(t, from, file.Name)
		if want != nil {
			require.ErrorIs(t, err, want)
		}
	}
	_, err := transfer.PlanMirror(t.Context(), local(t, src), new(storetest.Mem), &transfer.Options{To: "268/latest"})
	require.Error(t, err, "a destination that is a link")
}

// failing fails one operation on one name.
func failing(op, name string, err error) func(op, name string) error {
	return func(o, n string) error {
		if o == op && n == name {
			return err
		}
		return nil
	}
}

// What cannot be read, at whatever step, is named; all the rest is copied.
func TestMirror_DoesTheRestAfterAFailure(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, op, name, want string }{
		{"a file that cannot be opened", "open", "b/2", "read b/2"},
		{"a file that cannot be read", "read", "b/2", "read b/2"},
		{"a directory that cannot be listed", "list", "b", "list b"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			src := &storetest.Mem{Fault: failing(row.op, row.name, fs.ErrPermission)}
			dst := new(storetest.Mem)
			for _, name := range []string{"a/1", "b/1", "b/2", "b/3", "c/1"} {
				src.Put(transfer.Info{Name: name, ModTime: noon}, []byte(name))
			}
			res, err := transfer.Mirror(t.Context(), dst, src, nil)
			require.Equal(t, []string{row.want}, failures(t, err))
			require.ErrorIs(t, err, fs.ErrPermission)
			for _, name := range []string{"a/1", "c/1"} {
				require.Equal(t, name, string(dst.Data(name)))
			}
			require.NotContains(t, dst.Names(), "b/2")
			require.Len(t, res.Sent, res.Copied)

			src.Fault = nil
			_, err = transfer.Mirror(t.Context(), dst, src, nil)
			require.NoError(t, err)
			require.Equal(t, src.Names(), dst.Names())
		})
	}
}

// What the destination refuses is named; all the rest is copied. A directory
// stands for all that is in it.
func TestMirror_DoesTheRestAfterARefusal(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, op, name, want string }{
		{"a file that cannot be created", "create", "b/2", "write b/2"},
		{"a file that cannot be written", "write", "b/2", "write b/2"},
		{"a file that cannot be committed", "commit", "b/2", "write b/2"},
		{"a directory that cannot be made", "mkdir", "b", "write b"},
		{"a directory whose mode cannot be set", "setinfo", "b", "write b"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			src := new(storetest.Mem)
			dst := &storetest.Mem{Fault: failing(row.op, row.name, fs.ErrPermission)}
			for _, name := range []string{"a/1", "b/1", "b/2", "c/1"} {
				src.Put(transfer.Info{Name: name, ModTime: noon}, []byte(name))
			}
			_, err := transfer.Mirror(t.Context(), dst, src, nil)
			require.Equal(t, []string{row.want}, failures(t, err))
			require.Equal(t, "a/1", string(dst.Data("a/1")))
			require.Equal(t, "c/1", string(dst.Data("c/1")))
			if row.op == "mkdir" {
				require.NotContains(t, dst.Names(), "b/1")
			}
		})
	}
}

// A directory of the destination that cannot be listed is one failure: nothing
// is sent into it blindly.
func TestMirror_ReportsADestinationItCannotList(t *testing.T) {
	t.Parallel()
	src, dst := new(storetest.Mem), &storetest.Mem{Fault: failing("list", "b", fs.ErrPermission)}
	for _, name := range []string{"a/1", "b/1", "b/c/1"} {
		src.Put(transfer.Info{Name: name, ModTime: noon}, []byte(name))
	}
	dst.Put(transfer.Info{Name: "b/1", ModTime: noon}, []byte("b/1"))
	res, err := transfer.Mirror(t.Context(), dst, src, nil)
	require.Equal(t, []string{"list b"}, failures(t, err))
	require.Equal(t, 1, res.Copied)
	require.Equal(t, "a/1", string(dst.Data("a/1")))
}

// A file that vanishes between the listing and the reading is named.
func TestMirror_ReportsAFileThatVanishes(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "gone", []byte("gone"))
	write(t, src, "here", []byte("here"))
	plan, err := transfer.PlanMirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(src, "gone")))
	_, err = plan.Run(t.Context())
	require.Equal(t, []string{"read gone"}, failures(t, err))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.FileExists(t, filepath.Join(dst, "here"))
	require.NoFileExists(t, filepath.Join(dst, "gone"))
	require.Empty(t, hidden(tree(t, dst)))
}

// A directory in the way of a file, or a file in the way of a directory, stays
// as it is and is one failure.
func TestMirror_LeavesWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "x", []byte("a file"))
	write(t, src, "y/in/it", []byte("in a directory"))
	write(t, src, "y-", []byte("beside it"))
	write(t, dst, "x/old", []byte("old"))
	write(t, dst, "y", []byte("old"))
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.Equal(t, []string{"write x", "write y"}, failures(t, err))
	for _, name := range []string{"x/old", "y"} {
		got, err := os.ReadFile(filepath.Join(dst, name))
		require.NoError(t, err)
		require.Equal(t, "old", string(got))
	}
	require.FileExists(t, filepath.Join(dst, "y-"))
}

// What comes into the way after the plan was made stays, too.
func TestMirror_LeavesADirectoryThatCameIntoTheWay(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "x", []byte("a file"))
	write(t, src, "big", randomBytes(1, 2<<20))
	plan, err := transfer.PlanMirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	write(t, dst, "x/old", []byte("old"))
	write(t, dst, "big/old", []byte("old"))
	_, err = plan.Run(t.Context())
	require.Equal(t, []string{"write big", "write x"}, failures(t, err))
	require.FileExists(t, filepath.Join(dst, "x/old"))
	require.FileExists(t, filepath.Join(dst, "big/old"))
}

// Names are bytes: newlines, what is not UTF-8, 255 of them.
func TestMirror_TakesAnyName(t *testing.T) {
	t.Parallel()
	names := []string{
		"line\nbreak", "\xff\xfe", "ž", " ", "-", "\\", "*?[a]", "quote'\"`$(x)", strings.Repeat("n", 255),
		"dir\n\xff/" + strings.Repeat("m", 255),
	}
	src, there, back := t.TempDir(), t.TempDir(), t.TempDir()
	for _, name := range names {
		write(t, src, name, []byte(name))
	}
	for _, d := range []string{"dir\n\xff", "."} {
		stamp(t, src, d, noon.Truncate(1e9))
	}
	for _, name := range names {
		stamp(t, src, name, noon.Truncate(1e9))
	}
	c := sshtest.Start(t).Config()
	_, err := transfer.Mirror(t.Context(), remote(t, c, there), local(t, src), nil)
	require.NoError(t, err)
	_, err = transfer.Mirror(t.Context(), local(t, back), remote(t, c, there), nil)
	require.NoError(t, err)
	requireSameTree(t, src, there)
	requireSameTree(t, src, back)
}

// changing is a store in memory whose file grows each time that it is read.
func changing(name string, times int) *storetest.Mem {
	m := new(storetest.Mem)
	data := []byte("0")
	m.Put(transfer.Info{Name: name, ModTime: noon}, data)
	var mu sync.Mutex
	n := 0
	m.Fault = func(op, of string) error {
		mu.Lock()
		defer mu.Unlock()
		if op == "read" && of == name && n < times {
			n++
			data = append(slices.Clone(data), byte('0'+n))
			m.Put(transfer.Info{Name: name, ModTime: noon.Add(1e9 * 1)}, data)
		}
		return nil
	}
	return m
}

// A source that changes while it is read is read once more, as what it has
// become.
func TestMirror_ReadsAChangedSourceOnceMore(t *testing.T) {
	t.Parallel()
	src, dst := changing("log", 1), new(storetest.Mem)
	res, err := transfer.Mirror(t.Context(), dst, src, nil)
	require.NoError(t, err)
	require.Equal(t, "01", string(dst.Data("log")))
	require.Equal(t, transfer.Stats{Size: 2, Literal: 2, Files: 1, Copied: 1, Verified: 1}, res.Stats)
}

// A source that goes on changing while it is read is reported, and not kept.
func TestMirror_ReportsASourceThatChanged(t *testing.T) {
	t.Parallel()
	src, dst := changing("log", 1000), new(storetest.Mem)
	dst.Put(transfer.Info{Name: "log", ModTime: noon}, []byte("as it was before"))
	_, err := transfer.Mirror(t.Context(), dst, src, nil)
	require.Equal(t, []string{"read log"}, failures(t, err))
	require.ErrorIs(t, err, transfer.ErrChanged)
	require.Equal(t, "as it was before", string(dst.Data("log")))
}

// bucket is a Store and nothing else.
type bucket struct{ transfer.Store }

// Into a store without directories go the files; what else there is, is said.
func TestMirror_IntoABucketTakesFilesOnly(t *testing.T) {
	t.Parallel()
	dst := new(storetest.Mem)
	res, err := transfer.Mirror(t.Context(), bucket{dst}, local(t, day(t)), nil)
	require.NoError(t, err)
	require.Equal(t, []transfer.Skip{{Name: "268/latest", Reason: "the destination keeps files only"}}, res.Skipped)
	require.Equal(t, 4, res.Copied)
	require.NotContains(t, dst.Names(), "void")
}

// When the context ends, a mirror returns its cause; the next one does the rest.
func TestMirror_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("shutting down")
	for _, into := range []func(t *testing.T) transfer.Store{
		func(t *testing.T) transfer.Store { return new(storetest.Mem) },
		func(t *testing.T) transfer.Store { return local(t, t.TempDir()) },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		var reads atomic.Int32
		src := new(storetest.Mem)
		src.Fault = func(op, _ string) error {
			if op == "read" && reads.Add(1) == 20 {
				cancel(cause)
			}
			return nil
		}
		for i := range 100 {
			src.Put(transfer.Info{Name: string(rune('a'+i%26)) + "/" + string(rune('0'+i/26)), ModTime: noon}, []byte{byte(i)})
		}
		dst := into(t)
		res, err := transfer.Mirror(ctx, dst, src, nil)
		require.ErrorIs(t, err, cause)
		require.NotNil(t, res)
		require.Less(t, res.Copied, 100)
		src.Fault = nil
		res, err = transfer.Mirror(t.Context(), dst, src, nil)
		require.NoError(t, err)
		require.Equal(t, 100, res.Files)
		c, err := transfer.Compare(t.Context(), src, dst, &transfer.Options{Verify: transfer.VerifyAll})
		require.NoError(t, err)
		require.True(t, c.Equal())
	}
}

// Several files are in flight at once, as many as there are workers.
func TestMirror_HasSeveralFilesInFlight(t *testing.T) {
	t.Parallel()
	const workers = 4
	var inFlight, most atomic.Int32
	all := make(chan struct{})
	src := new(storetest.Mem)
	src.Fault = func(op, _ string) error {
		if op != "open" {
			return nil
		}
		n := inFlight.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == workers {
			close(all)
		}
		<-all // nobody gets on until all are here
		return nil
	}
	for i := range workers {
		src.Put(transfer.Info{Name: string(rune('a' + i)), ModTime: noon}, []byte("x"))
	}
	_, err := transfer.Mirror(t.Context(), new(storetest.Mem), src, &transfer.Options{Workers: workers})
	require.NoError(t, err)
	require.Equal(t, int32(workers), most.Load())
}

// The directories of one level are made, and get their times, side by side:
// each takes a round trip.
func TestMirror_MakesDirectoriesSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const trip = time.Second
		src, dst := new(storetest.Mem), new(storetest.Mem)
		for _, dir := range []string{"a", "b", "c", "d", "e", "a/x", "a/y", "b/x", "b/y"} {
			require.NoError(t, src.Mkdir(t.Context(), transfer.Info{Name: dir, Mode: 0o755}))
		}
		begun := make(map[string]time.Duration) // of each call, by when
		var mu sync.Mutex
		start := time.Now()
		dst.Fault = func(op, name string) error {
			if op == "mkdir" || op == "setinfo" {
				mu.Lock()
				begun[op+" "+name] = time.Since(start)
				mu.Unlock()
				time.Sleep(trip)
			}
			return nil
		}
		_, err := transfer.Mirror(t.Context(), dst, src, nil)
		require.NoError(t, err)
		want := map[string]time.Duration{"setinfo .": 4 * trip}
		for dir, depth := range map[string]time.Duration{"a": 0, "b": 0, "c": 0, "d": 0, "e": 0, "a/x": 1, "a/y": 1, "b/x": 1, "b/y": 1} {
			want["mkdir "+dir], want["setinfo "+dir] = depth*trip, (3-depth)*trip
		}
		require.Empty(t, cmp.Diff(want, begun))
	})
}

// The totals that Progress gets are those of one goroutine, the caller's, and
// end where all files are.
func TestMirror_ReportsProgressToTheCaller(t *testing.T) {
	t.Parallel()
	src := new(storetest.Mem)
	src.Put(transfer.Info{Name: "a", ModTime: noon}, bytes.Repeat([]byte("a"), 3<<20))
	src.Put(transfer.Info{Name: "b", ModTime: noon}, bytes.Repeat([]byte("b"), 100))
	me := goroutine()
	var seen []transfer.Stats
	res, err := transfer.Mirror(t.Context(), new(storetest.Mem), src, &transfer.Options{
		Bandwidth: 8 << 20,
		Progress: func(s transfer.Stats) {
			require.Equal(t, me, goroutine())
			seen = append(seen, s) // a race, were it another goroutine
		},
	})
	require.NoError(t, err)
	require.Greater(t, len(seen), 1)
	for i, s := range seen {
		require.Equal(t, int64(3<<20+100), s.Size, "known from the start")
		if i > 0 {
			require.GreaterOrEqual(t, s.Literal, seen[i-1].Literal)
		}
	}
	last := seen[len(seen)-1]
	require.Equal(t, res.Stats, last)
	require.Equal(t, last.Size, last.Matched+last.Literal+last.Resumed)
}
