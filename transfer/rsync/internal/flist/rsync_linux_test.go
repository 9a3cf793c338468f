package flist_test

import (
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

func rsync(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("rsync")
	if err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip("rsync is not installed")
	}
	return program
}

// server starts rsync as a server, speaks the handshake, and sets in o what it
// decides.
func server(t *testing.T, o *flist.Options, args ...string) (*wire.Reader, *wire.Writer, *exec.Cmd) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), rsync(t), append([]string{"--server"}, args...)...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { in.Close(); cmd.Wait() })

	r, w := wire.NewReader(out), wire.NewWriter(in)
	w.Int(int32(o.Version))
	require.NoError(t, w.Flush())
	require.GreaterOrEqual(t, r.Int(), int32(o.Version))
	r.SetVersion(o.Version)
	w.SetVersion(o.Version)
	if o.Version >= 30 {
		flags := r.Varint()
		o.Incremental, o.SafeErrors, o.Varint, o.IDZero = flags&1 != 0, flags&8 != 0, flags&128 != 0, flags&256 != 0
	}
	if o.Varint {
		w.Vstring("md5")
		require.NoError(t, w.Flush())
		r.Vstring(1000)
	}
	require.Equal(t, int32(seed), r.Int())
	r.Multiplex(func(m wire.Message) error {
		fmt.Fprintf(t.Output(), "message %d: %q\n", m.Type, m.Data)
		return nil
	})
	if o.Version >= 30 {
		w.Multiplex()
	}
	require.NoError(t, r.Err())
	return r, w, cmd
}

const seed = 7

// letters returns the cluster of options for the command line.
func letters(o flist.Options, capabilities string) string {
	var s strings.Builder
	s.WriteString("-tpr")
	for _, opt := range []struct {
		on     bool
		letter string
	}{{o.Owner, "o"}, {o.Group, "g"}, {o.Links, "l"}, {o.HardLinks, "H"}, {o.Devices && o.Specials, "D"}, {o.Atimes, "U"}, {o.SumLen > 0, "c"}, {o.ACLs, "A"}, {o.Xattrs, "X"}, {o.Relative, "R"}} {
		if opt.on {
			s.WriteString(opt.letter)
		}
	}
	return s.String() + "e." + capabilities
}

// listOf returns the lists that rsync sends of paths.
func listOf(t *testing.T, o *flist.Options, capabilities string, paths ...string) ([][]*flist.Entry, flist.IDNames) {
	t.Helper()
	args := []string{"--sender", letters(*o, capabilities), fmt.Sprint("--checksum-seed=", seed)}
	if o.NumericIDs {
		args = append(args, "--numeric-ids")
	}
	r, w, _ := server(t, o, append(append(args, "."), paths...)...)
	w.Int(0)
	require.NoError(t, w.Flush())
	d := flist.NewDecoder(r, *o)
	next := func() (list []*flist.Entry) {
		for e, ok := d.Next(); ok; e, ok = d.Next() {
			list = append(list, e)
		}
		return list
	}
	lists := [][]*flist.Entry{next()}
	ids := d.IDs()
	if o.Incremental {
		for r.Index() != wire.EndOfLists && r.Err() == nil {
			lists = append(lists, next())
		}
	}
	require.NoError(t, r.Err())
	require.Zero(t, d.IOErrors())
	return lists, ids
}

