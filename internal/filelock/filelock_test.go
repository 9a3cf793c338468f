package filelock_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/internal/filelock"
)

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestTryLock_HoldsUntilTheFileIsClosed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	a, b := open(t, name), open(t, name)
	require.NoError(t, filelock.TryLock(a))
	require.ErrorIs(t, filelock.TryLock(b), filelock.ErrLocked)
	require.NoError(t, a.Close())
	require.NoError(t, filelock.TryLock(b))
}

func TestTryLock_LocksADirectory(t *testing.T) {
	dir := t.TempDir()
	a, err := filelock.OpenDir(dir)
	require.NoError(t, err)
	defer a.Close()
	b, err := filelock.OpenDir(dir)
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, filelock.TryLock(a))
	require.ErrorIs(t, filelock.TryLock(b), filelock.ErrLocked)
}

// A process that is killed leaves no lock.
func TestTryLock_EndsWithTheProcess(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	if held := os.Getenv("FILELOCK_TEST"); held != "" {
		f, err := os.OpenFile(held, os.O_RDWR|os.O_CREATE, 0o600)
		require.NoError(t, err)
		require.NoError(t, filelock.TryLock(f))
		require.NoError(t, os.WriteFile(held+".held", nil, 0o600))
		time.Sleep(time.Minute) // until it is killed
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTryLock_EndsWithTheProcess$")
	cmd.Env = append(os.Environ(), "FILELOCK_TEST="+name)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { _, err := os.Stat(name + ".held"); return err == nil }, 20*time.Second, 10*time.Millisecond)
	f := open(t, name)
	require.ErrorIs(t, filelock.TryLock(f), filelock.ErrLocked)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoError(t, filelock.TryLock(f))
}
