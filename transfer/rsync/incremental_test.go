//go:build linux

package rsync_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// Lists come in pieces whenever rsync itself would have it so, as a client that
// receives and as a server that does.
func TestInterop_ListsComeInPiecesAsRsyncHasThem(t *testing.T) {
	needRsync(t)
	src := days(t)
	for _, row := range []struct {
		args   string
		o      rsync.Options
		pieces bool
	}{
		{"-r", rsync.Options{Recursive: true}, true},
		{"-rH", rsync.Options{Recursive: true, HardLinks: true}, true},
		{"-r --protocol=30", rsync.Options{Recursive: true, Version: 30}, true},
		{"-r --delete", rsync.Options{Recursive: true, Delete: rsync.DeleteDuring}, true},
		{"-r --delete-delay", rsync.Options{Recursive: true, Delete: rsync.DeleteDelay}, true},
		{"-r --partial-dir=.p", rsync.Options{Recursive: true, PartialDir: ".p"}, true},
		{"-r --delete-before", rsync.Options{Recursive: true, Delete: rsync.DeleteBefore}, false},
		{"-r --delete-after", rsync.Options{Recursive: true, Delete: rsync.DeleteAfter}, false},
		{"-r --no-inc-recursive", rsync.Options{Recursive: true, NoIncremental: true}, false},
		{"-d", rsync.Options{Dirs: true}, false},
		{"-r --protocol=29", rsync.Options{Recursive: true, Version: 29}, false},
	} {
		t.Run(row.args, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(row.args)
			log := filepath.Join(t.TempDir(), "log")
			require.ErrorContains(t, debianClient(t, debian, false, src, t.TempDir(), append(args, "--rsync-path=echo >"+log)), "rsync")
			asked, err := os.ReadFile(log)
			require.NoError(t, err)
			offers := regexp.MustCompile(` -\w*e\.i`)
			require.Equal(t, row.pieces, offers.Match(asked), "what rsync offers: %s", asked)
			require.Equal(t, row.pieces, offers.MatchString(" "+strings.Join(row.o.ServerArgs(true, "x"), " ")))
			require.NotRegexp(t, offers, strings.Join(row.o.ServerArgs(false, "x"), " "), "a sender")

			program, err := rsyncserve()
			require.NoError(t, err)
			for _, server := range []string{"rsync", program + " -root / --"} {
				shell := filepath.Join(t.TempDir(), "shell")
				require.NoError(t, os.WriteFile(shell, []byte("#!/bin/sh\nshift\nexec sh -c \"$*\"\n"), 0o755))
				out, err := exec.Command("rsync", append(args, "-v", "-e", shell, "--rsync-path="+server, src+"/", "host:"+t.TempDir()+"/")...).CombinedOutput()
				require.NoError(t, err, "%s", out)
				require.Equal(t, row.pieces, strings.Contains(string(out), "incremental"), "%s: %s", server, out)
			}
		})
	}
}

// A server that is told so wants the list in one, though the client could send
// it in pieces.
func TestServe_TakesTheListInOneIfToldSo(t *testing.T) {
	t.Parallel()
	for option, flags := range map[string]int32{"-v": 3, "--no-inc-recursive": 2, "--no-i-r": 2} {
		c := serveHere(t, []string{"--server", "-re.iL", option, ".", t.TempDir()})
		w, r := wire.NewWriter(c), wire.NewReader(c)
		w.Int(31)
		require.NoError(t, w.Flush())
		r.Int()
		require.Equal(t, flags, r.Varint(), option)
		require.NoError(t, r.Err())
	}
}

