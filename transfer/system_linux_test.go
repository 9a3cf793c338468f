package transfer_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// asNobody runs the test again as an ordinary user, if this one is root, and
// reports whether it is to go on here.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chown(dir, 65534, 65534))
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// A file and a directory that the user may not read are named; all the rest is
// copied.
func TestMirror_DoesTheRestAfterWhatItMayNotRead(t *testing.T) {
	if !asNobody(t) {
		return
	}
	src, dst := day(t), t.TempDir()
	write(t, src, "secret/x", nil)
	require.NoError(t, os.Chmod(filepath.Join(src, "268/0100.dat"), 0))
	require.NoError(t, os.Chmod(filepath.Join(src, "secret"), 0))
	t.Cleanup(func() {
		for _, dir := range []string{src, dst} {
			require.NoError(t, os.Chmod(filepath.Join(dir, "secret"), 0o700))
		}
	})
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.Equal(t, []string{"read 268/0100.dat", "list secret"}, failures(t, err))
	require.ErrorIs(t, err, os.ErrPermission)
	for _, name := range []string{"268/0000.dat", "268/deep/er/last.dat", "empty", "void"} {
		_, err := os.Lstat(filepath.Join(dst, name))
		require.NoError(t, err)
	}
	require.NoFileExists(t, filepath.Join(dst, "268/0100.dat"))
}

// A directory that its owner may not write into is mirrored all the same, and
// again when there is something new in it.
func TestMirror_FillsAReadOnlyDirectory(t *testing.T) {
	if !asNobody(t) {
		return
	}
	src, dst := day(t), t.TempDir()
	sealed := func(mode os.FileMode) {
		for _, dir := range []string{src, dst} {
			require.NoError(t, os.Chmod(filepath.Join(dir, "268"), mode))
		}
	}
	require.NoError(t, os.Chmod(filepath.Join(src, "268"), 0o555))
	t.Cleanup(func() { sealed(0o755) })
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	requireSameTree(t, src, dst)
	require.NoError(t, os.Chmod(filepath.Join(src, "268"), 0o755))
	write(t, src, "268/0200.dat", []byte("new"))
	stamp(t, src, "268", later)
	require.NoError(t, os.Chmod(filepath.Join(src, "268"), 0o555))
	_, err = transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	requireSameTree(t, src, dst)
}

// What was cut after it got the mode of a file that may only be read does not
// stop the next mirror.
func TestMirror_ReplacesAReadOnlyPart(t *testing.T) {
	if !asNobody(t) {
		return
	}
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, "big", randomBytes(1, bigSize))
	killed(t, dst, src)
	require.NoError(t, os.Chmod(only(t, dst, ".obskeep-part-*"), 0o444))
	_, err := transfer.Mirror(t.Context(), local(t, dst), local(t, src), nil)
	require.NoError(t, err)
	requireSameTree(t, src, dst)
}

// Pipes, sockets and devices are skipped and reported, and never opened.
func TestMirror_SkipsSpecialFiles(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	write(t, src, "file", nil)
	want := []transfer.Skip{{Name: "pipe", Reason: "named pipe"}, {Name: "socket", Reason: "socket"}}
	require.NoError(t, unix.Mkfifo(filepath.Join(src, "pipe"), 0o600))
	l, err := net.Listen("unix", filepath.Join(src, "socket"))
	require.NoError(t, err)
	defer l.Close()
	if os.Geteuid() == 0 {
		require.NoError(t, unix.Mknod(filepath.Join(src, "device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		want = append([]transfer.Skip{{Name: "device", Reason: "device"}}, want...)
	}
	c := sshtest.Start(t).Config()
	for _, from := range []transfer.Store{local(t, src), remote(t, c, src)} {
		dst := new(storetest.Mem)
		res, err := transfer.Mirror(t.Context(), dst, from, nil)
		require.NoError(t, err)
		require.Equal(t, want, res.Skipped)
		require.Equal(t, []string{".", "file"}, dst.Names())
	}
}

// tmpfs mounts a small file system.
func tmpfs(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		need(t, "cannot mount a tmpfs: "+err.Error())
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// A full disk is one error. Nothing half is visible, what did not fit does not
// keep the disk full, and the next mirror does the rest once there is room.
func TestMirror_EndsOnAFullDisk(t *testing.T) {
	t.Parallel()
	c := sshtest.Start(t).Config()
	for _, row := range []struct {
		rule string
		open func(t *testing.T, dir string) transfer.Store
	}{
		{"here", func(t *testing.T, dir string) transfer.Store { return local(t, dir) }},
		{"over SFTP", func(t *testing.T, dir string) transfer.Store { return remote(t, c, dir) }},
	} {
		t.Run(row.rule, func(t *testing.T) {
			dir := tmpfs(t, "8m")
			src, dst := t.TempDir(), row.open(t, dir)
			write(t, src, "a/small", []byte("small"))
			write(t, src, "b/big", randomBytes(1, 7<<20))
			for _, name := range []string{"a", "b", "."} {
				stamp(t, src, name, noon)
			}
			write(t, dir, "ballast", make([]byte, 3<<20))
			_, err := transfer.Mirror(t.Context(), dst, local(t, src), &transfer.Options{Workers: 1})
			require.ErrorIs(t, err, unix.ENOSPC)
			require.NotErrorAs(t, err, new(*transfer.IncompleteError))
			var file *transfer.FileError
			require.ErrorAs(t, err, &file)
			require.Equal(t, "write b/big", file.Op+" "+file.Name)
			require.NotContains(t, err.Error(), "\n")
			require.FileExists(t, filepath.Join(dir, "a/small"))
			require.NoFileExists(t, filepath.Join(dir, "b/big"))
			require.Empty(t, hidden(tree(t, dir)))
			var st unix.Statfs_t
			require.NoError(t, unix.Statfs(dir, &st))
			require.Greater(t, int64(st.Bavail)*st.Bsize, int64(4<<20))

			require.NoError(t, os.Remove(filepath.Join(dir, "ballast")))
			res, err := transfer.Mirror(t.Context(), dst, local(t, src), nil)
			require.NoError(t, err)
			require.Equal(t, 1, res.Copied)
			got := tree(t, dir)
			for name, e := range tree(t, src) {
				require.Equal(t, e.Data, got[name].Data, name)
			}
		})
	}
}

// A destination that has become read-only is one error, not one for each file.
func TestMirror_EndsOnAReadOnlyDisk(t *testing.T) {
	t.Parallel()
	c := sshtest.Start(t).Config()
	for _, open := range []func(t *testing.T, dir string) transfer.Store{
		func(t *testing.T, dir string) transfer.Store { return local(t, dir) },
		func(t *testing.T, dir string) transfer.Store { return remote(t, c, dir) },
	} {
		dir := tmpfs(t, "8m")
		src := day(t)
		dst := open(t, dir)
		require.NoError(t, os.Mkdir(filepath.Join(dir, "268"), 0o755))
		require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		_, err := transfer.Mirror(t.Context(), dst, local(t, src), nil)
		require.ErrorIs(t, err, unix.EROFS)
		require.NotErrorAs(t, err, new(*transfer.IncompleteError))
		require.NotContains(t, err.Error(), "\n")
		_, err = push(t, dst, "x", []byte("x"), nil)
		require.ErrorIs(t, err, unix.EROFS)
	}
}