// zoo makes one of each kind of file, as far as the user may; one of the
// regular files has a size, the others are empty.
func zoo(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"sub", "sub-", "sub/deep", "sub.d"} {
		require.NoError(t, os.Mkdir(path(name), 0o755))
	}
	for _, name := range []string{"empty", "sub/f", "sub/deep/é", "sub-/f", "early", "late", strings.Repeat("n", 255)} {
		require.NoError(t, os.WriteFile(path(name), nil, 0o640))
	}
	require.NoError(t, os.Truncate(path("sub/f"), size))
	require.NoError(t, os.Link(path("empty"), path("sub/link")))
	require.NoError(t, os.Link(path("empty"), path("zlink")))
	require.NoError(t, os.Symlink("../target/é", path("symlink")))
	require.NoError(t, unix.Mkfifo(path("fifo"), 0o600))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("socket"), Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	if os.Geteuid() == 0 {
		for i, number := range []uint64{unix.Mkdev(8, 1), unix.Mkdev(8, 300), unix.Mkdev(300, 70000), unix.Mkdev(8, 2)} {
			require.NoError(t, unix.Mknod(path(fmt.Sprint("dev", i)), unix.S_IFBLK|0o600, int(number)))
		}
		require.NoError(t, os.Link(path("dev0"), path("dev2link")))
		require.NoError(t, unix.Mknod(path("dev4"), unix.S_IFCHR|0o600, int(unix.Mkdev(300, 3))))
		require.NoError(t, os.Lchown(path("early"), 1, 2))
		require.NoError(t, os.Lchown(path("late"), 54321, 54321))
	}
	// Times of long ago: rsync does not set those that are right to the second.
	names := namesBelow(t, dir)
	slices.Reverse(names)
	for i, name := range names {
		sec := 1e9 + int64(i)/5
		switch name {
		case "early":
			sec = -100000
		case "late":
			sec = 1 << 33
		}
		times := []unix.Timespec{{Sec: sec + 5}, {Sec: sec, Nsec: int64(i) % 3 * 499999999}}
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, path(name), times, unix.AT_SYMLINK_NOFOLLOW))
	}
	return dir
}

// stat returns the entry that a sender must make of a file, without Link.
func stat(t *testing.T, dir, name string, o flist.Options) *flist.Entry {
	t.Helper()
	path := filepath.Join(dir, name)
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st))
	e := &flist.Entry{Name: name, Size: st.Size, Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec), Mode: st.Mode, UID: st.Uid, GID: st.Gid, Extra: &flist.Extra{Link: -1}}
	e.Atime = st.Atim.Sec
	e.Top = name == "."
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		require.NoError(t, err)
		e.Target = target
	case unix.S_IFBLK, unix.S_IFCHR:
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case unix.S_IFREG:
		if o.SumLen > 0 && st.Size == 0 {
			sum := md5.Sum(nil)
			e.Sum = sum[:]
		}
	}
	if st.Nlink > 1 && !e.IsDir() {
		e.Link = int32(st.Ino)
	}
	return e
}

func namesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		name, e := filepath.Rel(dir, path)
		if e != nil {
			return e
		}
		out = append(out, name)
		return err
	}))
	return out
}

// A Decoder reads the list that rsync sends, in each version and form, with
// each option; every field is that of the file.
func TestDecoder_ReadsTheListsOfRsync(t *testing.T) {
	t.Parallel()
	dir := zoo(t, 5<<30)
	all := flist.Options{Owner: true, Group: true, Devices: true, Specials: true, Links: true, HardLinks: true}
	for _, tt := range []struct {
		name         string
		version      int
		capabilities string
		change       func(*flist.Options)
	}{
		{"32", 32, "LsfxCIvu", nil},
		{"32 incremental", 32, "iLsfxCIvu", nil},
		{"31", 31, "LsfxCIvu", nil},
		{"31 old flags", 31, "LsfxC", nil},
		{"31 without capabilities", 31, "", nil},
		{"31 incremental old flags", 31, "iLsfxC", nil},
		{"30", 30, "LsfxC", nil},
		{"30 incremental", 30, "iLsfxC", nil},
		{"29", 29, "", nil},
		{"plain", 32, "LsfxCIvu", func(o *flist.Options) { *o = flist.Options{} }},
		{"numeric ids", 32, "LsfxCIvu", func(o *flist.Options) { o.NumericIDs = true }},
		{"incremental numeric ids", 32, "iLsfxCIvu", func(o *flist.Options) { o.NumericIDs = true }},
		{"access times", 32, "LsfxCIvu", func(o *flist.Options) { o.Atimes = true }},
		{"access control lists", 32, "LsfxCIvu", func(o *flist.Options) { o.ACLs = true }},
		{"extended attributes", 32, "iLsfxCIvu", func(o *flist.Options) { o.Xattrs = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := all
			if tt.change != nil {
				tt.change(&o)
			}
			o.Version = tt.version
			lists, ids := listOf(t, &o, tt.capabilities, dir+"/")
			list := slices.Concat(lists...)
			want := make(map[string]*flist.Entry)
			for _, name := range namesBelow(t, dir) {
				e := stat(t, dir, name, o)
				if !o.Devices {
					e.Major, e.Minor = 0, 0
				}
				if !o.Links {
					e.Target = ""
				}
				want[name] = e
			}
			require.Len(t, list, len(want))
			first := make(map[int32]int32) // group to inode
			for _, e := range list {
				w := want[e.Name]
				require.NotNil(t, w, e.Name)
				if !o.Owner {
					w.UID, w.GID = 0, 0
				}
				if o.Version < 31 {
					w.Nsec = 0
				}
				if o.Version < 30 {
					w.Sec = int64(uint32(w.Sec))
				}
				got := *e
				got.Extra = &flist.Extra{Link: -1}
				if e.Extra != nil {
					*got.Extra = *e.Extra
				}
				if w.Link >= 0 && o.HardLinks {
					if first[got.Link] == 0 {
						first[got.Link] = w.Link
					}
					got.Link = first[got.Link]
				} else {
					w.Link = -1
				}
				if e.Mode>>12 == 1 || e.Mode>>12 == 12 {
					got.Major, got.Minor = 0, 0
				}
				got.User, got.Group = "", ""
				if o.Incremental && !o.NumericIDs && got.Extra != nil && e.UID == 1 {
					require.Equal(t, "daemon", e.User)
				}
				if !o.Atimes || e.IsDir() {
					w.Atime = 0
				}
				if diff := cmp.Diff(w, &got); diff != "" {
					t.Errorf("(-file +entry):\n%s", diff)
				}
			}
			if os.Geteuid() == 0 && o.Owner && !o.NumericIDs && !o.Incremental {
				require.Equal(t, "daemon", ids.Users[1])
				require.Equal(t, "bin", ids.Groups[2])
				if o.IDZero {
					require.Equal(t, "root", ids.Users[0])
				}
			}
		})
	}
}

