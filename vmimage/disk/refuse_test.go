package disk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
)

// What is not understood in full is refused.
func TestOpen_RefusesWhatItCannotReadRight(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	create := func(name string, args ...string) {
		run(t, "qemu-img", slices.Concat([]string{"create", "-f", "qcow2"}, args, []string{at(name), "1M"})...)
	}
	// flip sets a bit of the incompatible features, bytes 72 to 79.
	flip := func(name string, bit byte) {
		f, err := os.OpenFile(at(name), os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{1 << bit}, 79)
		require.NoError(t, errors.Join(err, f.Close()))
	}
	require.NoError(t, os.WriteFile(at("base"), make([]byte, 1<<20), 0o600))
	create("encrypted", "--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
	create("external", "-o", "data_file="+at("data"))
	create("dirty")
	flip("dirty", 0)
	create("corrupt")
	flip("corrupt", 1)
	create("future")
	flip("future", 7)
	create("guess", "-b", at("base"), "-F", "raw")
	run(t, "qemu-img", "rebase", "-u", "-b", at("base"), "-F", "raw", at("guess"))
	header, err := os.ReadFile(at("guess"))
	require.NoError(t, err)
	header = bytes.Replace(header, []byte("\xe2\x79\x2a\xca"), []byte("\x12\x34\x56\x78"), 1) // the format of what is beneath
	require.NoError(t, os.WriteFile(at("guess"), header, 0o600))
	create("above nothing", "-u", "-b", at("nothing"), "-F", "raw")
	create("network", "-u", "-b", "nbd://127.0.0.1/disk", "-F", "raw")
	create("json", "-u", "-b", `json:{"file":{"driver":"file","filename":"base"}}`, "-F", "raw")
	create("loop", "-u", "-b", at("pool"), "-F", "qcow2")
	create("pool", "-u", "-b", at("loop"), "-F", "qcow2")
	create("above corrupt", "-u", "-b", at("corrupt"), "-F", "qcow2")
	create("above vmdk", "-u", "-b", at("base"), "-F", "vmdk")
	require.NoError(t, os.WriteFile(at("none"), []byte("QFI"), 0o600))
	run(t, "mkfifo", at("pipe"))
	for _, name := range []string{"encrypted", "external", "dirty", "corrupt", "future", "guess", "above nothing", "network", "json", "loop", "above corrupt", "above vmdk", "none", "base", "pipe"} {
		_, err := disk.Open(at(name), "qcow2")
		require.ErrorIs(t, err, errors.ErrUnsupported, name)
		require.Equal(t, name == "dirty", errors.Is(err, vmimage.ErrUnclosed), name)
		t.Log(err)
	}
	_, err = disk.Open(at("base"), "vmdk")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = disk.Open(dir, "raw")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = disk.Open(at("absent"), "raw")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A file that ends before its data is an error, never zeros.
func TestOpen_ATruncatedFileIsAnError(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-img")
	dir := t.TempDir()
	raw, path := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
	p := bytes.Repeat([]byte{1}, 4<<20)
	require.NoError(t, os.WriteFile(raw, p, 0o600))
	run(t, "qemu-img", "convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2", raw, path)
	for path, format := range map[string]string{raw: "raw", path: "qcow2"} {
		d := open(t, path, format)
		require.NoError(t, os.Truncate(path, 2<<20+100))
		_, err := d.ReadAt(make([]byte, 4<<20), 0)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, format)
	}
}

// Whatever a damaged file says, reading it ends, with an error or without.
func FuzzOpen_OutlivesDamage(f *testing.F) {
	needs(f, "qemu-img")
	dir := f.TempDir()
	raw := filepath.Join(dir, "raw")
	require.NoError(f, os.WriteFile(raw, content(40<<10), 0o600))
	for _, args := range [][]string{{"-o", "cluster_size=512"}, {"-c", "-o", "cluster_size=4k"}, {"-o", "compat=0.10,cluster_size=512"}, {"-o", "extended_l2=on,cluster_size=16k"}} {
		path := filepath.Join(dir, "qcow2")
		run(f, "qemu-img", slices.Concat([]string{"convert", "-f", "raw", "-O", "qcow2"}, args, []string{raw, path})...)
		p, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(p, uint16(0), uint64(0))
		f.Add(p, uint16(24), uint64(1<<20))
		f.Add(p, uint16(512), uint64(1<<62))
	}
	f.Fuzz(func(t *testing.T, p []byte, at uint16, value uint64) {
		if int(at)+8 <= len(p) {
			binary.BigEndian.PutUint64(p[at:], value)
		}
		path := filepath.Join(t.TempDir(), "qcow2")
		require.NoError(t, os.WriteFile(path, p, 0o600))
		d, err := disk.Open(path, "qcow2")
		if err != nil {
			return
		}
		defer d.Close()
		if d.Size() > 1<<20 {
			return
		}
		for _, err := range d.Extents() {
			_ = err
		}
		_, _ = d.ReadAt(make([]byte, d.Size()), 0)
	})
}
