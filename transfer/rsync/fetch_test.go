//go:build linux

package rsync_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// kept is a file in memory.
type kept struct {
	bytes.Buffer
	matched int
	done    func(data []byte, err error)
}

func (k *kept) Literal(p []byte) error {
	k.Write(p)
	return nil
}

func (k *kept) Matched(p []byte, _ int64) error {
	k.matched += len(p)
	k.Write(p)
	return nil
}

func (k *kept) Done(err error) error {
	k.done(k.Bytes(), err)
	return nil
}

type memBasis struct{ *bytes.Reader }

func (memBasis) Close() error { return nil }

// Fetch brings the files wanted, whatever their names, and no others; one that
// is not what was wanted any more does not come.
func TestFetch_BringsWhatIsWanted(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	names := []string{"#hash", ";semi", "- dash", "+ plus", " leading", "trailing ", "*glob?[a]", "a\nb", "\xff", "-x", "sub/deep/x", "sub/y", "..dots", "back\\slash", "it's"}
	for i, name := range names {
		write(t, src, name, random(uint64(i), 10_000))
	}
	write(t, src, "unwanted", []byte("unwanted"))
	write(t, src, "sub/unwanted", []byte("unwanted"))
	write(t, src, "changed", []byte("changed"))
	stamp(t, src)
	bothServers(t, func(t *testing.T, server peer) {
		for _, named := range []bool{true, false} {
			var mu sync.Mutex
			got, matched := map[string][]byte{}, 0
			var wants []rsync.Want
			want := func(name string, size int64) {
				fi, err := os.Stat(filepath.Join(src, name))
				require.NoError(t, err)
				w := rsync.Want{Name: name, Size: size, ModTime: fi.ModTime()}
				w.Create = func() (rsync.Output, error) {
					k := new(kept)
					k.done = func(data []byte, err error) {
						require.NoError(t, err)
						mu.Lock()
						defer mu.Unlock()
						got[name] = data
						matched += k.matched
					}
					return k, nil
				}
				if name == "sub/y" {
					data, err := os.ReadFile(filepath.Join(src, name))
					require.NoError(t, err)
					w.Basis = func() (rsync.Basis, error) { return memBasis{bytes.NewReader(data[:9000])}, nil }
				}
				wants = append(wants, w)
			}
			for _, name := range names {
				want(name, 10_000)
			}
			want("changed", 5)
			wants = append(wants, rsync.Want{Name: "gone", Size: 1})
			o := rsync.ListOptions()
			if named {
				o = rsync.FetchOptions(wants)
			}
			c := dial(t, server, src, o.ServerArgs(true, src+"/"))
			defer c.Close()
			_, err := rsync.Fetch(t.Context(), c, o, wants)
			if err != nil { // of what is gone; Debian's says it by its exit code
				var re *rsync.Error
				require.ErrorAs(t, err, &re)
				require.Contains(t, []rsync.Code{rsync.CodePartial, rsync.CodeVanished}, re.Code)
			}
			for i, name := range names {
				require.Equal(t, random(uint64(i), 10_000), got[name], "%q", name)
			}
			require.Len(t, got, len(names))
			require.Greater(t, matched, 8000)
		}
	})
}

// unclosed is a connection that tells whether it was closed.
type unclosed struct {
	rsync.Conn
	closed atomic.Bool
}

func (c *unclosed) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func (c *unclosed) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// A session that ends well leaves the connection to the caller, to whom the far
// side may still have to tell how it has ended.
func TestClient_LeavesTheConnectionOpen(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	sample(t, src)
	bothServers(t, func(t *testing.T, server peer) {
		o := rsync.ListOptions()
		there, here := t.TempDir(), t.TempDir()
		near, err := os.OpenRoot(here)
		require.NoError(t, err)
		defer near.Close()
		for name, row := range map[string]struct {
			dir     string
			pull    bool
			session func(c rsync.Conn) error
		}{
			"list": {src, true, func(c rsync.Conn) error { return rsync.List(t.Context(), c, func(rsync.Entry) {}) }},
			"pull": {src, true, func(c rsync.Conn) error {
				_, err := rsync.Pull(t.Context(), c, near, ".", o)
				return err
			}},
			"push": {there, false, func(c rsync.Conn) error {
				_, err := rsync.Push(t.Context(), c, near, o, ".")
				return err
			}},
		} {
			c := &unclosed{Conn: dial(t, server, row.dir, o.ServerArgs(row.pull, row.dir+"/"))}
			require.NoError(t, row.session(c), name)
			require.False(t, c.closed.Load(), name)
			c.Close()
		}
	})
}

// List returns all that is there, directories before what is in them.
func TestList_ListsTheTree(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	sample(t, src)
	for _, server := range []peer{debian, ours} {
		t.Run(string(server), func(t *testing.T) {
			c := dial(t, server, src, rsync.ListOptions().ServerArgs(true, src+"/"))
			defer c.Close()
			var list []rsync.Entry
			require.NoError(t, rsync.List(t.Context(), c, func(e rsync.Entry) { list = append(list, e) }))
			seen := map[string]bool{}
			for _, e := range list {
				fi, err := os.Lstat(filepath.Join(src, e.Name))
				require.NoError(t, err)
				require.Equal(t, fi.Mode(), e.Mode, e.Name)
				require.True(t, fi.ModTime().Equal(e.ModTime), e.Name)
				if fi.Mode().IsRegular() {
					require.Equal(t, fi.Size(), e.Size)
				}
				if fi.Mode()&os.ModeSymlink != 0 {
					target, err := os.Readlink(filepath.Join(src, e.Name))
					require.NoError(t, err)
					require.Equal(t, target, e.Target)
				}
				require.True(t, e.Name == "." || seen[filepath.Dir(e.Name)], e.Name)
				seen[e.Name] = true
			}
			require.Len(t, list, len(tree(t, src)))
		})
	}
}
