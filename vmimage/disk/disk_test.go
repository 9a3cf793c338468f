package disk_test

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

func needs(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	require.NoError(t, err, "%s %s: %s", program, strings.Join(args, " "), out)
}

// content is what a guest may leave on a disk: noise, zeros, text, and nothing, in
// pieces that fit no cluster.
func content(size int) []byte {
	random := rand.New(rand.NewPCG(1, uint64(size)))
	noise := rand.NewChaCha8([32]byte{1})
	p := make([]byte, size)
	for at := 0; at < size; {
		n := min(size-at, 512*(1+random.IntN(600)))
		switch random.IntN(4) {
		case 0:
			noise.Read(p[at : at+n])
		case 1:
			copy(p[at:at+n], bytes.Repeat([]byte("observatory "), n/12+1))
		}
		at += n
	}
	return p
}

func open(t testing.TB, path, format string) vmimage.Source {
	t.Helper()
	d, err := disk.Open(path, format)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// extents are those of a disk, each within it and behind the one before.
func extents(t testing.TB, d vmimage.Source) (all []vmimage.Extent) {
	t.Helper()
	var end int64
	for e, err := range d.Extents() {
		require.NoError(t, err)
		require.True(t, e.Len > 0 && e.Off >= end && e.Off+e.Len <= d.Size(), "%v behind %d", e, end)
		end = e.Off + e.Len
		all = append(all, e)
	}
	return all
}

// rebuilt is a disk read by its extents alone.
func rebuilt(t testing.TB, d vmimage.Source) []byte {
	t.Helper()
	p := make([]byte, d.Size())
	for _, e := range extents(t, d) {
		n, err := d.ReadAt(p[e.Off:e.Off+e.Len], e.Off)
		require.EqualValues(t, e.Len, n)
		require.True(t, err == nil || err == io.EOF, "%v", err)
	}
	return p
}

// byQEMU is a disk as qemu-img reads it.
func byQEMU(t testing.TB, path, format string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.raw")
	run(t, "qemu-img", "convert", "-t", "unsafe", "-U", "-f", format, "-O", "raw", path, out)
	p, err := os.ReadFile(out)
	require.NoError(t, err)
	return p
}

// same compares without printing megabytes.
func same(t testing.TB, want, got []byte) {
	t.Helper()
	require.True(t, len(want) == len(got), "%d bytes, not %d", len(got), len(want))
	if bytes.Equal(want, got) {
		return
	}
	for i := range want {
		if want[i] != got[i] {
			t.Fatalf("byte %d is %d, not %d", i, got[i], want[i])
		}
	}
}

// check compares a disk with qemu-img's reading: by its extents, and by reads that
// begin and end anywhere.
func check(t *testing.T, path, format string) {
	t.Helper()
	want := byQEMU(t, path, format)
	d := open(t, path, format)
	require.EqualValues(t, len(want), d.Size())
	same(t, want, rebuilt(t, d))
	got := make([]byte, len(want)+10)
	n, err := d.ReadAt(got, 0)
	require.Equal(t, io.EOF, err)
	same(t, want, got[:n])
	if len(want) == 0 {
		return
	}
	random := rand.New(rand.NewPCG(2, uint64(len(want))))
	for range 10 {
		off := random.IntN(len(want))
		p := make([]byte, 1+random.IntN(200_000))
		n, err := d.ReadAt(p, int64(off))
		require.Equal(t, min(len(p), len(want)-off), n)
		require.True(t, err == nil || n < len(p) && err == io.EOF, "%v", err)
		require.True(t, bytes.Equal(want[off:off+n], p[:n]), "%d bytes at %d", n, off)
	}
}

// formats are the kinds of qcow2 files that there are.
var formats = map[string]string{
	"compat 0.10":           "compat=0.10",
	"clusters of 4 KiB":     "cluster_size=4k",
	"clusters of 64 KiB":    "cluster_size=64k",
	"clusters of 2 MiB":     "cluster_size=2M",
	"clusters of 512 bytes": "cluster_size=512",
	"extended L2":           "extended_l2=on,cluster_size=128k",
	"lazy refcounts":        "lazy_refcounts=on",
	"metadata in advance":   "preallocation=metadata",
	"all in advance":        "preallocation=falloc",
	"wide refcounts":        "refcount_bits=64",
}

// A disk reads as qemu-img reads it, byte for byte, and its extents leave out nothing
// but zeros.
func TestOpen_ReadsAsQEMUDoes(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	for name, options := range formats {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1 << 20, 5<<20 - 1536} {
				dir := t.TempDir()
				raw, path := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
				require.NoError(t, os.WriteFile(raw, content(size), 0o600))
				run(t, "qemu-img", "convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2", "-o", options, raw, path)
				check(t, path, "qcow2")
				// Zeros and data anew, in pieces that fit no cluster, and a snapshot in between.
				run(t, "qemu-io", "-t", "unsafe", "-f", "qcow2", "-c", "write -P 7 700k 130k", "-c", "write -z 100k 300k", path)
				if name != "clusters of 512 bytes" { // qemu-img takes long
					run(t, "qemu-img", "snapshot", "-c", "before", path)
				}
				run(t, "qemu-io", "-t", "unsafe", "-f", "qcow2", "-c", "write -P 8 64k 65k", "-c", "write -zu 512k 200k", "-c", "discard 768k 128k", path)
				check(t, path, "qcow2")
			}
		})
	}
}

