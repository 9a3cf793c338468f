package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"path"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// fetcher is a store that sends many files at once, in its own way.
type fetcher struct {
	*storetest.Mem
	calls int
	send  func(call int, w transfer.Want, data []byte) error
}

func (f *fetcher) Fetch(_ context.Context, dir string, wants []transfer.Want, _ int) error {
	f.calls++
	for _, w := range wants {
		if err := f.send(f.calls, w, f.Data(path.Join(dir, w.Name))); err != nil {
			return err
		}
	}
	return nil
}

func deliver(w transfer.Want, data []byte, result error) error {
	out, err := w.Create()
	if err != nil {
		return err
	}
	if err := out.Literal(data); err != nil {
		return errors.Join(err, out.Done(err))
	}
	return out.Done(result)
}

// Whatever becomes of the files that a source sends at once, all arrive as they
// are, are counted once, and none that changed meanwhile is shown half old.
func TestMirror_FetchesWhatCanBeSentAtOnce(t *testing.T) {
	t.Parallel()
	names := []string{"d/a", "d/b", "d/c"}
	for _, row := range []struct {
		name  string
		send  func(src *storetest.Mem) func(call int, w transfer.Want, data []byte) error
		calls int
	}{
		{"all come", func(*storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(_ int, w transfer.Want, data []byte) error { return deliver(w, data, nil) }
		}, 1},
		{"none comes", func(*storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(int, transfer.Want, []byte) error { return nil }
		}, 1},
		{"it cannot be", func(*storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(int, transfer.Want, []byte) error { return errors.ErrUnsupported }
		}, 1},
		{"it breaks off", func(*storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(_ int, w transfer.Want, data []byte) error {
				if w.Name == "d/b" {
					_ = deliver(w, data[:2], errors.New("broken"))
					return errors.New("broken")
				}
				return deliver(w, data, nil)
			}
		}, 1},
		{"the connection is lost", func(*storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(call int, w transfer.Want, data []byte) error {
				if w.Name == "d/b" && call < 3 {
					_ = deliver(w, data[:2], transfer.ErrLost)
					return transfer.ErrLost
				}
				return deliver(w, data, nil)
			}
		}, 3},
		{"one is damaged", func(*storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(_ int, w transfer.Want, data []byte) error {
				return deliver(w, append([]byte("x"), data[1:]...), transfer.ErrCorrupt)
			}
		}, 1},
		{"one is too short", func(*storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(_ int, w transfer.Want, data []byte) error { return deliver(w, data[1:], nil) }
		}, 1},
		{"the source changes meanwhile", func(src *storetest.Mem) func(int, transfer.Want, []byte) error {
			return func(_ int, w transfer.Want, data []byte) error {
				torn := append([]byte("x"), data[1:]...)
				src.Put(transfer.Info{Name: w.Name, ModTime: noon.Add(time.Hour)}, data)
				return deliver(w, torn, nil)
			}
		}, 1},
	} {
		for _, group := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				mem := new(storetest.Mem)
				src := &fetcher{Mem: mem, send: row.send(mem)}
				for _, name := range names {
					mem.Put(transfer.Info{Name: name, ModTime: noon}, []byte("bytes of "+name))
				}
				dst := new(storetest.Mem)
				into := transfer.Store(dst)
				if group {
					into = groupMem{dst}
				}
				res, err := transfer.Mirror(t.Context(), into, src, nil)
				require.NoError(t, err, row.name)
				for _, name := range names {
					require.Equal(t, "bytes of "+name, string(dst.Data(name)), row.name)
				}
				require.Equal(t, row.calls, src.calls, row.name)
				res.Literal += res.Resumed // of what broke off
				res.Resumed = 0
				require.Equal(t, transfer.Stats{Size: 36, Literal: 36, Files: 3, Copied: 3, Verified: 3}, res.Stats, row.name)
				require.Len(t, res.Sent, 3, row.name)
			})
		}
	}
}

// What was sent at once, and is lost with the connection before it is under its
// name, is sent so again.
func TestMirror_FetchesAgainWhatWasLostBeforeItsCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := &fetcher{Mem: new(storetest.Mem), send: func(_ int, w transfer.Want, data []byte) error { return deliver(w, data, nil) }}
		src.Put(transfer.Info{Name: "a", ModTime: noon}, []byte("bytes of a"))
		asked := 0
		src.Fault = func(op, name string) error {
			if op == "stat" && name == "a" {
				if asked++; asked == 1 {
					return transfer.ErrLost
				}
			}
			require.NotEqual(t, "open", op, "it is sent alone")
			return nil
		}
		res, err := transfer.Mirror(t.Context(), groupMem{new(storetest.Mem)}, src, nil)
		require.NoError(t, err)
		require.Equal(t, 2, src.calls)
		require.Equal(t, transfer.Stats{Size: 10, Literal: 10, Files: 1, Copied: 1, Verified: 1}, res.Stats)
	})
}

