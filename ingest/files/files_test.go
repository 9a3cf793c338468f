package files_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/files"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

var _ ingest.Asker = (*files.Sink)(nil)

var start = time.Date(2026, 9, 25, 23, 58, 0, 0, time.UTC)

const name = "TST/2026-268/tst202609252358pmin.min"

// batch is one of two minutes with these bytes.
func batch(data string) *ingest.Batch {
	return &ingest.Batch{
		Stream: &ingest.Stream{Name: "minutes", Series: sample.Series{Station: "TST"}},
		Rows:   []sample.Row{sample.RowAt(start.UnixMilli()), sample.RowAt(start.Add(time.Minute).UnixMilli())},
		Name:   "tst202609252358pmin.min", Data: []byte(data),
	}
}

func dir(t *testing.T) *dirstore.Store {
	t.Helper()
	s, err := dirstore.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func put(t *testing.T, file, data string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(data), 0o644))
}

// A batch that is Stored is under its name, whole; the time of the file is that of its
// last row.
func TestSend_StoresABatchUnderItsName(t *testing.T) {
	t.Parallel()
	store := dir(t)
	sink := &files.Sink{Store: store}
	require.Equal(t, ingest.Receipt{Outcome: ingest.Stored, ID: name}, sink.Send(t.Context(), batch("rows")))
	file := filepath.Join(store.Path(), name)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "rows", string(data))
	fi, err := os.Stat(file)
	require.NoError(t, err)
	require.True(t, fi.ModTime().Equal(start.Add(time.Minute)), fi.ModTime())

	sink.Path = func(b *ingest.Batch) string { return b.Stream.Name + "/" + b.Kind.String() }
	require.Equal(t, "minutes/live", sink.Send(t.Context(), batch("rows")).ID)
	data, err = os.ReadFile(filepath.Join(store.Path(), "minutes/live"))
	require.NoError(t, err)
	require.Equal(t, "rows", string(data))
}

// A file that is there is never overwritten: the batch is refused, with a text that names
// the file, and Ask says that it is not there.
func TestSend_NeverOverwrites(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]func(t *testing.T, file string){
		"a file of the same size": func(t *testing.T, file string) { put(t, file, "swor") },
		"a shorter file":          func(t *testing.T, file string) { put(t, file, "row") },
		"an empty file":           func(t *testing.T, file string) { put(t, file, "") },
		"a longer file":           func(t *testing.T, file string) { put(t, file, "rows rows") },
		"a folder":                func(t *testing.T, file string) { put(t, file+"/x", "rows") },
		"a link to the same bytes": func(t *testing.T, file string) {
			put(t, filepath.Join(filepath.Dir(file), "x"), "rows")
			require.NoError(t, os.Symlink("x", file))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store := dir(t)
			file := filepath.Join(store.Path(), name)
			c(t, file)
			before, err := os.Lstat(file)
			require.NoError(t, err)
			data, _ := os.ReadFile(file) // of a folder: none
			sink := &files.Sink{Store: store}
			r := sink.Send(t.Context(), batch("rows"))
			require.Equal(t, ingest.Refused, r.Outcome)
			require.Contains(t, r.Text, name)
			r = sink.Ask(t.Context(), batch("rows"))
			require.Equal(t, ingest.Later, r.Outcome)
			require.Contains(t, r.Text, name)
			after, err := os.Lstat(file)
			require.NoError(t, err)
			require.True(t, os.SameFile(before, after))
			now, _ := os.ReadFile(file)
			require.Equal(t, data, now)
		})
	}
}

// A batch that is there with the same bytes is Stored, and not written again.
func TestSend_OfWhatIsThereWritesNothing(t *testing.T) {
	t.Parallel()
	store := &storetest.Mem{}
	store.Put(transfer.Info{Name: name}, []byte("rows"))
	store.Fault = func(op, _ string) error {
		if op != "stat" && op != "open" && op != "read" {
			return errors.New(op)
		}
		return nil
	}
	require.Equal(t, ingest.Stored, (&files.Sink{Store: store}).Send(t.Context(), batch("rows")).Outcome)
}

// applied is a store whose next Commit does what it has to, and fails all the same.
type applied struct {
	transfer.Store
	err error
}

func (a *applied) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := a.Store.Create(ctx, info)
	return &appliedUpload{up, a}, err
}

type appliedUpload struct {
	transfer.Upload
	in *applied
}

func (u *appliedUpload) Commit(ctx context.Context, readBack bool) error {
	if !readBack {
		return errors.New("a batch is read back before it is Stored")
	}
	err := u.Upload.Commit(ctx, readBack)
	if err == nil {
		err, u.in.err = u.in.err, nil
	}
	return err
}

var errUnclosed = errors.New("not closed")

// unclosed is a store whose uploads cannot be closed.
type unclosed struct{ transfer.Store }

func (u *unclosed) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	up, err := u.Store.Create(ctx, info)
	return unclosedUpload{up}, err
}

type unclosedUpload struct{ transfer.Upload }

func (u unclosedUpload) Close() error { return errors.Join(u.Upload.Close(), errUnclosed) }

