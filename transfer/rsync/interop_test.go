//go:build linux

package rsync_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// needRsync ends the test if there is no rsync to talk to.
func needRsync(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("rsync"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatal("rsync is not installed")
		}
		t.Skip("rsync is not installed")
	}
}

// peer is one end of a conversation.
type peer string

const (
	ours   peer = "ours"
	debian peer = "rsync"
)

// run copies src to dst, with client and server as named. push says which
// of them has src.
func run(t testing.TB, client, server peer, push bool, src, dst string, o *rsync.Options, extra ...string) (*rsync.Result, error) {
	t.Helper()
	if client == debian {
		return nil, debianClient(t, server, push, src, dst, extra)
	}
	far := src
	if push {
		far = dst
	}
	c := dial(t, server, far, o.ServerArgs(!push, far+"/"))
	defer c.Close()
	near := dst
	if push {
		near = src
	}
	root, err := os.OpenRoot(near)
	require.NoError(t, err)
	defer root.Close()
	var res *rsync.Result
	if push {
		res, err = rsync.Push(t.Context(), c, root, o, ".")
	} else {
		res, err = rsync.Pull(t.Context(), c, root, ".", o)
	}
	return res, err
}

// dial starts a server.
func dial(t testing.TB, server peer, dir string, args []string) rsync.Conn {
	t.Helper()
	if server == ours {
		return serveHere(t, args)
	}
	cmd := exec.Command("rsync", args...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	return pipes{out, in}
}

// serveHere starts a server of ours in this process.
func serveHere(t testing.TB, args []string) rsync.Conn {
	t.Helper()
	near, far, err := pipePair()
	require.NoError(t, err)
	root, err := os.OpenRoot("/")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_, err := rsync.Serve(context.Background(), far, args, root, rsync.ReadWrite)
		t.Log("server:", err)
		far.Close()
		root.Close()
	}()
	t.Cleanup(func() {
		near.Close()
		<-served
	})
	return near
}

// rsyncserve is the example of that name, for clients that start a program.
var rsyncserve = sync.OnceValues(func() (string, error) {
	file := filepath.Join(programs, "rsyncserve")
	out, err := exec.Command("go", "build", "-o", file, "../../examples/rsyncserve").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

// debianClient runs the rsync of this machine as the client.
func debianClient(t testing.TB, server peer, push bool, src, dst string, options []string) error {
	t.Helper()
	shell := filepath.Join(t.TempDir(), "shell")
	require.NoError(t, os.WriteFile(shell, []byte("#!/bin/sh\nshift\nexec sh -c \"$*\"\n"), 0o755))
	args := append([]string{"-e", shell}, options...)
	if server == ours {
		program, err := rsyncserve()
		require.NoError(t, err)
		args = append(args, "--rsync-path="+program+" -root / --")
	}
	if push {
		args = append(args, src+"/", "host:"+dst+"/")
	} else {
		args = append(args, "host:"+src+"/", dst+"/")
	}
	out, err := exec.Command("rsync", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("rsync %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// entry is what a tree holds under one name.
type entry struct {
	Mode   uint32
	Size   int64
	Time   string
	Owner  string
	Data   string
	Target string
	Links  uint64
	Dev    uint64
	SameAs string // the first name of the same inode
}

// tree is all that a directory holds.
func tree(t testing.TB, dir string) map[string]entry {
	t.Helper()
	found, first := map[string]entry{}, map[uint64]string{}
	require.NoError(t, filepath.Walk(dir, func(name string, fi os.FileInfo, err error) error {
		require.NoError(t, err)
		st := fi.Sys().(*syscall.Stat_t)
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		e := entry{Mode: st.Mode, Time: fi.ModTime().UTC().Format(time.RFC3339Nano), Owner: fmt.Sprint(st.Uid, ":", st.Gid)}
		switch {
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			e.Size = fi.Size()
			e.Data = short(data)
		case fi.Mode()&os.ModeSymlink != 0:
			e.Target, err = os.Readlink(name)
			require.NoError(t, err)
		case fi.Mode()&os.ModeDevice != 0:
			e.Dev = st.Rdev
		}
		if !fi.IsDir() && st.Nlink > 1 {
			if f, ok := first[st.Ino]; ok {
				e.SameAs = f
			} else {
				first[st.Ino] = rel
			}
			e.Links = uint64(st.Nlink)
		}
		found[rel] = e
		return nil
	}))
	return found
}

// short is data, or its checksum if that is shorter.
func short(data []byte) string {
	if len(data) < 64 {
		return string(data)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, data, 0o644))
}

func random(seed uint64, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
	return data
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// sample makes a tree with all that a tree can have.
func sample(t testing.TB, dir string) {
	t.Helper()
	write(t, dir, "empty", nil)
	write(t, dir, "small", []byte("hello, world\n"))
	write(t, dir, "big", random(1, 3<<20+17))
	write(t, dir, "sub/changed", random(2, 700_000))
	write(t, dir, "sub/deep/er/x", random(3, 100))
	write(t, dir, "sub-", []byte("a"))
	write(t, dir, "sub.d/y", []byte("b"))
	write(t, dir, "sub0/z", []byte("c"))
	write(t, dir, strings.Repeat("n", 255), []byte("long"))
	write(t, dir, "new\nline \xff\xfe ünï", []byte("odd"))
	write(t, dir, "old", []byte("1969"))
	write(t, dir, "sparse/zeros", make([]byte, 300_000))
	write(t, dir, "linked/a", []byte("one"))
	require.NoError(t, os.Link(filepath.Join(dir, "linked/a"), filepath.Join(dir, "linked/b")))
	require.NoError(t, os.Link(filepath.Join(dir, "linked/a"), filepath.Join(dir, "a-link")))
	require.NoError(t, os.Symlink("../small", filepath.Join(dir, "sub/link")))
	require.NoError(t, os.Symlink("/nowhere/at/all", filepath.Join(dir, "dangling")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o640))
	require.NoError(t, os.Chmod(filepath.Join(dir, "small"), 0o4755))
	require.NoError(t, os.Chmod(filepath.Join(dir, "big"), 0o400))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "vacant"), 0o750))
	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3))
		require.NoError(t, os.Chown(filepath.Join(dir, "sub/changed"), 1234, 4321))
	}
	stamp(t, dir)
}