// groupTaker is a store that commits in groups, and takes nothing before the
// upload of one file is closed.
type groupTaker struct {
	groupMem
	file   string
	closed chan struct{}
	once   sync.Once
}

func (g *groupTaker) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := g.groupMem.Create(ctx, info)
	if err == nil && info.Name == g.file {
		up = &closing{up, func() { g.once.Do(func() { close(g.closed) }) }}
	}
	return up, err
}

func (g *groupTaker) Take(context.Context, string, []transfer.Offer, bool) error {
	<-g.closed
	return nil
}

type closing struct {
	transfer.Upload
	closed func()
}

func (c *closing) Close() error {
	defer c.closed()
	return c.Upload.Close()
}

// What has been handed over to be committed is left alone by what else goes on,
// and is sent again if it is found to have changed.
func TestMirror_LeavesToAGroupWhatIsInIt(t *testing.T) {
	t.Parallel()
	mem := new(storetest.Mem)
	mem.Put(transfer.Info{Name: "a", ModTime: noon}, []byte("old"))
	mem.Put(transfer.Info{Name: "b", ModTime: noon}, []byte("b"))
	src := &fetcher{Mem: mem, send: func(_ int, w transfer.Want, data []byte) error {
		if w.Name == "b" {
			return nil
		}
		mem.Put(transfer.Info{Name: "a", ModTime: later}, []byte("new"))
		return deliver(w, data, nil)
	}}
	dst := &groupTaker{groupMem: groupMem{new(storetest.Mem)}, file: "a", closed: make(chan struct{})}
	_, err := transfer.Mirror(t.Context(), dst, src, nil)
	require.NoError(t, err)
	require.Equal(t, "new", string(dst.Data("a")))
	require.Equal(t, "b", string(dst.Data("b")))
}

// sharer is a store whose copies share blocks, and which counts what is written
// over them.
type sharer struct {
	*storetest.Mem
	written int
	spoilt  bool // what is copied
}

func (s *sharer) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := s.Mem.Create(ctx, info)
	return shared{up, up.(transfer.Copier), s}, err
}

type shared struct {
	transfer.Upload
	transfer.Copier
	of *sharer
}

func (s shared) Copy(ctx context.Context, share bool) error {
	err := s.Copier.Copy(ctx, share)
	if s.of.spoilt {
		_, err = s.Copier.WriteAt([]byte("x"), 1000)
	}
	return err
}

func (s shared) WriteAt(p []byte, off int64) (int, error) {
	s.of.written += len(p)
	return s.Copier.WriteAt(p, off)
}

// Where a copy can share the blocks of the previous version, only what differs
// from it, or has moved, is written; the whole is proved.
func TestMirror_WritesOnlyWhatDiffersWhereBlocksCanBeShared(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	old := randomBytes(1, 20*mib)
	data := bytes.Clone(old)
	copy(data[5*mib:6*mib], randomBytes(2, mib))
	copy(data[7*mib:8*mib], old[:mib]) // moved
	for _, verify := range []transfer.Verify{transfer.VerifyTransferred, transfer.VerifyNone} {
		for _, row := range []struct {
			rule   string
			spoilt bool
			sent   int64
		}{
			{"the copy is good", false, mib},
			{"the copy is not what was read", true, 20 * mib},
		} {
			mem := new(storetest.Mem)
			src := &fetcher{Mem: mem, send: func(_ int, w transfer.Want, data []byte) error {
				require.NotNil(t, w.Basis)
				out, err := w.Create()
				require.NoError(t, err)
				for off := 0; off < len(data); off += mib {
					switch piece := data[off : off+mib]; off {
					case 5 * mib:
						err = errors.Join(err, out.Literal(piece))
					case 7 * mib:
						err = errors.Join(err, out.Matched(piece, 0))
					default:
						err = errors.Join(err, out.Matched(piece, int64(off)))
					}
				}
				return errors.Join(err, out.Done(err))
			}}
			mem.Put(transfer.Info{Name: "image", ModTime: later}, data)
			dst := &sharer{Mem: new(storetest.Mem), spoilt: row.spoilt}
			dst.Put(transfer.Info{Name: "image", ModTime: noon}, old)
			res, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Verify: verify})
			require.NoError(t, err, row.rule)
			require.True(t, bytes.Equal(data, dst.Data("image")), row.rule)
			require.Equal(t, row.sent, res.Literal+res.Resumed, row.rule)
			require.Equal(t, int64(20*mib), res.Literal+res.Resumed+res.Matched, row.rule)
			require.Equal(t, 2*mib, dst.written, row.rule)
		}
	}
}

