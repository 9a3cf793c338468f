//go:build linux

package rsync_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// far is a server that sends what a test wants.
type far struct {
	r    *wire.Reader
	w    *wire.Writer
	list *flist.Encoder
	conn pipes
	dry  bool
}

var errHang = errors.New("it hangs")

// pullFrom lets a server of the test's own be pulled from, up to its first list.
// pulled waits for the end.
func pullFrom(t testing.TB, dir string, o *rsync.Options) (f *far, pulled func() (*rsync.Result, error)) {
	t.Helper()
	near, conn, err := pipePair()
	require.NoError(t, err)
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	var res *rsync.Result
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		var err error
		res, err = rsync.Pull(ctx, near, root, ".", o)
		near.Close()
		root.Close()
		if ctx.Err() != nil {
			err = errHang
		}
		done <- err
	}()
	f = &far{r: wire.NewReader(conn), w: wire.NewWriter(conn), conn: conn, dry: o.DryRun}
	f.w.Int(31)
	f.w.Varint(0x1ff)
	f.w.Vstring("md5")
	f.w.Int(1)
	f.w.Multiplex()
	require.NoError(t, f.w.Flush())
	f.r.Int()
	f.r.Vstring(1000)
	f.r.Multiplex(nil)
	for n := f.r.Int(); n > 0; n = f.r.Int() {
		f.r.Skip(int64(n))
	}
	require.NoError(t, f.r.Err())
	f.list = flist.NewEncoder(f.w, flist.Options{
		Version: 31, Varint: true, IDZero: true, SafeErrors: true, Incremental: true,
		Links: o.Links, HardLinks: o.HardLinks, Owner: o.Owner, Group: o.Group, NumericIDs: o.NumericIDs, Relative: o.Relative,
	})
	return f, func() (*rsync.Result, error) {
		conn.w.Close()
		go io.Copy(io.Discard, conn)
		err := <-done
		conn.Close()
		return res, err
	}
}

// first sends the first list.
func (f *far) first(entries ...*flist.Entry) { f.entries(0, entries) }

// listOf sends the list of the directory of a number.
func (f *far) listOf(dir int32, entries ...*flist.Entry) {
	f.w.Index(wire.ListOffset - dir)
	f.entries(0, entries)
}

func (f *far) entries(ioErrors int32, entries []*flist.Entry) {
	for _, e := range entries {
		f.list.Add(e)
	}
	f.list.End(ioErrors)
	_ = f.w.Flush() // the client may have gone
}

// say sends what is no file.
func (f *far) say(ndx int32) {
	f.w.Index(ndx)
	_ = f.w.Flush()
}

// hear returns the index of a file that is asked for, or Done.
func (f *far) hear() int32 {
	ndx := f.r.Index()
	if ndx >= 0 {
		f.r.Short()
	}
	if ndx >= 0 && !f.dry {
		sum.ReadSums(f.r, sum.ReadHead(f.r, 16, 31))
	}
	return ndx
}

// send sends a file that was asked for.
func (f *far) send(ndx int32, data, sumOf string) {
	f.w.Index(ndx)
	f.w.Short(0xa000)
	if f.dry {
		return
	}
	sum.Head{}.Write(f.w)
	f.w.Int(int32(len(data)))
	_, _ = io.WriteString(f.w, data)
	f.w.Int(0)
	md5, _ := sum.ByName("md5")
	h := sum.Session{Algorithm: md5}.NewFile()
	_, _ = io.WriteString(h, sumOf)
	_, _ = f.w.Write(h.Sum(nil))
	_ = f.w.Flush()
}

// farewell goes through the phases after the last list, whose end was heard.
func (f *far) farewell(t testing.TB) {
	t.Helper()
	f.say(wire.Done)
	require.EqualValues(t, wire.Done, f.hear())
	f.say(wire.Done)
	require.EqualValues(t, wire.Done, f.hear())
	f.w.Index(wire.Done)
	for range 5 {
		f.w.Varlong(0, 3)
	}
	require.NoError(t, f.w.Flush())
	require.EqualValues(t, wire.Done, f.hear())
	f.say(wire.Done)
	require.EqualValues(t, wire.Done, f.hear())
}

