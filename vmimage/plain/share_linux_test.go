package plain_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// used is how many bytes a file system holds.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, unix.Syncfs(int(d.Fd())))
	var s syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &s))
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

// rawFile writes a raw disk with holes and opens it.
func rawFile(t *testing.T, path string, data []byte) vmimage.Source {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(len(data))))
	const cluster = 64 << 10
	for off := 0; off < len(data); off += cluster {
		if p := data[off:min(off+cluster, len(data))]; !bytes.Equal(p, blank[:len(p)]) {
			_, err := f.WriteAt(p, int64(off))
			require.NoError(t, err)
		}
	}
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	s, err := disk.Open(path, "raw")
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// history is what becomes of a guest's disk: each but for a few changes as the one
// before, larger or smaller at times, in pieces that fit no page.
func history() (disks [][]byte) {
	disk := guest(1, 24*mib)
	add := func() { disks = append(disks, bytes.Clone(disk)) }
	add()
	copy(disk[5*mib+100:], guest(2, 300<<10))
	add()
	clear(disk[7*mib+512 : 9*mib+1024])
	add()
	copy(disk[8*mib:], "written where there was nothing")
	disk = append(disk, guest(3, 2*mib+512)...)
	add()
	disk = disk[:20*mib-512]
	add()
	clear(disk)
	add()
	copy(disk, guest(4, 20*mib))
	add()
	return disks
}

// sharing are the file systems on which files can share blocks.
var sharing = []string{"xfs", "btrfs"}

// Where blocks can be shared, an image holds only what differs from the newest verified
// one, and what is stored is the same as where they cannot.
func TestStore_SharesWhatHasNotChanged(t *testing.T) {
	t.Parallel()
	for _, kind := range sharing {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			shared, copied := open(t, mounted(t, kind, 512*mib)), open(t, t.TempDir())
			for i, d := range history() {
				image := at(taken.Add(time.Duration(i) * time.Hour))
				before := used(t, shared.Dir())
				got := verified(t, shared, image, content(d))
				grown := used(t, shared.Dir()) - before
				t.Logf("%d: %d KiB of %d KiB", i, grown>>10, got.Files[0].Allocated>>10)
				want := store(t, copied, image, content(d))
				require.Equal(t, want.Files, got.Files)
				read, err := os.ReadFile(filepath.Join(shared.Dir(), "web01", image.ID, "vda.img"))
				require.NoError(t, err)
				require.True(t, bytes.Equal(d, read))
				switch i {
				case 0, 6:
					require.Greater(t, grown, int64(5*mib))
				case 3:
					require.Less(t, grown, int64(4*mib))
				default:
					require.Less(t, grown, int64(mib))
				}
			}
			for _, image := range images(t, shared) {
				_, err := shared.Verify(t.Context(), image)
				require.NoError(t, err, "an image changed with another")
			}
			require.Len(t, images(t, shared), len(history()))
		})
	}
}

// A raw file on the same file system is shared, and stays what it was when that is
// written to. What is stored is the same as where it cannot be.
func TestStore_SharesARawSource(t *testing.T) {
	t.Parallel()
	for _, kind := range sharing {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			shared, copied := open(t, mounted(t, kind, 512*mib)), open(t, t.TempDir())
			for i, d := range history() {
				image := at(taken.Add(time.Duration(i) * time.Hour))
				path := filepath.Join(shared.Dir(), "source.raw")
				source := rawFile(t, path, d)
				before := used(t, shared.Dir())
				c := vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: source}}}
				got := verified(t, shared, image, c)
				require.Less(t, used(t, shared.Dir())-before, int64(mib))
				require.Equal(t, store(t, copied, image, c).Files, got.Files)
				require.NoError(t, os.WriteFile(path, []byte("the guest goes on"), 0o600))
				read, err := os.ReadFile(filepath.Join(shared.Dir(), "web01", image.ID, "vda.img"))
				require.NoError(t, err)
				require.True(t, bytes.Equal(d, read))
				_, err = shared.Verify(t.Context(), got)
				require.NoError(t, err)
			}
			// Also what is restored there.
			to := filepath.Join(shared.Dir(), "restored")
			require.NoError(t, os.Mkdir(to, 0o700))
			before := used(t, shared.Dir())
			last := images(t, shared)[len(history())-1]
			require.NoError(t, shared.Restore(t.Context(), last, to))
			require.Less(t, used(t, shared.Dir())-before, int64(mib))
			read, err := os.ReadFile(filepath.Join(to, "vda.img"))
			require.NoError(t, err)
			require.True(t, bytes.Equal(history()[len(history())-1], read))
		})
	}
}

// Zeros in data become holes, wherever the image is.
func TestStore_LeavesHolesForZeros(t *testing.T) {
	t.Parallel()
	d := bytes.Repeat([]byte{1}, 16*mib)
	clear(d[mib : 9*mib+512])
	for _, kind := range []string{"xfs", "btrfs", "ext4", "tmpfs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			target := open(t, mounted(t, kind, 512*mib))
			for i := range 2 { // a copy, and on XFS and Btrfs a share
				image := at(taken.Add(time.Duration(i) * time.Hour))
				c := vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: &memory{data: d, all: true}}}}
				got := verified(t, target, image, c)
				require.EqualValues(t, 8*mib, got.Files[0].Allocated)
				var st unix.Stat_t
				require.NoError(t, unix.Stat(filepath.Join(target.Dir(), "web01", image.ID, "vda.img"), &st))
				require.InDelta(t, 8*mib, st.Blocks*512, 256<<10)
			}
		})
	}
}
