//go:build linux

package rsync_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// tape is a peer that says what is on it, whatever it hears.
type tape struct{ io.Reader }

func (tape) Write(p []byte) (int, error) { return len(p), nil }
func (tape) Close() error                { return nil }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A client survives whatever a server says: without a panic, in bounded time,
// and with nothing written outside its directory.
func FuzzClient_SurvivesAnyServer(f *testing.F) {
	f.Fuzz(func(t *testing.T, said []byte, which uint8, push bool) {
		synctest.Test(t, func(t *testing.T) { _ = toClient(t, said, which, push) })
	})
}

// A server survives whatever a client says, likewise.
func FuzzServe_SurvivesAnyClient(f *testing.F) {
	f.Fuzz(func(t *testing.T, said []byte, args string) {
		args = strings.ReplaceAll(args, "--devices", "")
		if !strings.HasPrefix(args, "--server\n") || strings.Contains(strings.SplitN(args, "e.", 2)[0], "D") {
			return // as root, a fuzzer had better make no devices
		}
		synctest.Test(t, func(t *testing.T) { _ = toServer(t, said, args) })
	})
}

// script writes what a server says in a pull, up to the end of its list.
func script(t testing.TB, o flist.Options, entries ...*flist.Entry) (*bytes.Buffer, *wire.Writer) {
	t.Helper()
	said := new(bytes.Buffer)
	w := wire.NewWriter(said)
	w.Int(31)
	w.Varint(0x1fe)
	w.Vstring("md5")
	w.Int(1)
	w.Multiplex()
	o.Version, o.Varint, o.IDZero, o.SafeErrors, o.NumericIDs = 31, true, true, true, true
	enc := flist.NewEncoder(w, o)
	for _, e := range entries {
		enc.Add(e)
	}
	enc.End(0)
	return said, w
}

// No list of a server writes through a link that lies in the directory, or
// that the list itself makes.
func TestPull_WritesThroughNoLink(t *testing.T) {
	t.Parallel()
	const file, dir, link = 0o100644, 0o040755, 0o120777
	o := &rsync.Options{Recursive: true, Links: true, Perms: true, Times: true, NumericIDs: true}
	for _, row := range []struct {
		name string
		list []*flist.Entry
		made string // a link that is there before
	}{
		{"a link of the list is a parent of its file", []*flist.Entry{
			{Name: "d", Mode: link, Extra: &flist.Extra{Target: "OUTSIDE", Link: -1}}, {Name: "d/new", Size: 1, Mode: file},
		}, ""},
		{"a link was there before", []*flist.Entry{{Name: "d/new", Size: 1, Mode: file}}, "d"},
		{"a link was there for a directory", []*flist.Entry{
			{Name: "d", Mode: dir}, {Name: "d/new", Size: 1, Mode: file},
		}, "d"},
		{"a link was there for a file", []*flist.Entry{{Name: "victim", Size: 1, Mode: file}}, "victim"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			outer := t.TempDir()
			write(t, outer, "in/inside/victim", []byte("precious"))
			for _, e := range row.list {
				if e.Extra != nil {
					e.Extra.Target = "inside"
				}
			}
			if row.made != "" {
				target := "inside"
				if row.made == "victim" {
					target = "inside/victim"
				}
				require.NoError(t, os.Symlink(target, filepath.Join(outer, "in", row.made)))
			}
			said, w := script(t, flist.Options{Links: true}, row.list...)
			require.NoError(t, w.Flush())
			list := bytes.Clone(said.Bytes())
			said.Reset()
			flist.Sort(row.list)
			w.Index(int32(slices.IndexFunc(row.list, (*flist.Entry).IsRegular)))
			w.Short(0xa000)
			sum.Head{}.Write(w)
			w.Int(1)
			w.Byte('X')
			w.Int(0)
			h := sum.Session{Algorithm: md5(t)}.NewFile()
			h.Write([]byte("X"))
			_, _ = w.Write(h.Sum(nil))
			require.NoError(t, w.Flush())
			// The answer comes when there has been time to ask.
			answer := readerFunc(func(p []byte) (int, error) {
				time.Sleep(200 * time.Millisecond)
				return said.Read(p)
			})
			root, err := os.OpenRoot(filepath.Join(outer, "in"))
			require.NoError(t, err)
			defer root.Close()
			_, _ = rsync.Pull(t.Context(), tape{io.MultiReader(bytes.NewReader(list), answer)}, root, ".", o) // the tape ends too early
			data, err := os.ReadFile(filepath.Join(outer, "in/inside/victim"))
			require.NoError(t, err)
			require.Equal(t, "precious", string(data))
			require.NoFileExists(t, filepath.Join(outer, "in/inside/new"))
		})
	}
}

func md5(t testing.TB) sum.Algorithm {
	a, ok := sum.ByName("md5")
	require.True(t, ok)
	return a
}

// What a server says is escaped before it can be shown.
func TestPull_EscapesWhatTheServerSays(t *testing.T) {
	t.Parallel()
	said, w := script(t, flist.Options{})
	require.NoError(t, w.Message(wire.MsgError, []byte("\x1b]0;owned\x07 red\n")))
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	res, err := rsync.Pull(t.Context(), tape{said}, root, ".", &rsync.Options{Recursive: true})
	require.NoError(t, err)
	require.Equal(t, []string{`"\x1b]0;owned\a red"`}, res.Remote)
}

// Nothing is deleted when the sender could not read all of its side.
func TestPull_DeletesNothingAfterAnError(t *testing.T) {
	needRsync(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody who may not read")
	}
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "a", []byte("a"))
	write(t, src, "closed/b", []byte("b"))
	write(t, dst, "extra", []byte("extra"))
	require.NoError(t, os.Chmod(filepath.Join(src, "closed"), 0))
	require.NoError(t, os.Chmod(filepath.Dir(src), 0o755))
	o := &rsync.Options{Recursive: true, Delete: rsync.DeleteAfter}
	cmd := exec.Command("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "rsync"}, o.ServerArgs(true, src+"/")...)...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	root, err := os.OpenRoot(dst)
	require.NoError(t, err)
	defer root.Close()
	c := pipes{out, in}
	defer c.Close()
	_, err = rsync.Pull(t.Context(), c, root, ".", o)
	var re *rsync.Error
	require.ErrorAs(t, err, &re)
	require.Equal(t, rsync.CodePartial, re.Code)
	require.FileExists(t, filepath.Join(dst, "extra"))
	require.FileExists(t, filepath.Join(dst, "a"))
}
