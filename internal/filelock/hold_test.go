package filelock_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/internal/filelock"
)

func TestHold_TellsWhoHasIt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	a, b := open(t, name), open(t, name)
	release, err := filelock.Hold(a)
	require.NoError(t, err)
	_, err = filelock.Hold(b)
	require.ErrorIs(t, err, filelock.ErrLocked)
	held, ok := errors.AsType[*filelock.HeldError](err)
	require.True(t, ok)
	require.Contains(t, held.Owner, fmt.Sprintf("pid %d on ", os.Getpid()))
	require.NoError(t, release())
	_, err = filelock.Hold(b)
	require.NoError(t, err)
}