// Compressed clusters are read.
func TestOpen_ReadsCompressedClusters(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	for _, options := range []string{"compat=0.10", "cluster_size=4k", "cluster_size=64k", "cluster_size=2M", "extended_l2=on", "compression_type=zstd", "compression_type=zstd,cluster_size=2M"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			raw, path := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
			require.NoError(t, os.WriteFile(raw, content(9<<20+512), 0o600))
			run(t, "qemu-img", "convert", "-t", "unsafe", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, path)
			check(t, path, "qcow2")
			run(t, "qemu-io", "-t", "unsafe", "-f", "qcow2", "-c", "write -P 7 700k 130k", "-c", "write -z 100k 300k", path)
			check(t, path, "qcow2")
		})
	}
}

// A qcow2 file reads through all that lies beneath it, whatever its clusters, its size
// and the path by which it is named.
func TestOpen_ReadsWhatLiesBeneath(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	for _, row := range []struct{ rule, base, middle, top string }{
		{"small clusters beneath large", "cluster_size=4k", "cluster_size=64k", "cluster_size=2M"},
		{"large clusters beneath small", "cluster_size=2M", "cluster_size=64k", "cluster_size=4k"},
		{"raw at the bottom", "raw", "cluster_size=64k", "cluster_size=2M"},
		{"extended L2 above", "raw", "cluster_size=4k", "extended_l2=on,cluster_size=128k"},
		{"version 2", "compat=0.10", "compat=0.10", "compat=0.10"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "far", "off"), 0o700))
			raw := filepath.Join(dir, "raw")
			require.NoError(t, os.WriteFile(raw, content(7<<20+512), 0o600))
			format := "qcow2"
			if row.base == "raw" {
				format = "raw"
				run(t, "cp", "--sparse=always", raw, filepath.Join(dir, "base"))
			} else {
				run(t, "qemu-img", "convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2", "-o", row.base, raw, filepath.Join(dir, "base"))
			}
			middle, top := filepath.Join(dir, "far", "middle"), filepath.Join(dir, "top")
			run(t, "qemu-img", "create", "-f", "qcow2", "-o", row.middle, "-b", "../base", "-F", format, middle, "9M")
			run(t, "qemu-img", "create", "-f", "qcow2", "-o", row.top, "-b", "far/middle", "-F", "qcow2", top, "8M")
			write := func(path string, commands ...string) {
				args := []string{"-t", "unsafe", "-f", "qcow2"}
				for _, c := range commands {
					args = append(args, "-c", c)
				}
				run(t, "qemu-io", append(args, path)...)
			}
			write(middle, "write -P 1 1M 5k", "write -P 2 7500k 300k", "write -z 2M 700k")
			write(top, "write -P 3 1030k 3k", "write -z 5M 5k", "write -P 4 8000k 1k")
			check(t, top, "qcow2")
			check(t, middle, "qcow2")

			// What comes before ".." may be a link: the way up is that of where it leads.
			far := filepath.Join(dir, "far", "off")
			require.NoError(t, os.WriteFile(filepath.Join(far, "base2"), content(1<<20), 0o600))
			require.NoError(t, os.MkdirAll(filepath.Join(far, "in"), 0o700))
			require.NoError(t, os.Symlink(filepath.Join(far, "in"), filepath.Join(dir, "link")))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "base2"), make([]byte, 1<<20), 0o600))
			linked := filepath.Join(dir, "link", "top")
			run(t, "qemu-img", "create", "-u", "-f", "qcow2", "-b", "../base2", "-F", "raw", linked, "1M")
			check(t, linked, "qcow2")
		})
	}
}

