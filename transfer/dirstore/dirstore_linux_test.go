package dirstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
)

var _ transfer.GroupCommitter = (*dirstore.Store)(nil)

// A group may lie on several file systems; each upload has its own outcome.
func TestCommitAll_CommitsOnEachFileSystem(t *testing.T) {
	dir := t.TempDir()
	mounted := filepath.Join(dir, "mounted")
	require.NoError(t, os.Mkdir(mounted, 0o755))
	if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip("cannot mount:", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mounted, unix.MNT_DETACH)) })
	s := open(t, dir)
	var uploads []transfer.Upload
	for i, in := range []string{"", "mounted/", "", "mounted/", "sub/"} {
		name := fmt.Sprintf("%sf%d", in, i)
		up, err := s.Create(t.Context(), transfer.Info{Name: name, Size: int64(len(name)), Mode: 0o644})
		require.NoError(t, err)
		_, err = up.Write([]byte(name))
		require.NoError(t, err)
		uploads = append(uploads, up)
	}
	// One of them is spoilt: its folder is gone when it is to be committed.
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "sub")))
	for i, err := range s.CommitAll(t.Context(), uploads, true) {
		require.Equal(t, i == 4, err != nil, "upload %d: %v", i, err)
		if err := uploads[i].Close(); i != 4 {
			require.NoError(t, err)
		}
	}
	for _, name := range []string{"f0", "mounted/f1", "f2", "mounted/f3"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, name, string(got))
	}
}