func TestDecoder_ReadsTheChecksumsOfRsync(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), []byte("hello"), 0o644))
	require.NoError(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "g")))
	require.NoError(t, os.Symlink("f", filepath.Join(dir, "h")))
	o := flist.Options{Version: 32, SumLen: md5.Size, HardLinks: true, Links: true}
	lists, _ := listOf(t, &o, "LsfxCIvu", dir+"/f", dir+"/g", dir+"/h")
	sum := md5.Sum([]byte("hello"))
	require.Len(t, lists[0], 3)
	require.Equal(t, sum[:], lists[0][0].Sum)
	require.Equal(t, sum[:], lists[0][1].Sum)
	require.Empty(t, lists[0][2].Sum)
}

// Names of rsync -R lose the slash at their beginning.
func TestDecoder_ReadsRelativeNames(t *testing.T) {
	t.Parallel()
	dir := zoo(t, 5<<30)
	o := flist.Options{Version: 32, Relative: true}
	lists, _ := listOf(t, &o, "LsfxCIvu", dir+"/sub", dir+"/early")
	var got []string
	for _, e := range lists[0] {
		got = append(got, e.Name)
		require.NotEqual(t, byte('/'), e.Name[0])
	}
	require.Contains(t, got, dir[1:]+"/sub/f")
	require.Contains(t, got, dir[1:]+"/early")
}

// Sort gives the order of rsync, whatever the names.
func TestSort_IsTheOrderOfRsync(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	parts := []string{"sub", "sub-", "sub.", "sub.d", "sub0", "s", "a", "-", "!", "\xff", "\x7f", "é", "a b", "A", "suba"}
	for range 600 {
		name := dir
		for range 1 + rng.IntN(4) {
			name = filepath.Join(name, parts[rng.IntN(len(parts))])
		}
		if rng.IntN(2) == 0 {
			os.MkdirAll(name, 0o755) // a file may be in the way
		} else if os.MkdirAll(filepath.Dir(name), 0o755) == nil {
			os.WriteFile(name, nil, 0o644)
		}
	}
	var list []*flist.Entry
	for _, name := range namesBelow(t, dir) {
		list = append(list, stat(t, dir, name, flist.Options{}))
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	flist.Sort(list)
	out, err := exec.CommandContext(t.Context(), rsync(t), "-rn8", "--no-inc-recursive", "--out-format=%n", dir+"/", t.TempDir()).Output()
	require.NoError(t, err)
	require.Equal(t, ".", list[0].Name, "which rsync does not print")
	if diff := cmp.Diff(strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), names(list[1:])); diff != "" {
		t.Errorf("(-rsync +ours):\n%s", diff)
	}
}