const (
	aFile = 0o100644
	aDir  = 0o040755
)

func file(name string) *flist.Entry { return &flist.Entry{Name: name, Size: 1, Mode: aFile} }
func dir(name string) *flist.Entry  { return &flist.Entry{Name: name, Mode: aDir} }

// What no sender may say of its lists ends the session with an error, and soon.
func TestPull_RefusesListsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		says func(f *far)
		err  string
	}{
		{"the list of a directory that is not there", func(f *far) { f.listOf(4) }, "directory 4 of 4"},
		{"the list of the largest number", func(f *far) { f.say(-1<<31 + 1) }, "directory 2147483546 of 4"},
		{"the list of the root, whose content was in the first", func(f *far) { f.listOf(0) }, ". twice"},
		{"a list twice", func(f *far) { f.listOf(1); f.listOf(1) }, "lists d twice"},
		{"a list twice, of a name that is there twice", func(f *far) { f.listOf(1, dir("d/s"), dir("d/s")); f.listOf(4); f.listOf(5) }, "lists d/s twice"},
		{"the list of a directory without content", func(f *far) { f.listOf(3) }, "n, which is to have no content"},
		{"an entry of another directory", func(f *far) { f.listOf(1, file("e/x")) }, "e/x in d"},
		{"an entry of a directory below", func(f *far) { f.listOf(1, file("d/x/y")) }, "d/x/y in d"},
		{"the root in a directory", func(f *far) { f.listOf(1, dir(".")) }, ". in d"},
		{"a path that leads out", func(f *far) { f.listOf(1, file("d/../../x")) }, "invalid"},
		{"a hard link to what has not come", func(f *far) {
			f.listOf(1, &flist.Entry{Name: "d/x", Mode: aFile, Extra: &flist.Extra{Link: 3}}, &flist.Entry{Name: "d/y", Mode: aFile, Extra: &flist.Extra{Link: 900}})
		}, "invalid"},
		{"a list after the end of all", func(f *far) { f.say(wire.EndOfLists); f.listOf(1) }, "after the last"},
		{"the end of all twice", func(f *far) { f.say(wire.EndOfLists); f.say(wire.EndOfLists) }, "after the last"},
		{"what is excluded", func(f *far) { f.listOf(1, file("d/secret")) }, "d/secret, which was excluded"},
		{"a file whose index is between two lists", func(f *far) { f.listOf(1, file("d/x")); f.send(6, "x", "x") }, "entry 6, which is in no list"},
		{"a file whose index is before the first list", func(f *far) { f.send(0, "x", "x") }, "entry 0, which is in no list"},
		{"a file whose index is after the last list", func(f *far) { f.send(1<<31-1, "x", "x") }, "entry 2147483647, which is in no list"},
		{"a file that was not asked for", func(f *far) { f.send(3, "x", "x") }, "d is sent, which was not asked for"},
		{"the end of a list that is not settled", func(f *far) { f.listOf(1); f.say(wire.Done) }, "what has not ended"},
		{"the end of all phases", func(f *far) {
			f.say(wire.EndOfLists)
			for range 5 {
				f.say(wire.Done)
			}
		}, "what has not ended"},
		{"an end in the midst of a list", func(f *far) {
			f.w.Index(wire.ListOffset - 1)
			f.list.Add(file("d/x"))
			_ = f.w.Flush()
		}, "ended the conversation"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f, pulled := pullFrom(t, t.TempDir(), &rsync.Options{Recursive: true, HardLinks: true, Filter: []string{"- secret"}})
			none := dir("n")
			none.NoContent = true
			f.first(dir("."), file("a"), dir("d"), dir("e"), none)
			row.says(f)
			_, err := pulled()
			var re *rsync.Error
			require.ErrorAs(t, err, &re)
			require.ErrorContains(t, err, row.err)
		})
	}
}

