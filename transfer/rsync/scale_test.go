//go:build linux

package rsync_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// pairs are those with one of ours in them.
var pairs = [][2]peer{{ours, debian}, {debian, ours}, {ours, ours}}

// everyWay runs f for each pair of programs in both directions.
func everyWay(t *testing.T, f func(t *testing.T, client, server peer, push bool)) {
	t.Helper()
	for _, p := range pairs {
		for _, push := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s to %s push=%v", p[0], p[1], push), func(t *testing.T) {
				t.Parallel()
				f(t, p[0], p[1], push)
			})
		}
	}
}

// Lists of tens of thousands of files come through, and of none.
func TestInterop_ListsOfAnyLength(t *testing.T) {
	needRsync(t)
	many := t.TempDir()
	for i := range 40_000 {
		dir := filepath.Join(many, fmt.Sprint(i/977))
		if i%977 == 0 {
			require.NoError(t, os.Mkdir(dir, 0o755))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", i)), fmt.Append(nil, i), 0o644))
	}
	none := t.TempDir()
	everyWay(t, func(t *testing.T, client, server peer, push bool) {
		for _, src := range []string{many, none} {
			dst := t.TempDir()
			o := &rsync.Options{Recursive: true, Times: true}
			_, err := run(t, client, server, push, src, dst, o, "-rt")
			require.NoError(t, err)
			out, err := exec.Command("diff", "-r", src, dst).CombinedOutput()
			require.NoError(t, err, "%s", out)
			if src == many {
				// Some files in the middle are sent alone: gaps of all sizes.
				for _, i := range []int{0, 1, 300, 301, 20_000, 39_999} {
					name := filepath.Join(dst, fmt.Sprint(i/977), fmt.Sprintf("f%d", i))
					require.NoError(t, os.WriteFile(name, []byte("changed"), 0o644))
				}
				_, err := run(t, client, server, push, src, dst, o, "-rt")
				require.NoError(t, err)
				out, err := exec.Command("diff", "-r", src, dst).CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
		}
	})
}

// A name may have every byte but the slash and the zero.
func TestInterop_NamesOfAllBytes(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	for b := 1; b < 256; b++ {
		if b != '/' {
			write(t, src, fmt.Sprintf("x%cy%s", 'z', string([]byte{byte(b)})), []byte{byte(b)})
			write(t, src, string([]byte{byte(b)})+"d/f", []byte{byte(b)})
		}
	}
	stamp(t, src)
	everyWay(t, func(t *testing.T, client, server peer, push bool) {
		dst := t.TempDir()
		_, err := run(t, client, server, push, src, dst, &rsync.Options{Recursive: true, Times: true, Perms: true}, "-rtp")
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(tree(t, src), tree(t, dst)))
	})
}

// A sparse file of 3 GiB stays sparse.
func TestInterop_SparseFileOf3GiB(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 3 GiB")
	}
	needRsync(t)
	src := t.TempDir()
	f, err := os.Create(filepath.Join(src, "disk.img"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(3<<30))
	for _, off := range []int64{0, 1 << 20, 1<<31 + 5, 3<<30 - 10} {
		_, err = f.WriteAt([]byte("data"), off)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	for _, p := range []struct {
		client, server peer
		push           bool
	}{{ours, debian, false}, {debian, ours, true}} {
		t.Run(fmt.Sprintf("%s to %s", p.client, p.server), func(t *testing.T) {
			dst := t.TempDir()
			_, err := run(t, p.client, p.server, p.push, src, dst, &rsync.Options{Recursive: true, Times: true, Sparse: true}, "-rtS")
			require.NoError(t, err)
			out, err := exec.Command("cmp", filepath.Join(src, "disk.img"), filepath.Join(dst, "disk.img")).CombinedOutput()
			require.NoError(t, err, "%s", out)
			var st syscall.Stat_t
			require.NoError(t, syscall.Stat(filepath.Join(dst, "disk.img"), &st))
			require.Less(t, st.Blocks*512, int64(10<<20), "bytes on the disk")
		})
	}
}

// A full disk is an error that says so; what was there stays.
func TestPull_SaysWhenTheDiskIsFull(t *testing.T) {
	needRsync(t)
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	src, dst := days(t), t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", dst, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dst, syscall.MNT_DETACH)) })
	write(t, dst, "big", []byte("previous"))
	o := plain()
	o.Delete = rsync.DeleteNone
	for _, server := range []peer{debian, ours} {
		root, err := os.OpenRoot(dst)
		require.NoError(t, err)
		c := dial(t, server, src, o.ServerArgs(true, src+"/"))
		res, err := rsync.Pull(t.Context(), c, root, ".", o)
		c.Close()
		require.NoError(t, root.Close())
		require.ErrorIs(t, err, syscall.ENOSPC)
		var names []string
		for _, f := range res.Failed {
			require.ErrorIs(t, f, syscall.ENOSPC)
			names = append(names, f.Name)
		}
		require.Contains(t, names, "big")
		data, err := os.ReadFile(filepath.Join(dst, "big"))
		require.NoError(t, err)
		require.Equal(t, "previous", string(data))
	}
}