// rsync as the receiver makes of a list the files that it was made of: every
// field arrives, and an index means the same entry on both sides.
func TestEncoder_IsUnderstoodByRsync(t *testing.T) {
	t.Parallel()
	dir := zoo(t, 0)
	for _, tt := range []struct {
		name         string
		version      int
		capabilities string
		change       func(*flist.Options)
	}{
		{"32", 32, "LsfxCIvu", func(*flist.Options) {}},
		{"32 with access times", 32, "LsfxCIvu", func(o *flist.Options) { o.Atimes = true }},
		{"31 with old flags", 31, "LsfxC", func(*flist.Options) {}},
		{"30", 30, "LsfxC", func(*flist.Options) {}},
		{"29", 29, "", func(*flist.Options) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := flist.Options{Version: tt.version, Owner: true, Group: true, Devices: true, Specials: true, Links: true, HardLinks: true}
			tt.change(&o)
			var list []*flist.Entry
			groups := make(map[int32]int32)
			for i, name := range namesBelow(t, dir) {
				e := stat(t, dir, name, o)
				if inode := e.Link; inode >= 0 {
					if _, ok := groups[inode]; !ok {
						groups[inode] = int32(i)
					}
					e.Link = groups[inode]
				}
				list = append(list, e)
			}
			dest := t.TempDir()
			r, w, cmd := server(t, &o, letters(o, tt.capabilities), fmt.Sprint("--checksum-seed=", seed), ".", dest)
			e := flist.NewEncoder(w, o)
			for _, f := range list {
				e.Add(f)
			}
			e.End(0)
			e.IDs(flist.IDNames{Users: map[uint32]string{0: "root", 1: "daemon"}, Groups: map[uint32]string{0: "root", 2: "bin"}})
			flist.Sort(list)
			answer(t, r, w, list, o.Version)
			require.NoError(t, cmd.Wait())

			require.Equal(t, namesBelow(t, dir), namesBelow(t, dest))
			for _, f := range list {
				want, got := stat(t, dir, f.Name, o), stat(t, dest, f.Name, o)
				if o.Version < 31 {
					want.Nsec, got.Nsec = 0, 0
				}
				if o.Version < 30 && (want.Sec < 0 || want.Sec >= 1<<32) {
					want.Sec, got.Sec = 0, 0
				}
				if !o.Atimes || f.IsDir() || want.Mode>>12 == 10 {
					want.Atime, got.Atime = 0, 0
				}
				if f.IsDir() {
					want.Size, got.Size = 0, 0
				}
				require.Equal(t, want.Link >= 0, got.Link >= 0, f.Name)
				want.Link, got.Link = -1, -1
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-sent +made):\n%s", f.Name, diff)
				}
			}
		})
	}
}

// answer is a sender of empty files.
func answer(t *testing.T, r *wire.Reader, w *wire.Writer, list []*flist.Entry, version int) {
	t.Helper()
	name := "md5"
	if version < 30 {
		name = "md4"
	}
	algorithm, _ := sum.ByName(name)
	empty := sum.Session{Algorithm: algorithm, Seed: seed, Version: version}.NewFile().Sum(nil)
	last := 5
	if version < 31 {
		last = 4
	}
	for done := 0; ; {
		require.NoError(t, w.Flush())
		index := r.Index()
		require.NoError(t, r.Err())
		if index == wire.Done {
			if done++; done == last {
				return
			}
			w.Index(wire.Done)
			continue
		}
		require.Less(t, int(index), len(list))
		flags := r.Short()
		w.Index(index)
		w.Short(flags)
		if flags&0x0800 != 0 {
			w.Byte(r.Byte())
		}
		if flags&0x1000 != 0 {
			w.Vstring(r.Vstring(4096))
		}
		if flags&0x8000 == 0 {
			continue
		}
		require.True(t, list[index].IsRegular(), list[index].Name)
		for range 4 {
			w.Int(r.Int())
		}
		w.Int(0)
		w.Write(empty)
	}
}
