//go:build linux

package rsync_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// A server that ends phases nobody has ended is an error, not a wait without end.
func TestPull_RefusesPhasesThatEndTooEarly(t *testing.T) {
	t.Parallel()
	var list []*flist.Entry
	for i := range 3000 {
		list = append(list, &flist.Entry{Name: fmt.Sprintf("f%d", i), Size: 1, Mode: 0o100644})
	}
	said, w := script(t, flist.Options{}, list...)
	for range 2 {
		w.Index(wire.Done)
	}
	w.Index(wire.Done)
	for range 5 {
		w.Varlong(0, 3)
	}
	w.Index(wire.Done)
	require.NoError(t, w.Flush())
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = rsync.Pull(ctx, tape{said}, root, ".", &rsync.Options{Recursive: true})
	var re *rsync.Error
	require.ErrorAs(t, err, &re)
	require.NoError(t, ctx.Err())
}

// With a Timeout a far side that neither reads nor says anything is given up,
// also one that never began.
func TestClient_GivesUpASilentPeerAfterTheTimeout(t *testing.T) {
	t.Parallel()
	for _, says := range []string{"", "\x1f\x00\x00\x00\x81\xfe\x03md5\x01\x00\x00\x00"} {
		near, far, err := pipePair()
		require.NoError(t, err)
		_, err = far.Write([]byte(says))
		require.NoError(t, err)
		src := t.TempDir()
		for i := range 5000 { // more than a pipe holds
			write(t, src, fmt.Sprintf("a-rather-long-name-so-that-the-list-is-long-%d", i), nil)
		}
		root, err := os.OpenRoot(src)
		require.NoError(t, err)
		_, err = rsync.Push(t.Context(), near, root, &rsync.Options{Recursive: true, Timeout: 300 * time.Millisecond}, ".")
		var re *rsync.Error
		require.ErrorAs(t, err, &re)
		require.Equal(t, rsync.CodeTimeout, re.Code)
		far.Close()
		root.Close()
	}
}
