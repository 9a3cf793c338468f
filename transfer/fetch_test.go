package transfer_test

import (
	"context"
	"errors"
	"path"
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
