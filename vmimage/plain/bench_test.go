package plain_test

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
)

const gib = 1 << 30

// noise writes so many random bytes at several places of a file of a size.
func noise(b *testing.B, path string, size int64, each int64, at ...int64) {
	b.Helper()
	f, err := os.Create(path)
	require.NoError(b, err)
	require.NoError(b, f.Truncate(size))
	random := rand.NewChaCha8([32]byte{1})
	p := make([]byte, 1<<20)
	for _, off := range at {
		for n := int64(0); n < each; n += int64(len(p)) {
			_, err := random.Read(p)
			require.NoError(b, err)
			_, err = f.WriteAt(p, off+n)
			require.NoError(b, err)
		}
	}
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
}

// BenchmarkStore1GiB stores a disk: "sparse" is one of 4 GiB of which 145 MiB are data. By
// turns dd writes the same bytes, and nothing is hashed; "of-dd" is how many times as fast
// as that the image is stored. Each figure is the median of the runs.
func BenchmarkStore1GiB(b *testing.B) {
	sources := b.TempDir()
	raw, sparse, qcow2 := filepath.Join(sources, "raw"), filepath.Join(sources, "sparse"), filepath.Join(sources, "qcow2")
	noise(b, raw, gib, gib, 0)
	noise(b, sparse, 4*gib, 29<<20, 0, gib/2, gib, 2*gib, 4*gib-29<<20)
	convert(b, raw, qcow2, "extended_l2=off")
	for _, row := range []struct {
		name, path, format string
		bytes              int64
	}{
		{"raw", raw, "raw", gib},
		{"qcow2", qcow2, "qcow2", gib},
		{"sparse", sparse, "raw", 4 * gib},
	} {
		b.Run(row.name, func(b *testing.B) {
			target := open(b, b.TempDir())
			copied := filepath.Join(b.TempDir(), "copied")
			var rate, ratio []float64
			for b.Loop() {
				source, err := disk.Open(row.path, row.format)
				require.NoError(b, err)
				began := time.Now()
				image, err := target.Store(b.Context(), at(time.Now()), vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: source}}})
				require.NoError(b, err)
				ours := time.Since(began)
				require.NoError(b, source.Close())
				require.NoError(b, target.Remove(b.Context(), image))

				began = time.Now()
				out, err := exec.Command("dd", "if="+row.path, "of="+copied, "bs=1M", "conv=sparse,fsync").CombinedOutput()
				require.NoError(b, err, "%s", out)
				ratio = append(ratio, time.Since(began).Seconds()/ours.Seconds())
				require.NoError(b, os.Remove(copied))
				rate = append(rate, float64(row.bytes)/(1<<20)/ours.Seconds())
			}
			slices.Sort(rate)
			slices.Sort(ratio)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate[len(rate)/2], "MiB/s")
			b.ReportMetric(ratio[len(ratio)/2], "of-dd")
		})
	}
}

// BenchmarkVerify1GiB verifies a disk, which is read from the disk.
func BenchmarkVerify1GiB(b *testing.B) {
	raw := filepath.Join(b.TempDir(), "raw")
	noise(b, raw, gib, gib, 0)
	target := open(b, b.TempDir())
	source, err := disk.Open(raw, "raw")
	require.NoError(b, err)
	defer source.Close()
	image, err := target.Store(context.Background(), at(time.Now()), vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: source}}})
	require.NoError(b, err)
	b.SetBytes(gib)
	for b.Loop() {
		_, err := target.Verify(context.Background(), image)
		require.NoError(b, err)
	}
}

// BenchmarkRead1GiB reads a disk and does nothing with it.
func BenchmarkRead1GiB(b *testing.B) {
	dir := b.TempDir()
	raw := filepath.Join(dir, "raw")
	noise(b, raw, gib, gib, 0)
	for _, row := range []struct{ name, format, options string }{
		{"raw", "raw", ""},
		{"qcow2", "qcow2", "extended_l2=off"},
		{"extended_l2", "qcow2", "extended_l2=on"},
	} {
		b.Run(row.name, func(b *testing.B) {
			path := raw
			if row.format != "raw" {
				path = filepath.Join(dir, row.name)
				convert(b, raw, path, row.options)
			}
			source, err := disk.Open(path, row.format)
			require.NoError(b, err)
			defer source.Close()
			p := make([]byte, 1<<20)
			b.SetBytes(gib)
			for b.Loop() {
				for off := int64(0); off < gib; off += int64(len(p)) {
					_, err := source.ReadAt(p, off)
					require.NoError(b, err)
				}
			}
		})
	}
}

// convert makes a qcow2 file of a raw one, and leaves nothing for the disk to do.
func convert(b *testing.B, raw, to, options string) {
	b.Helper()
	out, err := exec.Command("qemu-img", "convert", "-t", "writeback", "-f", "raw", "-O", "qcow2", "-o", options, raw, to).CombinedOutput()
	require.NoError(b, err, "%s", out)
	out, err = exec.Command("sync", to).CombinedOutput()
	require.NoError(b, err, "%s", out)
}

// BenchmarkSHA256 is the floor: nothing that hashes is faster.
func BenchmarkSHA256(b *testing.B) {
	for _, row := range []struct {
		name string
		size int
	}{{"data", 1 << 20}, {"zeros", 64 << 10}} {
		b.Run(row.name, func(b *testing.B) {
			p := make([]byte, row.size)
			h := sha256.New()
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				h.Write(p)
			}
		})
	}
}

func open(t testing.TB, dir string) *plain.Target {
	t.Helper()
	target, err := plain.Open(dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { target.Close() })
	return target
}

// at is an image of a point in time, of the machine web01.
func at(taken time.Time) vmimage.Image {
	return vmimage.Image{Machine: "web01", UUID: "0d0b9f6e", ID: vmimage.NewID(taken), Taken: taken, Consistency: vmimage.Clean}
}