// A sender that pours out lists without waiting until they are wanted is
// stopped; what it has said is not kept without bounds.
func TestPull_EndsListsWithoutEnd(t *testing.T) {
	t.Parallel()
	f, pulled := pullFrom(t, t.TempDir(), &rsync.Options{Recursive: true})
	var dirs []*flist.Entry
	for i := range 2000 {
		dirs = append(dirs, dir(fmt.Sprintf("d%04d", i)))
	}
	f.first(append(dirs, file("a"))...) // what is asked for is never sent
	for i := range dirs {
		var list []*flist.Entry
		for j := range 300 {
			list = append(list, file(fmt.Sprintf("d%04d/f%d", i, j)))
		}
		f.listOf(int32(i), list...)
	}
	_, err := pulled()
	require.ErrorContains(t, err, "does not wait with its lists")
}

// A client survives whatever lists come, in whatever order, between whatever
// answers: without a panic, in bounded time, and with nothing written outside its
// directory.
func FuzzPull_SurvivesAnyPieces(f *testing.F) {
	// 'h' hears, 'a' answers what was heard last, 'l' is a list, and so on; see below.
	for _, script := range []string{
		"l3hal1hahl2haEhDhDhDShDh", "l1hxl2hhxhahahahl3hEhhDhhDhhDShDhh", "EhDhDhDShDh", "l0hEhDhhDhhDShDhh",
		"l1l2l3EhnhnhnhahahDhahah", "l9", "k1", "cl1ihnEhh", "DDDD", "l1D", "s7", "b3",
	} {
		f.Add(script, uint8(len(script)))
	}
	f.Fuzz(func(t *testing.T, script string, which uint8) {
		outer := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(outer, "in"), 0o755))
		write(t, outer, "in/d/extra", nil)
		o := &rsync.Options{
			Recursive: true, HardLinks: which&1 != 0, Relative: which&2 != 0, DryRun: which&4 != 0, Delete: []rsync.DeleteMode{rsync.DeleteNone, rsync.DeleteDuring, rsync.DeleteDelay}[which/8%3],
		}
		far, pulled := pullFrom(t, filepath.Join(outer, "in"), o)
		heard, last := make(chan int32, 1000), int32(1)
		go func() {
			defer close(heard)
			for far.r.Err() == nil {
				heard <- far.hear()
			}
		}()
		dirs := []string{".", "d", "e"}
		none := dir("n")
		none.NoContent = true
		far.first(dir("."), file("a"), dir("d"), dir("e"), none)
		for i := 0; i < min(len(script), 200); i++ {
			arg := func() int32 {
				if i++; i < len(script) {
					return int32(script[i] - '0')
				}
				return 0
			}
			switch script[i] {
			case 'h':
				select {
				case last = <-heard:
				case <-time.After(2 * time.Millisecond):
				}
			case 'l', 'k': // 'k': in another directory
				n := arg()
				name := dirs[int(max(0, n))%len(dirs)]
				if script[i-1] == 'k' {
					name += "/x"
				}
				sub := fmt.Sprintf("%s/%d", name, len(dirs))
				dirs = append(dirs, sub)
				first := &flist.Entry{Name: name + "/f", Size: 1, Mode: aFile, Extra: &flist.Extra{Link: 2 + 5*int32(len(dirs)%2)}}
				far.listOf(n, first, file(name+"/g"), dir(sub), dir(sub))
			case 'E':
				far.say(wire.EndOfLists)
			case 'D':
				far.say(wire.Done)
			case 'S':
				for range 5 {
					far.w.Varlong(0, 3)
				}
			case 'a':
				far.send(last, "x", "x")
			case 'x':
				far.send(last, "x", "y")
			case 's':
				far.send(arg(), "x", "x")
			case 'n':
				_ = far.w.Message(wire.MsgNoSend, binary.LittleEndian.AppendUint32(nil, uint32(last)))
			case 'b':
				_ = far.w.Message(wire.MsgNoSend, binary.LittleEndian.AppendUint32(nil, uint32(arg())))
			case 'i':
				_ = far.w.Message(wire.MsgIOError, []byte{1, 0, 0, 0})
			case 'c':
				far.w.Index(wire.DeletionCounts)
				for range 5 {
					far.w.Varint(1)
				}
			}
		}
		_ = far.w.Flush()
		_, err := pulled()
		for range heard {
		}
		require.NotErrorIs(t, err, errHang)
		left, err := os.ReadDir(outer)
		require.NoError(t, err)
		require.Len(t, left, 1)
	})
}