// Send says Later if the name was not given to the bytes, and Unknown if it may have been.
// Nothing is seen of a file that was not finished, and the cause is a line of text.
func TestSend_KnowsWhatAFaultLeaves(t *testing.T) {
	t.Parallel()
	lost, full := transfer.ErrLost, errors.Join(syscall.ENOSPC, syscall.EIO)
	for what, c := range map[string]struct {
		op   string
		err  error
		want ingest.Outcome
	}{
		"lost before it is looked for":      {"stat", lost, ingest.Later},
		"lost before it is begun":           {"create", lost, ingest.Later},
		"another upload of it is under way": {"create", transfer.ErrBusy, ingest.Later},
		"lost while it is written":          {"write", lost, ingest.Later},
		"no space while it is written":      {"write", full, ingest.Later},
		"lost while it is shown":            {"commit", lost, ingest.Unknown},
		"no space when it is to be shown":   {"commit", full, ingest.Later},
		"the stored bytes are others":       {"commit", transfer.ErrCorrupt, ingest.Later},
	} {
		store := &storetest.Mem{}
		failed := false
		store.Fault = func(op, _ string) error {
			if failed || op != c.op {
				return nil
			}
			failed = true
			return c.err
		}
		sink := &files.Sink{Store: store}
		r := sink.Send(t.Context(), batch("rows"))
		require.Equal(t, c.want, r.Outcome, what)
		require.Contains(t, r.Text, strings.Split(c.err.Error(), "\n")[0], what)
		require.Contains(t, r.Text, name, what)
		require.NotContains(t, r.Text, "\n", what)
		require.NotContains(t, store.Names(), name, what)
		require.Equal(t, ingest.Later, sink.Ask(t.Context(), batch("rows")).Outcome, what)
		require.Equal(t, ingest.Stored, sink.Send(t.Context(), batch("rows")).Outcome, what)
	}
	for _, err := range []error{lost, full} {
		sink := &files.Sink{Store: &applied{&storetest.Mem{}, err}}
		require.Equal(t, ingest.Unknown, sink.Send(t.Context(), batch("rows")).Outcome, err)
		require.Equal(t, ingest.Stored, sink.Ask(t.Context(), batch("rows")).Outcome, err)
	}
	sink := &files.Sink{Store: &unclosed{&storetest.Mem{}}}
	r := sink.Send(t.Context(), batch("rows"))
	require.Equal(t, ingest.Stored, r.Outcome, "what is committed stays so, whatever Close says")
	require.Contains(t, r.Text, errUnclosed.Error())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, ingest.Later, (&files.Sink{Store: &storetest.Mem{}}).Send(ended, batch("rows")).Outcome)
}

// Ask says Stored of a file with the bytes of the batch, Later if there is none, and
// Unknown if that could not be seen.
func TestAsk_SaysWhatIsThere(t *testing.T) {
	t.Parallel()
	store := &storetest.Mem{}
	sink := &files.Sink{Store: store}
	require.Equal(t, ingest.Later, sink.Ask(t.Context(), batch("rows")).Outcome)
	store.Put(transfer.Info{Name: name}, []byte("rows"))
	require.Equal(t, ingest.Receipt{Outcome: ingest.Stored, ID: name, Text: "it is there"}, sink.Ask(t.Context(), batch("rows")))
	for _, fail := range []string{"stat", "open", "read"} {
		for _, err := range []error{transfer.ErrLost, io.ErrUnexpectedEOF} {
			store.Fault = func(op, _ string) error {
				if op == fail {
					return err
				}
				return nil
			}
			require.Equal(t, ingest.Unknown, sink.Ask(t.Context(), batch("rows")).Outcome, "%s: %v", fail, err)
		}
	}
}

// All of it holds on another machine over SSH, whose connection may be cut at any time.
func TestSink_OverSSH(t *testing.T) {
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	dir := t.TempDir()
	store, err := sshstore.Open(t.Context(), sshd.Via(t, proxy), dir)
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	sink := &files.Sink{Store: store}
	require.Equal(t, ingest.Later, sink.Ask(t.Context(), batch("rows")).Outcome)
	require.Equal(t, ingest.Receipt{Outcome: ingest.Stored, ID: name}, sink.Send(t.Context(), batch("rows")))
	require.Equal(t, ingest.Stored, sink.Ask(t.Context(), batch("rows")).Outcome)
	require.Equal(t, ingest.Refused, sink.Send(t.Context(), batch("swor")).Outcome)
	data, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	require.Equal(t, "rows", string(data))

	// asked is what Ask says when the connection is back.
	asked := func(b *ingest.Batch) ingest.Outcome {
		for range 10 {
			if r := sink.Ask(t.Context(), b); r.Outcome != ingest.Unknown {
				return r.Outcome
			}
		}
		t.Fatal("the connection does not come back")
		return ingest.Unknown
	}
	next := batch(strings.Repeat("rows", 100))
	next.Name = "next"
	seen := map[ingest.Outcome]int{}
	for cut := int64(100); ; cut += 150 {
		proxy.CutAt(cut)
		r := sink.Send(t.Context(), next)
		left := proxy.CutsLeft()
		proxy.CutAt()
		if left > 0 {
			require.Equal(t, ingest.Stored, r.Outcome, r.Text)
			break
		}
		seen[r.Outcome]++
		if asked(next) == ingest.Stored {
			require.NotEqual(t, ingest.Later, r.Outcome, "cut after %d bytes: %s", cut, r.Text)
			require.NoError(t, store.Remove(t.Context(), filepath.ToSlash(filepath.Dir(name))+"/next"))
		}
	}
	require.Positive(t, seen[ingest.Later])
	require.Positive(t, seen[ingest.Unknown])
	data, err = os.ReadFile(filepath.Join(dir, filepath.Dir(name), "next"))
	require.NoError(t, err)
	require.Equal(t, string(next.Data), string(data))
}