// Raw files are read by their extents; holes are left out.
func TestOpen_ReadsRawFiles(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	dir := t.TempDir()
	for _, size := range []int{0, 512, 9<<20 + 512} {
		path := filepath.Join(dir, "raw")
		require.NoError(t, os.WriteFile(path, content(size), 0o600))
		check(t, path, "raw")
	}
	path := filepath.Join(dir, "sparse")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(64<<20))
	for _, off := range []int64{5 << 20, 40 << 20} {
		_, err = f.WriteAt([]byte("data"), off)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	check(t, path, "raw")
	var data int64
	for _, e := range extents(t, open(t, path, "raw")) {
		data += e.Len
	}
	require.Less(t, data, int64(2<<20), "bytes in extents")
}

// No lock is taken or heeded: QEMU may have a disk open, and may open it.
func TestOpen_LeavesQEMUAlone(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-io")
	for _, format := range []string{"raw", "qcow2"} {
		path := filepath.Join(t.TempDir(), "disk")
		run(t, "qemu-img", "create", "-f", format, path, "1M")
		before := open(t, path, format)
		qemu := exec.CommandContext(t.Context(), "qemu-io", "-f", format, path)
		in, err := qemu.StdinPipe()
		require.NoError(t, err)
		out, err := qemu.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, qemu.Start())
		say := func(command string) {
			_, err := io.WriteString(in, command+"\n")
			require.NoError(t, err)
		}
		say("length")
		answer := bufio.NewScanner(out)
		for answer.Scan() && !strings.Contains(answer.Text(), "MiB") {
		}
		require.Contains(t, answer.Text(), "1 MiB") // QEMU has it open
		after := open(t, path, format)
		same(t, make([]byte, 1<<20), rebuilt(t, before))
		same(t, make([]byte, 1<<20), rebuilt(t, after))
		say("write -P 1 0 4k")
		// Not "quit": what comes with the line before stays in its buffer.
		require.NoError(t, in.Close())
		_, err = io.Copy(io.Discard, out)
		require.NoError(t, err)
		require.NoError(t, qemu.Wait())
		check(t, path, format)
	}
}

// Readers do not disturb each other.
func TestOpen_ReadsForManyAtOnce(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw")
	want := content(6 << 20)
	require.NoError(t, os.WriteFile(raw, want, 0o600))
	paths := map[string]string{raw: "raw"}
	for _, flag := range []string{"-c", "-p"} {
		path := filepath.Join(dir, "qcow2"+flag)
		run(t, "qemu-img", "convert", flag, "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", raw, path)
		paths[path] = "qcow2"
	}
	for path, format := range paths {
		d := open(t, path, format)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				got := make([]byte, len(want))
				for _, err := range d.Extents() {
					if err != nil {
						t.Error(err)
					}
				}
				if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(want, got) {
					t.Errorf("%s reads wrong: %v", path, err)
				}
			})
		}
		readers.Wait()
	}
}
