package diskspace_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// need ends a test for want of something that a normal machine has.
func need(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// mountTmpfs mounts a file system of its own for the test.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, "only root can mount a tmpfs")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		need(t, fmt.Sprintf("mount a tmpfs: %v", err))
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

// tell runs a program of coreutils that prints numbers.
func tell(t *testing.T, name string, args ...string) []uint64 {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		need(t, name+" is not installed")
	}
	out, err := exec.CommandContext(t.Context(), path, args...).Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var numbers []uint64
	for field := range strings.FieldsSeq(lines[len(lines)-1]) {
		var n uint64
		_, err := fmt.Sscan(field, &n)
		require.NoError(t, err, "%s", out)
		numbers = append(numbers, n)
	}
	return numbers
}

func TestStat_AgreesWithDfAndStat(t *testing.T) {
	dir := mountTmpfs(t, "size=8m,nr_inodes=100")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), bytes.Repeat([]byte("x"), 3*mib), 0o644))

	u, err := diskspace.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, tell(t, "df", "--block-size=1", "--output=size,avail,iavail,itotal", dir),
		[]uint64{u.Total, u.Avail, u.Inodes, u.TotalInodes})
	blocks := tell(t, "stat", "--file-system", "--format=%S %b %f %a %c %d", dir)
	unit := blocks[0]
	require.Equal(t, blocks[1:],
		[]uint64{u.Total / unit, u.Free / unit, u.Avail / unit, u.TotalInodes, u.Inodes})
	require.Equal(t, tell(t, "stat", "--format=%d", dir), []uint64{u.Volume})
	require.EqualValues(t, 8*mib, u.Total)
	require.EqualValues(t, 5*mib, u.Avail)
	require.EqualValues(t, 98, u.Inodes)
}

// The root file system keeps blocks for root where it is ext4, and Stat tells
// both numbers as stat(1) does.
func TestStat_AgreesWithStatOnTheRootFileSystem(t *testing.T) {
	// Other programs write to it: one of ten tries is undisturbed.
	for try := 0; ; try++ {
		before := tell(t, "stat", "--file-system", "--format=%S %b %f %a %c %d", "/")
		u, err := diskspace.Stat("/")
		require.NoError(t, err)
		unit := before[0]
		got := []uint64{unit, u.Total / unit, u.Free / unit, u.Avail / unit, u.TotalInodes, u.Inodes}
		if try == 9 || fmt.Sprint(before) == fmt.Sprint(got) {
			require.Equal(t, before, got)
			return
		}
	}
}

func TestStat_TellsVolumesApart(t *testing.T) {
	one, two := mountTmpfs(t, "size=1m"), mountTmpfs(t, "size=1m")
	a, err := diskspace.Stat(filepath.Join(one, "x", "y"))
	require.NoError(t, err)
	b, err := diskspace.Stat(two)
	require.NoError(t, err)
	require.NotEqual(t, a.Volume, b.Volume)
}

// What Fits says is what the kernel says: the last block that fits can be
// written, and with one more the disk is full. The same for the last inode.
func TestFits_AgreesWithARealVolume(t *testing.T) {
	dir := mountTmpfs(t, "size=4m,nr_inodes=20")
	var p diskspace.Planner
	u, err := diskspace.Stat(dir)
	require.NoError(t, err)

	require.NoError(t, p.Fits(diskspace.Need{Path: dir, Bytes: u.Avail, Inodes: u.Inodes}))
	require.ErrorIs(t, p.Fits(diskspace.Need{Path: dir, Bytes: u.Avail + 1}), syscall.ENOSPC)
	require.ErrorIs(t, p.Fits(diskspace.Need{Path: dir, Inodes: u.Inodes + 1}), syscall.ENOSPC)

	data := filepath.Join(dir, "data")
	require.NoError(t, os.WriteFile(data, make([]byte, u.Avail), 0o644))
	require.ErrorIs(t, os.WriteFile(filepath.Join(dir, "more"), make([]byte, 1), 0o644), syscall.ENOSPC)
	err = p.Fits(diskspace.Need{Path: dir, Bytes: 1})
	require.ErrorIs(t, err, syscall.ENOSPC)

	// Relief finds the room, and with it the write fits.
	full := shortfall(t, err)
	info, err := os.Stat(data)
	require.NoError(t, err)
	items, err := p.Relief(&full, []diskspace.Item{{Path: data, Bytes: u.Avail, Time: info.ModTime()}})
	require.NoError(t, err)
	for _, item := range items {
		require.NoError(t, os.Remove(item.Path))
	}
	require.NoError(t, p.Fits(diskspace.Need{Path: dir, Bytes: 1}))

	u, err = diskspace.Stat(dir)
	require.NoError(t, err)
	for n := range u.Inodes {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("empty", n)), nil, 0o644))
	}
	require.ErrorIs(t, os.WriteFile(filepath.Join(dir, "one more"), nil, 0o644), syscall.ENOSPC)
	last := shortfall(t, p.Fits(diskspace.Need{Path: dir, Inodes: 1}))
	require.True(t, last.Inodes)
}