// stamp gives all that is in a tree different times, long ago.
func stamp(t testing.TB, dir string) {
	t.Helper()
	var names []string
	for name := range tree(t, dir) {
		names = append(names, name)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(names)))
	for i, name := range names {
		at := noon.Add(time.Duration(i) * time.Hour)
		if name == "old" {
			at = time.Date(1965, 5, 5, 5, 5, 5, 500, time.UTC)
		}
		ts := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// stale makes dst an older, different version of the sample in src.
func stale(t testing.TB, src, dst string) {
	t.Helper()
	out, err := exec.Command("cp", "-a", src+"/.", dst).CombinedOutput()
	require.NoError(t, err, "%s", out)
	data, err := os.ReadFile(filepath.Join(src, "big"))
	require.NoError(t, err)
	data = append([]byte("inserted"), data...)
	copy(data[1_000_000:], random(9, 5000))
	require.NoError(t, os.Chmod(filepath.Join(dst, "big"), 0o600))
	write(t, dst, "big", data)
	write(t, dst, "sub/changed", data[:500_000])
	write(t, dst, "extra/one/two", []byte("extra"))
	write(t, dst, "extra-file", []byte("extra"))
	require.NoError(t, os.Remove(filepath.Join(dst, "sub/link")))
	write(t, dst, "sub/link", []byte("was a file"))
	require.NoError(t, os.Remove(filepath.Join(dst, "sub0/z")))
	require.NoError(t, os.Remove(filepath.Join(dst, "sub0")))
	write(t, dst, "sub0", []byte("was a file, too"))
}

// all are the options with which a tree comes out the same in everything.
func all() *rsync.Options {
	return &rsync.Options{
		Recursive: true, Links: true, Perms: true, Times: true, Owner: true, Group: true,
		Devices: true, Specials: true, HardLinks: true, Delete: rsync.DeleteDuring,
	}
}

// Every pair of programs, in both directions and with every combination of
// what changes the bytes on the wire, makes the same tree.
func TestInterop_TreesComeOutTheSame(t *testing.T) {
	needRsync(t)
	src := t.TempDir()
	sample(t, src)
	want := tree(t, src)
	for _, row := range []struct {
		name   string
		change func(o *rsync.Options)
		extra  []string // for a client of Debian's
	}{
		{"plain", func(*rsync.Options) {}, nil},
		{"list in one", func(o *rsync.Options) { o.NoIncremental = true }, []string{"--no-inc-recursive"}},
		{"version 31", func(o *rsync.Options) { o.Version = 31 }, []string{"--protocol=31"}},
		{"version 30", func(o *rsync.Options) { o.Version = 30 }, []string{"--protocol=30"}},
		{"version 29", func(o *rsync.Options) { o.Version = 29 }, []string{"--protocol=29"}},
		{"xxh3", func(o *rsync.Options) { o.Checksums = []string{"xxh3"} }, []string{"--checksum-choice=xxh3"}},
		{"xxh64", func(o *rsync.Options) { o.Checksums = []string{"xxh64"} }, []string{"--checksum-choice=xxh64"}},
		{"md5", func(o *rsync.Options) { o.Checksums = []string{"md5"} }, []string{"--checksum-choice=md5"}},
		{"negative seed", func(o *rsync.Options) { o.Seed = -5 }, []string{"--checksum-seed=-5"}},
		{"negotiated compression", func(o *rsync.Options) { o.Compress = []string{"zstd", "lz4", "zlibx"} }, []string{"-z"}},
		{"zstd", func(o *rsync.Options) { o.Compress = []string{"zstd"} }, []string{"-z", "--compress-choice=zstd"}},
		{"lz4", func(o *rsync.Options) { o.Compress = []string{"lz4"} }, []string{"-z", "--compress-choice=lz4"}},
		{"zlibx", func(o *rsync.Options) { o.Compress = []string{"zlibx"} }, []string{"-z", "--compress-choice=zlibx"}},
		{"numeric ids", func(o *rsync.Options) { o.NumericIDs = true }, []string{"--numeric-ids"}},
		{"checksum", func(o *rsync.Options) { o.Checksum = true }, []string{"-c"}},
		{"block size", func(o *rsync.Options) { o.BlockSize = 1000 }, []string{"-B1000"}},
		{"whole files", func(o *rsync.Options) { o.WholeFile = true }, []string{"-W"}},
		{"in place", func(o *rsync.Options) { o.InPlace = true }, []string{"--inplace"}},
		{"sparse", func(o *rsync.Options) { o.Sparse = true }, []string{"-S"}},
		{"delete before", func(o *rsync.Options) { o.Delete = rsync.DeleteBefore }, []string{"--delete-before"}},
		{"delete delay", func(o *rsync.Options) { o.Delete = rsync.DeleteDelay }, []string{"--delete-delay"}},
		{"delete after", func(o *rsync.Options) { o.Delete = rsync.DeleteAfter }, []string{"--delete-after"}},
		{"partial dir", func(o *rsync.Options) { o.PartialDir = ".part" }, []string{"--partial-dir=.part"}},
		{"fsync", func(o *rsync.Options) { o.Fsync = true }, []string{"--fsync"}},
		{"timeout", func(o *rsync.Options) { o.Timeout = 30 * time.Second }, []string{"--timeout=30"}},
	} {
		for _, pair := range [][2]peer{{ours, debian}, {debian, ours}, {ours, ours}} {
			for _, push := range []bool{true, false} {
				for _, fresh := range []bool{true, false} {
					name := fmt.Sprintf("%s/%s to %s push=%v new=%v", row.name, pair[0], pair[1], push, fresh)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						dst := t.TempDir()
						if !fresh {
							stale(t, src, dst)
						}
						o := all()
						row.change(o)
						extra := append([]string{"-aH", "--delete"}, row.extra...)
						want := want
						if o.Version == 29 || o.Version == 30 {
							want = wholeSeconds(want)
						}
						res, err := run(t, pair[0], pair[1], push, src, dst, o, extra...)
						require.NoError(t, err)
						got := tree(t, dst)
						if o.Version == 29 || o.Version == 30 {
							got = wholeSeconds(got)
						}
						require.Empty(t, cmp.Diff(want, got))
						if res != nil && !fresh && o.BlockSize == 0 && !o.WholeFile {
							require.Greater(t, res.Matched, int64(2<<20), "%+v", res.Stats)
						}
						// Nothing is sent the second time.
						res, err = run(t, pair[0], pair[1], push, src, dst, o, extra...)
						require.NoError(t, err)
						if res != nil && o.Version != 29 && o.Version != 30 {
							require.Zero(t, res.Sent, "%+v", res.Stats)
							require.Zero(t, res.Deleted)
						}
					})
				}
			}
		}
	}
}

// wholeSeconds is a tree as the protocol before version 31 has it.
func wholeSeconds(m map[string]entry) map[string]entry {
	out := map[string]entry{}
	for name, e := range m {
		at, err := time.Parse(time.RFC3339Nano, e.Time)
		if err != nil {
			panic(err)
		}
		e.Time = at.Truncate(time.Second).Format(time.RFC3339)
		if name == "old" {
			e.Time = "" // version 29 has no times before 1970
		}
		out[name] = e
	}
	return out
}
