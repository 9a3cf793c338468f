package sshstore_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// staller stops the line when the first bytes of a file have come.
type staller struct {
	once func()
	done func()
}

func (s staller) Literal([]byte) error      { s.once(); return nil }
func (staller) Matched([]byte, int64) error { return nil }
func (s staller) Done(error) error          { s.done(); return nil }

// When the context ends, a fetch returns at once, also when nothing comes from
// the far side any more, and calls nobody any more.
func TestFetch_EndsWithTheContextOnASilentLine(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), make([]byte, 50<<20), 0o644))
	fi, err := os.Stat(filepath.Join(dir, "x"))
	require.NoError(t, err)
	s, err := sshstore.Open(t.Context(), sshd.Via(t, proxy), dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended time.Time
	calls := 0
	stall := sync.OnceFunc(func() {
		proxy.Stall(true)
		time.AfterFunc(200*time.Millisecond, func() { ended = time.Now(); cancel() })
	})
	want := transfer.Want{Name: "x", Size: fi.Size(), ModTime: fi.ModTime(), Create: func() (transfer.Output, error) {
		return staller{stall, func() { calls++ }}, nil
	}}
	err = s.Fetch(ctx, ".", []transfer.Want{want}, 1)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(ended), time.Second)
	require.Equal(t, 1, calls, "Done")
	proxy.Cut()
	require.NoError(t, s.Close())
}