// Files are asked for before the whole list has come, and the sender is told of
// each list that is settled, without waiting for the later ones. A file that
// comes damaged is asked for again before its list is settled.
func TestPull_AsksWhileListsCome(t *testing.T) {
	t.Parallel()
	dst := t.TempDir()
	f, pulled := pullFrom(t, dst, &rsync.Options{Recursive: true})
	f.first(dir("."), file("a"), dir("d"), dir("e"))
	require.EqualValues(t, 2, f.hear(), "a is asked for")
	f.listOf(1, file("d/x"), file("d/y")) // 6 and 7
	require.EqualValues(t, 6, f.hear())
	require.EqualValues(t, 7, f.hear())
	f.send(2, "a", "a")
	require.EqualValues(t, wire.Done, f.hear(), "the first list is settled")
	f.say(wire.Done)
	f.listOf(2, file("e/z")) // 9
	require.EqualValues(t, 9, f.hear())
	f.send(6, "damaged", "x")
	f.send(7, "y", "y")
	require.EqualValues(t, 6, f.hear(), "it is asked for again")
	f.send(9, "damaged", "z")
	require.EqualValues(t, 9, f.hear(), "so is the other")
	f.send(6, "x", "x")
	require.EqualValues(t, wire.Done, f.hear(), "the second list is settled")
	f.say(wire.Done)
	f.say(wire.EndOfLists)
	f.send(9, "z", "z")
	require.EqualValues(t, wire.Done, f.hear(), "the last list is settled")
	f.farewell(t)
	_, err := pulled()
	require.NoError(t, err)
	got := map[string]string{}
	for name, e := range tree(t, dst) {
		got[name] = e.Data
	}
	require.Empty(t, cmp.Diff(map[string]string{".": "", "a": "a", "d": "", "d/x": "x", "d/y": "y", "e": "", "e/z": "z"}, got))
}

// Lists that are settled are forgotten: what a tree takes in memory does not grow
// with its files.
func TestPull_ForgetsListsThatAreSettled(t *testing.T) {
	dst := t.TempDir()
	f, pulled := pullFrom(t, dst, &rsync.Options{Recursive: true, Existing: true})
	const lists, each = 400, 1000
	dirs := []*flist.Entry{dir(".")}
	for i := range lists {
		dirs = append(dirs, dir(fmt.Sprintf("d%03d", i)))
	}
	f.first(dirs...)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	for i := range lists {
		list := make([]*flist.Entry, each)
		for j := range list {
			list[j] = file(fmt.Sprintf("d%03d/a-name-of-some-length-%d", i, j))
		}
		f.listOf(int32(i+1), list...)
		require.EqualValues(t, wire.Done, f.hear()) // of the list before
		f.say(wire.Done)
		if i%20 == 0 {
			most = max(most, heap())
		}
	}
	f.say(wire.EndOfLists)
	require.EqualValues(t, wire.Done, f.hear())
	f.farewell(t)
	res, err := pulled()
	require.NoError(t, err)
	require.Equal(t, lists*each, res.Files)
	require.Less(t, int64(most-before), int64(8<<20), "bytes; all of the entries would be 60 MB")
}

// Nothing is deleted in a directory that the sender could not read, nor in those
// that come after it; with deletion at the end nothing is deleted at all.
func TestPull_DeletesNothingAfterAPieceWithAnError(t *testing.T) {
	t.Parallel()
	for mode, left := range map[rsync.DeleteMode][]string{
		rsync.DeleteDuring: {"d/new", "e/extra", "g/extra"},
		rsync.DeleteDelay:  {"d/extra", "d/new", "e/extra", "extra", "g/extra"},
	} {
		dst := t.TempDir()
		for _, name := range []string{"extra", "d/extra", "e/extra", "g/extra"} {
			write(t, dst, name, nil)
		}
		f, pulled := pullFrom(t, dst, &rsync.Options{Recursive: true, Delete: mode})
		f.first(dir("."), dir("d"), dir("e"), dir("g"))
		f.listOf(1, file("d/new")) // 6
		require.EqualValues(t, wire.Done, f.hear())
		f.say(wire.Done)
		require.EqualValues(t, 6, f.hear())
		f.w.Index(wire.ListOffset - 2)
		f.entries(1, nil)
		f.send(6, "x", "x")
		require.EqualValues(t, wire.Done, f.hear())
		f.say(wire.Done)
		f.listOf(3)
		require.EqualValues(t, wire.Done, f.hear())
		f.say(wire.Done)
		f.say(wire.EndOfLists)
		require.EqualValues(t, wire.Done, f.hear())
		f.say(wire.Done)
		_, err := pulled()
		require.Error(t, err)
		var got []string
		for name, e := range tree(t, dst) {
			if e.Mode&0o170000 == aFile&0o170000 {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		require.Equal(t, left, got, "mode %d", mode)
	}
}

// Hard links are found across lists, whatever list their first name is in, and
// made when the lists have been forgotten.
func TestInterop_HardLinksAcrossLists(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	for i := range 20 {
		write(t, src, fmt.Sprintf("first/%02d", i), random(uint64(i), 100))
		for _, d := range []string{"a/", "a/b/", "first/", "z/"} {
			name := filepath.Join(src, fmt.Sprintf("%slink%02d", d, i))
			require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
			require.NoError(t, os.Link(filepath.Join(src, fmt.Sprintf("first/%02d", i)), name))
		}
	}
	write(t, src, "many/x", nil)
	for i := range 3000 { // so that the lists do not all come at once
		write(t, src, fmt.Sprintf("many%d/%d", i%3, i), nil)
	}
	stamp(t, src)
	everyWay(t, func(t *testing.T, client, server peer, push bool) {
		dst := t.TempDir()
		o := &rsync.Options{Recursive: true, Perms: true, Times: true, HardLinks: true, Owner: true, Group: true}
		for range 2 {
			_, err := run(t, client, server, push, src, dst, o, "-rptHog")
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(tree(t, src), tree(t, dst)))
		}
	})
}

// A file that goes when it has been asked for settles its list all the same.
func TestPull_GoesOnWhenAFileOfAPieceVanishes(t *testing.T) {
	needRsync(t)
	src, dst := t.TempDir(), t.TempDir()
	for i := range 3000 {
		write(t, src, fmt.Sprintf("d%d/%d", i%6, i), []byte("x"))
	}
	root, err := os.OpenRoot(dst)
	require.NoError(t, err)
	defer root.Close()
	o := &rsync.Options{Recursive: true}
	c := &asking{Conn: dial(t, debian, src, o.ServerArgs(true, src+"/")), then: sync.OnceFunc(func() {
		for i := 1; i < 3000; i += 6 { // what is in d1 has been listed
			_ = os.Remove(filepath.Join(src, fmt.Sprintf("d1/%d", i)))
		}
	})}
	defer c.Close()
	res, err := rsync.Pull(t.Context(), c, root, ".", o)
	var re *rsync.Error
	require.ErrorAs(t, err, &re)
	require.Equal(t, rsync.CodePartial, re.Code)
	require.Len(t, res.Failed, 500)
	require.Equal(t, 2500, res.Sent)
}

// asking calls then before the first request goes out.
type asking struct {
	rsync.Conn
	heard atomic.Int64
	then  func()
}

func (a *asking) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	a.heard.Add(int64(n))
	return n, err
}

