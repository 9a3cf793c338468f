package diskspace_test

import (
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/stretchr/testify/require"
)

func TestStat_MeasuresTheVolumeOfThePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	u, err := diskspace.Stat(dir)
	require.NoError(t, err)
	require.NotZero(t, u.Total)
	require.LessOrEqual(t, u.Avail, u.Free)
	require.LessOrEqual(t, u.Free, u.Total)
	ofFile, err := diskspace.Stat(file)
	require.NoError(t, err)
	require.Equal(t, u.Volume, ofFile.Volume)
	require.Equal(t, u.Total, ofFile.Total)
}

func TestStat_AsksTheNearestParentThatExists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want, err := diskspace.Stat(dir)
	require.NoError(t, err)
	got, err := diskspace.Stat(filepath.Join(dir, "2026", "268", "x"))
	require.NoError(t, err)
	require.Equal(t, want.Volume, got.Volume)
	_, err = diskspace.Stat("no such file, relative to the working directory/x")
	require.NoError(t, err)
}

// A link to a volume that is not mounted must not be taken for the volume
// that the link is on.
func TestStat_RefusesALinkToNowhere(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "backup")
	if err := os.Symlink(filepath.Join(t.TempDir(), "not mounted"), link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	for _, path := range []string{link, filepath.Join(link, "2026")} {
		_, err := diskspace.Stat(path)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// What a file system claims is never multiplied into nonsense.
func TestStat_BelievesNoImpossibleNumbers(t *testing.T) {
	t.Parallel()
	less := ^uint64(0) - 9 // ten blocks less than none are left for ordinary users
	u := diskspace.UnixUsage(1, 4096, 1000, 5, less, 100, 50)
	require.Equal(t, diskspace.Usage{Volume: 1, Total: 1000 * 4096, Free: 5 * 4096, Avail: 5 * 4096, Inodes: 50, TotalInodes: 100}, u)
	u = diskspace.UnixUsage(1, 4096, 1<<60, 1<<60, 1<<60, 0, 0)
	require.EqualValues(t, uint64(math.MaxUint64), u.Total)
}
