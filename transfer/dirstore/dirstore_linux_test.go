package dirstore_test

import (
	"bytes"
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

// Long runs of zeros become holes, also where an upload is cut inside one.
func TestUpload_LeavesHolesForZeros(t *testing.T) {
	const mib = 1 << 20
	data := make([]byte, 40*mib)
	for _, at := range []int{0, 7*mib + 5, 30 * mib} {
		copy(data[at:], "data")
	}
	for cut := 0; cut <= len(data); cut += 5 * mib {
		dir := t.TempDir()
		s := open(t, dir)
		info := transfer.Info{Name: "x", Size: int64(len(data)), Mode: 0o644}
		begin := func() (transfer.Upload, int64) {
			up, err := s.Create(t.Context(), info)
			require.NoError(t, err)
			off, err := up.Resume(t.Context(), func(transfer.Kept) (bool, error) { return true, nil })
			require.NoError(t, err)
			return up, off
		}
		write := func(up transfer.Upload, p []byte) {
			for len(p) > 0 {
				n, err := up.Write(p[:min(len(p), 300<<10)])
				require.NoError(t, err)
				p = p[n:]
			}
		}
		up, off := begin()
		require.Zero(t, off)
		write(up, data[:cut])
		require.NoError(t, up.Close())
		up, off = begin()
		require.Equal(t, int64(cut), off)
		write(up, data[off:])
		require.NoError(t, up.Commit(t.Context(), true))
		require.NoError(t, up.Close())
		got, err := os.ReadFile(filepath.Join(dir, "x"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		var st unix.Stat_t
		require.NoError(t, unix.Stat(filepath.Join(dir, "x"), &st))
		require.Less(t, st.Blocks*512, int64(2*mib), "bytes on the disk")
	}
}