func (a *asking) Write(p []byte) (int, error) {
	if a.heard.Load() > 200 { // more than a handshake
		a.then()
	}
	return a.Conn.Write(p)
}

// Whatever the arguments are whose lists come in pieces, the tree is that of a
// list in one.
func TestInterop_AnyArgumentsInPieces(t *testing.T) {
	needRsync(t)
	src, other := t.TempDir(), t.TempDir()
	sample(t, src)
	write(t, other, "sub/deep/er/of the other", []byte("other"))
	write(t, other, "more/x", []byte("x"))
	stamp(t, other)
	for _, row := range []struct {
		name  string
		o     rsync.Options
		paths []string
	}{
		{"two directories into one", rsync.Options{}, []string{src + "/", other + "/"}},
		{"a directory by name", rsync.Options{}, []string{src}},
		{"a directory and what is in it", rsync.Options{}, []string{src + "/sub", src + "/"}},
		{"a file", rsync.Options{}, []string{src + "/small"}},
		{"an empty directory", rsync.Options{}, []string{src + "/vacant/"}},
		{"paths that are kept", rsync.Options{Relative: true}, []string{src + "/sub/deep", src + "/sub", other + "/sub"}},
		{"parts of paths that are kept", rsync.Options{Relative: true}, []string{src + "/./sub/deep", src + "/./sub0", other + "/./sub"}},
		{"names", rsync.Options{FilesFrom: []string{"sub", "sparse/", "linked/a", "./"}, Relative: true}, []string{src}},
		{"names without their paths", rsync.Options{FilesFrom: []string{"sub/deep", "sparse/", "linked/a"}}, []string{src}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var trees [2]map[string]entry
			for i := range trees {
				o := row.o
				o.Recursive, o.Links, o.Times, o.Perms, o.Delete, o.NoIncremental = true, true, true, true, rsync.DeleteDuring, i == 1
				dst := t.TempDir()
				write(t, dst, "extra", nil)
				write(t, dst, "sub/extra", nil)
				write(t, dst, "sub/deep/extra", nil)
				root, err := os.OpenRoot(dst)
				require.NoError(t, err)
				c := dial(t, debian, src, o.ServerArgs(true, row.paths...))
				_, err = rsync.Pull(t.Context(), c, root, ".", &o)
				require.NoError(t, err)
				c.Close()
				require.NoError(t, root.Close())
				trees[i] = timeless(tree(t, dst), true)
			}
			require.Greater(t, len(trees[1]), 0)
			require.Empty(t, cmp.Diff(trees[1], trees[0]))
		})
	}
}