// A file that has nothing in common with what is there is sent as it is, sooner
// than all of it is searched, where the line is fast.
func TestMirror_DoesNotSearchInVain(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	data := randomBytes(2, 132*mib)
	for _, row := range []struct {
		rule  string
		pause time.Duration // for each MiB
		same  int           // MiB of it that were there, first
		calls int           // of Fetch
		whole bool          // the file comes in the first
	}{
		{"fast, and nothing in common", 0, 0, 1, false},
		{"fast, and something in common", 0, 5, 1, true},
		{"slow", 70 * time.Millisecond, 0, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			mem, dst := new(storetest.Mem), new(storetest.Mem)
			mem.Put(transfer.Info{Name: "image", ModTime: later}, data)
			dst.Put(transfer.Info{Name: "image", ModTime: noon}, make([]byte, 132*mib))
			whole := false
			src := &fetcher{Mem: mem, send: func(_ int, w transfer.Want, data []byte) error {
				out, err := w.Create()
				require.NoError(t, err)
				for off := 0; off < len(data) && err == nil; off += mib {
					time.Sleep(row.pause)
					if piece := data[off : off+mib]; off < row.same*mib {
						err = out.Matched(piece, int64(off+1))
					} else {
						err = out.Literal(piece)
					}
				}
				whole = err == nil
				return errors.Join(err, out.Done(err))
			}}
			_, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Verify: transfer.VerifyNone})
			require.NoError(t, err, row.rule)
			require.Equal(t, row.whole, whole, row.rule)
			require.Equal(t, row.calls, src.calls, row.rule)
			require.True(t, bytes.Equal(data, dst.Data("image")), row.rule)
		})
	}
}

// What changed in the middle of a large file comes as the difference where the
// far side has rsync, and with times to the nanosecond; where it has not, the
// tree is the same all the same.
func TestMirror_PullsDifferencesWithTheRsyncOfTheFarSide(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		lines []string
		delta bool
	}{
		{"rsync is there", nil, true},
		{"nothing can be run", []string{"ForceCommand internal-sftp"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			sshtest.Need(t, "rsync")
			sshd := sshtest.Start(t, row.lines...)
			there, here := t.TempDir(), t.TempDir()
			data := randomBytes(1, 20<<20)
			write(t, here, "image", data)
			stamp(t, here, "image", noon)
			copy(data[10<<20:], "changed")
			write(t, there, "image", data)
			write(t, there, "sub/odd\nname", []byte("small"))
			at := later.Add(123456789 * time.Nanosecond)
			stamp(t, there, "image", at)
			far := remote(t, sshd.Config(), there)
			res, err := transfer.Mirror(t.Context(), local(t, here), far, nil)
			require.NoError(t, err)
			require.Equal(t, res.Size, res.Matched+res.Literal)
			got := tree(t, here)
			if row.delta {
				require.Less(t, res.Literal, int64(64<<10))
				requireSameTree(t, there, here)
			} else {
				require.Equal(t, res.Size, res.Literal)
			}
			require.Equal(t, tree(t, there)["image"].Data, got["image"].Data)
		})
	}
}

// What was sent of a difference before the line was cut is not sent again.
func TestMirror_GoesOnWithADifferenceThatWasCut(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	there, here := t.TempDir(), t.TempDir()
	data := randomBytes(1, 24<<20)
	write(t, here, "image", data)
	stamp(t, here, "image", noon)
	data = append(randomBytes(2, 20<<20), data[20<<20:]...)
	write(t, there, "image", data)
	stamp(t, there, "image", later)
	far := remote(t, sshtest.Start(t).Config(), there)
	ctx, cancel := context.WithCancel(t.Context())
	sent := int64(0)
	_, err := transfer.Mirror(ctx, local(t, here), far, &transfer.Options{Bandwidth: 20 << 20, Progress: func(s transfer.Stats) {
		if s.Literal > 15<<20 {
			sent = s.Literal
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Greater(t, sent, int64(15<<20))
	res, err := transfer.Mirror(t.Context(), local(t, here), far, nil)
	require.NoError(t, err)
	require.Less(t, res.Literal, int64(8<<20))
	require.Equal(t, tree(t, there)["image"].Data, tree(t, here)["image"].Data)
}
