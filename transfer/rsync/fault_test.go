//go:build linux

package rsync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// faulty is a conversation with which something happens.
type faulty struct {
	rsync.Conn
	mu   sync.Mutex
	left int64 // bytes read until it happens
	cut  bool  // the conversation ends
	flip bool  // a bit changes
}

var errCut = errors.New("cut")

func (f *faulty) Read(p []byte) (int, error) {
	f.mu.Lock()
	left := f.left
	f.mu.Unlock()
	if left <= 0 && f.cut {
		f.Conn.Close()
		return 0, errCut
	}
	if f.cut && int64(len(p)) > left {
		p = p[:left]
	}
	n, err := f.Conn.Read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flip && f.left >= 0 && f.left < int64(n) {
		p[f.left] ^= 0x10
	}
	f.left -= int64(n)
	return n, err
}

// days makes a tree of some files, one of them large.
func days(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 40 {
		write(t, dir, fmt.Sprintf("268/%02d.dat", i), random(uint64(i), 3000))
	}
	write(t, dir, "big", random(99, 4<<20))
	stamp(t, dir)
	return dir
}

func plain() *rsync.Options {
	return &rsync.Options{Recursive: true, Links: true, Perms: true, Times: true, PartialDir: ".part", Delete: rsync.DeleteDelay}
}

// However often and wherever a conversation is cut, no file is ever seen but
// whole, the error says that it was cut, and the next one goes on with what has
// come.
func TestPull_SurvivesCutsAnywhere(t *testing.T) {
	needRsync(t)
	src := days(t)
	want := tree(t, src)
	for _, server := range []peer{debian, ours} {
		t.Run(string(server), func(t *testing.T) {
			t.Parallel()
			dst := t.TempDir()
			r := rand.New(rand.NewPCG(1, 2))
			var literal int64
			for i := range 100 {
				root, err := os.OpenRoot(dst)
				require.NoError(t, err)
				o := plain()
				c := &faulty{Conn: dial(t, server, src, o.ServerArgs(true, src+"/")), cut: true, left: r.Int64N(1 << 20)}
				res, err := rsync.Pull(t.Context(), c, root, ".", o)
				c.Close()
				require.NoError(t, root.Close())
				literal += res.Literal
				for name, e := range tree(t, dst) {
					if w, ok := want[name]; ok && e.Data != w.Data {
						t.Fatalf("run %d: %s is %q", i, name, e.Data)
					}
				}
				if err == nil {
					break
				}
				var re *rsync.Error
				require.ErrorAs(t, err, &re, "run %d", i)
				require.Less(t, i, 99, "it gets nowhere: %v", err)
			}
			require.Empty(t, cmp.Diff(want, tree(t, dst)))
		})
	}
}

// A bit that changes on the way is found by the file's checksum, and the file
// is sent again in the same session.
func TestPull_SendsAgainWhatWasDamaged(t *testing.T) {
	needRsync(t)
	src := days(t)
	want := tree(t, src)
	for _, server := range []peer{debian, ours} {
		t.Run(string(server), func(t *testing.T) {
			t.Parallel()
			dst := t.TempDir()
			root, err := os.OpenRoot(dst)
			require.NoError(t, err)
			defer root.Close()
			o := plain()
			c := &faulty{Conn: dial(t, server, src, o.ServerArgs(true, src+"/")), flip: true, left: 2 << 20}
			defer c.Close()
			res, err := rsync.Pull(t.Context(), c, root, ".", o)
			require.NoError(t, err)
			require.Equal(t, 41, res.Sent)
			require.Empty(t, cmp.Diff(want, tree(t, dst)))
		})
	}
}

// A peer that says nothing, or nonsense, or ends, is an error and no hang.
func TestClient_GivesUpPeersThatAreNoRsync(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		says string
		hang bool
		is   error
	}{
		{says: "", is: io.ErrUnexpectedEOF},
		{says: "Welcome to logger!\nLast login: today\n", is: rsync.ErrNotRsync},
		{says: "\x20\x00\x00\x00", is: io.ErrUnexpectedEOF},
		{says: "\x20\x00\x00\x00\x01", is: nil},
		{says: "\x20\x00\x00\x00\x81\xfe\x06nosuch\x01\x00\x00\x00", is: nil},
		{says: "\x05\x00\x00\x00", is: rsync.ErrNotRsync},
		{hang: true, is: context.DeadlineExceeded},
		{says: "\x20\x00\x00\x00\x81\xfe", hang: true, is: context.DeadlineExceeded},
	} {
		for _, push := range []bool{true, false} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			near, far, err := pipePair()
			require.NoError(t, err)
			go func() {
				_, _ = io.WriteString(far, row.says)
				if !row.hang {
					far.CloseWrite()
				}
				_, _ = io.Copy(io.Discard, far)
				far.Close()
			}()
			root, err := os.OpenRoot(t.TempDir())
			require.NoError(t, err)
			if push {
				_, err = rsync.Push(ctx, near, root, plain(), ".")
			} else {
				_, err = rsync.Pull(ctx, near, root, ".", plain())
			}
			require.Error(t, err)
			if row.is != nil {
				require.ErrorIs(t, err, row.is, "%q", row.says)
			}
			near.Close()
			root.Close()
			cancel()
		}
	}
}

// pipePair are the two ends of a conversation.
func pipePair() (near, far pipes, err error) {
	r1, w1, err := os.Pipe()
	if err != nil {
		return near, far, err
	}
	r2, w2, err := os.Pipe()
	return pipes{r1, w2}, pipes{r2, w1}, err
}

// A file that changes while it is sent is not kept by the receiver in that
// state, and reported.
func TestServe_SendsNoHalfOfAFileThatChanges(t *testing.T) {
	t.Parallel()
	src, dst := t.TempDir(), t.TempDir()
	old, now := random(1, 16<<20), random(2, 16<<20)
	write(t, src, "big", old)
	root, err := os.OpenRoot(dst)
	require.NoError(t, err)
	defer root.Close()
	o := &rsync.Options{Recursive: true, Times: true}
	change := sync.OnceFunc(func() { write(t, src, "big", now) })
	c := &watched{Conn: serveHere(t, o.ServerArgs(true, src+"/")), left: 4 << 20, then: change}
	_, err = rsync.Pull(t.Context(), c, root, ".", o)
	var re *rsync.Error
	require.ErrorAs(t, err, &re)
	require.Equal(t, rsync.CodePartial, re.Code)
	require.Len(t, tree(t, dst), 1, "nothing but the directory")
}

// watched calls then when so many bytes have been read.
type watched struct {
	rsync.Conn
	left int
	then func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.left -= n; w.left < 0 {
		w.then()
	}
	return n, err
}