// A server asks again, within its list, for a file that came damaged.
func TestServe_AsksAgainForWhatWasDamaged(t *testing.T) {
	needRsync(t)
	src, dst := days(t), t.TempDir()
	program, err := rsyncserve()
	require.NoError(t, err)
	server := filepath.Join(t.TempDir(), "server")
	require.NoError(t, os.WriteFile(server, []byte(`#!/bin/sh
mkfifo $0.fifo
exec 3<&0
{
	stdbuf -o0 head -c 2000000
	stdbuf -o0 head -c 1 | tr '\000-\377' '\001-\377\000'
	exec cat
} <&3 >$0.fifo &
`+program+` -root / -- "$@" <$0.fifo
status=$?
kill $!
exit $status
`), 0o755))
	require.NoError(t, debianClient(t, debian, true, src, dst, []string{"-rlpt", "--rsync-path=" + server}))
	require.Empty(t, cmp.Diff(tree(t, src), tree(t, dst)))
}

// Where a directory cannot be made, all below it fails, whatever list that is
// in, and the rest is transferred.
func TestPull_ADirectoryThatCannotBeMadeFailsAlone(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	for _, name := range []string{"d/x", "d/sub/y", "d-/z", "e/z"} {
		write(t, src, name, []byte("x"))
	}
	for _, whole := range []bool{false, true} {
		dst := t.TempDir()
		require.NoError(t, syscall.Mkfifo(filepath.Join(dst, "d"), 0o600))
		root, err := os.OpenRoot(dst)
		require.NoError(t, err)
		defer root.Close()
		o := &rsync.Options{Recursive: true, NoIncremental: whole, Delete: rsync.DeleteDuring}
		c := dial(t, debian, src, o.ServerArgs(true, src+"/"))
		res, err := rsync.Pull(t.Context(), c, root, ".", o)
		c.Close()
		var re *rsync.Error
		require.ErrorAs(t, err, &re)
		require.Equal(t, rsync.CodePartial, re.Code)
		var failed []string
		for _, f := range res.Failed {
			failed = append(failed, f.Name)
			require.True(t, f.Name == "d" || strings.Contains(f.Error(), "its directory could not be made"), "%v", f)
		}
		slices.Sort(failed)
		require.Equal(t, []string{"d", "d/sub", "d/sub/y", "d/x"}, failed)
		require.FileExists(t, filepath.Join(dst, "e/z"))
		require.FileExists(t, filepath.Join(dst, "d-/z"))
	}
}

// A copy beside an earlier one shares its unchanged files, and a dry run says what
// would be sent and does nothing.
func TestPull_LinksToAnEarlierCopyInPieces(t *testing.T) {
	needRsync(t)
	src, kept := t.TempDir(), t.TempDir()
	for i := range 3000 {
		write(t, src, fmt.Sprintf("d%d/%d", i%7, i), fmt.Append(nil, i))
	}
	require.NoError(t, os.Link(filepath.Join(src, "d1/1"), filepath.Join(src, "d2/one")))
	pull := func(dest string, o *rsync.Options) *rsync.Result {
		t.Helper()
		root, err := os.OpenRoot(kept)
		require.NoError(t, err)
		defer root.Close()
		o.Recursive, o.Times, o.Perms, o.HardLinks = true, true, true, true
		c := dial(t, debian, src, o.ServerArgs(true, src+"/"))
		defer c.Close()
		res, err := rsync.Pull(t.Context(), c, root, dest, o)
		require.NoError(t, err)
		return res
	}
	require.Equal(t, 3000, pull("dry/", &rsync.Options{DryRun: true}).Sent)
	require.NoDirExists(t, filepath.Join(kept, "dry"))
	require.Equal(t, 3000, pull("one/", &rsync.Options{}).Sent)
	write(t, src, "d6/6", []byte("new"))
	require.Equal(t, 1, pull("two/", &rsync.Options{LinkDest: "../one"}).Sent)
	one, err := os.Stat(filepath.Join(kept, "one/d5/5"))
	require.NoError(t, err)
	two, err := os.Stat(filepath.Join(kept, "two/d5/5"))
	require.NoError(t, err)
	require.True(t, os.SameFile(one, two))
}
