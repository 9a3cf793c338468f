package sshstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// stageName begins the names of hidden directories.
const stageName = transfer.ReservedPrefix + "push-"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// noise is n bytes that have nothing in common with those of other seeds.
func noise(seed uint64, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
	return data
}

// requireNothingLeft looks for hidden directories.
func requireNothingLeft(t testing.TB, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, stageName+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func put(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, data, 0o644))
	require.NoError(t, os.Chtimes(file, noon, noon))
}

// gifts are files to be taken, and what has become of them.
type gifts struct {
	t       testing.TB
	offers  []transfer.Offer
	data    map[string][]byte
	mu      sync.Mutex
	taken   map[string]bool
	literal int64
}

func newGifts(t testing.TB) *gifts {
	return &gifts{t: t, data: map[string][]byte{}, taken: map[string]bool{}}
}

// add adds a file, of which the destination has old bytes; first is called with
// the first bytes sent.
func (g *gifts) add(name string, mode fs.FileMode, data []byte, old int64, first func()) {
	g.data[name] = data
	if first == nil {
		first = func() {}
	}
	g.offers = append(g.offers, transfer.Offer{
		Info: transfer.Info{Name: name, Size: int64(len(data)), Mode: mode, ModTime: noon},
		Old:  old,
		Open: func() (transfer.Input, error) { return &gift{bytes.NewReader(data), g, first}, nil },
		Done: func(sum [sha256.Size]byte) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if sum != sha256.Sum256(data) || g.taken[name] {
				g.t.Errorf("%q: wrong sum, or taken twice", name)
			}
			g.taken[name] = true
		},
	})
}

func (g *gifts) names() []string { return slices.Sorted(maps.Keys(g.taken)) }

// require looks at what is in dir, of which all taken must be as it was sent.
func (g *gifts) require(dir string) {
	g.t.Helper()
	for _, o := range g.offers {
		if !g.taken[o.Name] {
			continue
		}
		file := filepath.Join(dir, o.Name)
		fi, err := os.Lstat(file)
		require.NoError(g.t, err)
		require.Equal(g.t, o.Mode, fi.Mode(), "%q", o.Name)
		require.True(g.t, noon.Equal(fi.ModTime()), "%q: %v", o.Name, fi.ModTime())
		got, err := os.ReadFile(file)
		require.NoError(g.t, err)
		require.True(g.t, bytes.Equal(g.data[o.Name], got), "%q", o.Name)
	}
}

type gift struct {
	*bytes.Reader
	g     *gifts
	first func()
}

func (in *gift) Literal(n int) {
	in.first()
	in.g.mu.Lock()
	defer in.g.mu.Unlock()
	in.g.literal += int64(n)
}

func (*gift) Matched(int)          {}
func (*gift) Done(err error) error { return err }

// instead is sshtest.Instead for a program that is left alone where it sends.
func instead(t testing.TB, program, script string) string {
	t.Helper()
	return sshtest.Instead(t, program, "case \" $* \" in *' --sender '*) exec $real \"$@\";; esac\n"+script)
}

// mirrorInto mirrors one directory into another on the far side, and requires
// them to be the same in all that SFTP and rsync keep.
func mirrorInto(t testing.TB, s *sshstore.Store, there, here string) *transfer.Result {
	t.Helper()
	src, err := dirstore.Open(here)
	require.NoError(t, err)
	defer src.Close()
	res, err := transfer.Mirror(t.Context(), s, src, &transfer.Options{Pause: time.Millisecond})
	require.NoError(t, err)
	requireSame(t, here, there)
	return res
}

func requireSame(t testing.TB, here, there string) {
	t.Helper()
	require.Equal(t, listed(t, here), listed(t, there))
}

// listed describes all that is in a directory, hidden or not.
func listed(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		text := fmt.Sprint(fi.Mode(), fi.ModTime().Unix())
		if fi.Mode().IsRegular() {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			text += fmt.Sprintf(" %x", sha256.Sum256(data))
		}
		all[filepath.ToSlash(rel)] = text
		return nil
	}))
	return all
}

// Whenever a push is cut, each name is what it was or what it is to be, whole,
// with mode and time, and nobody can ever have seen anything else.
func TestTake_ShowsNothingThatIsNotWhole(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	was, gs := map[string][]byte{}, func() *gifts {
		g := newGifts(t)
		for i := range 8 {
			g.add(fmt.Sprintf("changed/%d", i), 0o640, noise(uint64(100+i), 60_000), 60_000, nil)
			g.add(fmt.Sprintf("new/%d", i), 0o604, noise(uint64(200+i), 60_000), 0, nil)
			g.add(fmt.Sprintf("new/deep/%d", i), 0o400, noise(uint64(300+i), 1000), 0, nil)
		}
		return g
	}
	for i := range 8 {
		was[fmt.Sprintf("changed/%d", i)] = noise(uint64(i), 60_000)
	}
	begin := func() (dir string, s *sshstore.Store) {
		dir = t.TempDir()
		for name, data := range was {
			put(t, dir, name, data)
		}
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "new/deep"), 0o755))
		return dir, open(t, sshd.Via(t, proxy), dir)
	}
	wire := func() int64 { r, s := proxy.Bytes(); return r + s }
	dir, s := begin()
	before, g := wire(), gs()
	require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
	require.Len(t, g.taken, 24)
	g.require(dir)
	all := wire() - before
	var cuts []int64
	for i := range int64(4) {
		cuts = append(cuts, all*(i+1)/5, all-500-2000*i) // among the data, and among the names
	}
	seen := map[string]bool{}
	for _, cut := range cuts {
		dir, s := begin()
		g := gs()
		look := func() string {
			for name, data := range g.data {
				fi, err := os.Lstat(filepath.Join(dir, name))
				if errors.Is(err, fs.ErrNotExist) && was[name] == nil {
					continue
				}
				got, e := os.ReadFile(filepath.Join(dir, name))
				switch err := errors.Join(err, e); {
				case err != nil:
					return err.Error()
				case bytes.Equal(got, was[name]):
					seen["old"] = true
				case !bytes.Equal(got, data):
					return name + " is not whole"
				default:
					seen["new"] = true
					i := slices.IndexFunc(g.offers, func(o transfer.Offer) bool { return o.Name == name })
					if now, err := os.Lstat(filepath.Join(dir, name)); err != nil || now.Mode() != g.offers[i].Mode || !now.ModTime().Equal(noon) {
						return fmt.Sprint(name, " is ", fi.Mode(), fi.ModTime())
					}
				}
			}
			return ""
		}
		stop, looked := make(chan struct{}), make(chan string)
		go func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			trouble := ""
			for trouble == "" {
				select {
				case <-stop:
					looked <- look()
					return
				case <-tick.C:
					trouble = look()
				}
			}
			<-stop
			looked <- trouble
		}()
		proxy.CutAt(cut)
		err := s.Take(t.Context(), ".", g.offers, true)
		proxy.CutAt()
		close(stop)
		require.Empty(t, <-looked, "cut at %d of %d", cut, all)
		if err != nil {
			require.ErrorIs(t, err, transfer.ErrLost, "cut at %d of %d", cut, all)
		}
		g.require(dir)
		// The next attempt ends it.
		g = gs()
		require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
		require.Len(t, g.taken, 24)
		g.require(dir)
		requireNothingLeft(t, dir)
		require.NoError(t, s.Close())
	}
	require.True(t, seen["old"] && seen["new"], "the cuts cover what is to be seen")
}

// What is on its way, or was left by a push that was cut, is not listed, not
// mirrored, and does not keep a directory from being removed.
func TestTake_IsNotSeen(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	dir := t.TempDir()
	for _, name := range []string{"x", "sub/" + stageName + "old/deep/er/y", stageName + "X/z", stageName + "X/deep/z"} {
		put(t, dir, name, []byte(name))
	}
	s := open(t, sshtest.Start(t).Config(), dir)
	ctx := t.Context()
	var names []string
	for _, d := range []string{".", "sub"} {
		for info, err := range s.List(ctx, d) {
			require.NoError(t, err)
			names = append(names, info.Name)
		}
	}
	require.ElementsMatch(t, []string{"x", "sub"}, names)
	infos, err := s.ListTree(ctx, ".")
	require.NoError(t, err)
	names = nil
	for _, info := range infos {
		names = append(names, info.Name)
	}
	require.ElementsMatch(t, []string{".", "x", "sub"}, names)
	to := new(storetest.Mem)
	_, err = transfer.Mirror(ctx, to, s, nil)
	require.NoError(t, err)
	require.Equal(t, []string{".", "sub", "x"}, to.Names())
	require.NoError(t, s.Remove(ctx, "sub"))
	require.NoDirExists(t, filepath.Join(dir, "sub"))
}

// What a cut push has brought of a large file helps the next, in another
// process, and so does all that the old version has beyond it.
func TestTake_GoesOnInsideALargeFile(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	const mib = 1 << 20
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	dir := t.TempDir()
	data := noise(1, 20*mib)
	put(t, dir, "image", data)
	data = slices.Clone(data)
	copy(data, noise(2, 8*mib)) // 12 MiB are as they were
	begin := func() (*sshstore.Store, *gifts) {
		g := newGifts(t)
		g.add("image", 0o600, data, 20*mib, nil)
		return open(t, sshd.Via(t, proxy), dir), g
	}
	s, first := begin()
	proxy.CutAt(6 * mib)
	err := s.Take(t.Context(), ".", first.offers, true)
	require.ErrorIs(t, err, transfer.ErrLost)
	require.Empty(t, first.taken)
	require.NoError(t, s.Close())
	left, err := filepath.Glob(filepath.Join(dir, stageName+"*", "image"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	fi, err := os.Stat(left[0])
	require.NoError(t, err)
	require.Less(t, fi.Size(), int64(8*mib))
	s, second := begin()
	require.NoError(t, s.Take(t.Context(), ".", second.offers, true))
	require.Len(t, second.taken, 1)
	second.require(dir)
	t.Logf("%d and %d bytes", first.literal, second.literal)
	require.Less(t, second.literal, int64(7*mib), "something was kept")
	require.Less(t, first.literal+second.literal, int64(14*mib))
	requireNothingLeft(t, dir)
}

// An rsync of a line that seemed dead may go on writing into what it has begun.
// What is shown is not that.
func TestTake_ShowsNothingThatAnotherMayBeWriting(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	dir := t.TempDir()
	large := noise(1, 17<<20)
	put(t, dir, "large", large[:16<<20])
	var others []*os.File
	for name, data := range map[string][]byte{"small": []byte("half"), "large": large[:1<<20], "whole": []byte("new")} {
		put(t, dir, stageName+"X/"+name, data)
		f, err := os.OpenFile(filepath.Join(dir, stageName+"X", name), os.O_WRONLY, 0)
		require.NoError(t, err)
		defer f.Close()
		others = append(others, f)
	}
	g := newGifts(t)
	g.add("small", 0o644, []byte("half and half"), 0, nil)
	g.add("whole", 0o644, []byte("new"), 0, nil)
	g.add("large", 0o644, large, 16<<20, nil)
	s := open(t, sshtest.Start(t).Config(), dir)
	require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
	for _, f := range others {
		_, err := f.WriteAt([]byte("late"), 0)
		require.NoError(t, err)
	}
	require.Len(t, g.taken, 3)
	g.require(dir)
	requireNothingLeft(t, dir)
}

// What the far side damages is never shown; with VerifyNone that is trusted to
// rsync, unless that has had trouble. Everything arrives all the same.
func TestTake_NeverShowsWhatWasDamaged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		exit     int
		readBack bool
	}{
		{"all is proved", 0, true},
		{"rsync has had trouble", 23, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			sshd := sshtest.Start(t, instead(t, "rsync",
				`$real "$@"; printf X | dd of="$dir/b" bs=1 seek=3 conv=notrunc status=none; touch -d '2026-03-01 12:00:00.123456789Z' "$dir/b"; exit `+strconv.Itoa(row.exit)))
			dir, here := t.TempDir(), t.TempDir()
			put(t, dir, "b", []byte("the old version"))
			s := open(t, sshd.Config(), dir)
			g := newGifts(t)
			for _, name := range []string{"a", "b", "c"} {
				g.add(name, 0o644, []byte("new bytes of "+name), 0, nil)
				put(t, here, name, []byte("new bytes of "+name))
			}
			require.NoError(t, s.Take(t.Context(), ".", g.offers, row.readBack))
			require.Equal(t, []string{"a", "c"}, g.names())
			g.require(dir)
			got, err := os.ReadFile(filepath.Join(dir, "b"))
			require.NoError(t, err)
			require.Equal(t, "the old version", string(got))
			requireNothingLeft(t, dir)
			require.Equal(t, 1, mirrorInto(t, s, dir, here).Copied)
		})
	}
}

// What gets its name is on the disk before, and the name is before anybody hears
// of it.
func TestTake_IsDurableBeforeItIsShown(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	sshd := sshtest.Start(t, instead(t, "sync", "ls "+dir+" >>"+log+"; echo synced >>"+log+`; exec $real "$@"`))
	g := newGifts(t)
	g.add("x", 0o644, []byte("new"), 0, nil)
	heard := ""
	done := g.offers[0].Done
	g.offers[0].Done = func(sum [sha256.Size]byte) {
		b, err := os.ReadFile(log)
		require.NoError(t, err)
		heard = string(b)
		done(sum)
	}
	require.NoError(t, open(t, sshd.Config(), dir).Take(t.Context(), ".", g.offers, false))
	require.Equal(t, "synced\nx\nsynced\n", heard)
	g.require(dir)
}

// However the rsync of the far side fails, everything arrives, whole.
func TestTake_IsNotNeeded(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, script string }{
		{"it fails in the end", `$real "$@"; exit 11`},
		{"it fails in the middle", `dd bs=1 count=200000 status=none | $real "$@"; exit 12`},
		{"it is killed", `dd bs=1 count=200000 status=none | $real "$@"; kill -9 $$`},
		{"it does nothing", `exit 0`},
		{"it is something else", `echo hello; cat >/dev/null`},
		{"it cannot keep time and mode", `$real "$@"; touch -d 2001-01-01 "$dir/1"; chmod 600 "$dir/2"; touch -d 2001-01-01 "$dir/sub/1"; exit 23`},
		{"it loses a file", `$real "$@"; rm "$dir/1" "$dir/sub/2"`},
		{"it loses all", `$real "$@"; rm -r "$dir"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			sshd := sshtest.Start(t, instead(t, "rsync", row.script))
			here, there := t.TempDir(), t.TempDir()
			for i := range 8 {
				put(t, here, strconv.Itoa(i), noise(uint64(i), 50_000))
				put(t, here, fmt.Sprintf("sub/%d", i), noise(uint64(50+i), 50_000))
			}
			require.Equal(t, 16, mirrorInto(t, open(t, sshd.Config(), there), there, here).Copied)
		})
	}
}

// A directory that is filled keeps its mode, and its owner.
func TestTake_LeavesDirectoriesAsTheyAre(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	dir := t.TempDir()
	g := newGifts(t)
	modes := map[string]fs.FileMode{"a": 0o755, "b": 0o2770, "c": 0o700, "c/d": 0o1777, "hers": 0o750}
	for _, name := range []string{"a", "b", "c", "c/d", "hers"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		sshtest.Shell(t, dir, fmt.Sprintf("chmod %o %s", modes[name], name))
		g.add(name+"/x", 0o644, []byte(name), 0, nil)
		g.add(name+"/y", 0o644, []byte(name), 0, nil)
	}
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(filepath.Join(dir, "hers"), 1234, 4321))
	}
	look := func() string { return sshtest.Shell(t, dir, "stat -c '%n %a %u %g' a b c c/d hers") }
	before := look()
	s := open(t, sshtest.Start(t).Config(), dir)
	require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
	require.Len(t, g.taken, 10)
	g.require(dir)
	require.Equal(t, before, look())
	requireNothingLeft(t, dir)
}

// A new folder that holds nothing but what is pushed appears in one step.
func TestTake_ShowsANewFolderAtOnce(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "day"), 0o755))
	inode := func() string { return sshtest.Shell(t, dir, "stat -c %i day") }
	before := inode()
	g := newGifts(t)
	for i := range 20 {
		g.add(fmt.Sprintf("day/%d", i), 0o644, noise(uint64(i), 100), 0, nil)
	}
	s := open(t, sshtest.Start(t).Config(), dir)
	require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
	require.Len(t, g.taken, 20)
	g.require(dir)
	require.NotEqual(t, before, inode())
}

// Files that nobody may read or write have the modes of their own in the end,
// in a new folder and over an old version.
func TestTake_KeepsModes(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	dir := t.TempDir()
	g := newGifts(t)
	for _, d := range []string{".", "new", "old"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
		for _, mode := range []fs.FileMode{0, 0o200, 0o444, fs.ModeSetuid | 0o755, fs.ModeSetgid | 0o710, 0o777} {
			name := path.Join(d, fmt.Sprintf("%o", mode))
			g.add(name, mode, []byte(name), 0, nil)
			if d == "old" {
				put(t, dir, name, []byte("old version"))
				require.NoError(t, os.Chmod(filepath.Join(dir, name), 0o400))
			}
		}
	}
	s := open(t, sshtest.Start(t).Config(), dir)
	require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
	require.Len(t, g.taken, 18)
	if os.Getuid() == 0 {
		g.require(dir)
	}
	for _, o := range g.offers {
		fi, err := os.Lstat(filepath.Join(dir, o.Name))
		require.NoError(t, err)
		require.Equal(t, o.Mode, fi.Mode(), o.Name)
	}
}

// Any name will do.
func TestTake_TakesOddNames(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	dir := t.TempDir()
	g := newGifts(t)
	for _, d := range []string{".", "-d", "a\nb", "back\\slash", "it's"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
		for i, name := range []string{"-", "a\nb ", "\\", "\\n", "\xff", "-rf", "--", "$(x)", "'", "\"", "*", " ", "\r", "~", ".x"} {
			if d == "." && name == "-rf" {
				name = "-rf2"
			}
			if d == "." && name == "a\nb " {
				name = "c\nd"
			}
			g.add(path.Join(d, name), 0o644, noise(uint64(i), 3000), 0, nil)
		}
	}
	// A large one is treated in another way.
	large := noise(9, 17<<20)
	put(t, dir, "l\n'\\ -\xff", large)
	large = slices.Clone(large)
	copy(large, "changed")
	put(t, dir, stageName+"-X/l\n'\\ -\xff", large[:1<<20])
	g.add("l\n'\\ -\xff", 0o644, large, 17<<20, nil)
	s := open(t, sshtest.Start(t).Config(), dir)
	require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
	require.Len(t, g.taken, len(g.offers))
	g.require(dir)
	require.Less(t, g.literal, int64(1<<20))
	requireNothingLeft(t, dir)
}

// Two pushes into the same directory at the same time both arrive.
func TestTake_ManyAtATime(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	sshd := sshtest.Start(t)
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("one store %v", same), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			stores := []*sshstore.Store{open(t, sshd.Config(), dir), open(t, sshd.Config(), dir)}
			var wg sync.WaitGroup
			var here [2]string
			for n := range 2 {
				here[n] = t.TempDir()
				for i := range 40 {
					put(t, here[n], fmt.Sprintf("sub/%d-%d", n, i), noise(uint64(100*n+i), 10_000))
					put(t, here[n], fmt.Sprintf("%d-%d", n, i), noise(uint64(1000+100*n+i), 10_000))
				}
			}
			for n := range 2 {
				src, err := dirstore.Open(here[n])
				require.NoError(t, err)
				t.Cleanup(func() { src.Close() })
				dst := stores[n]
				if same {
					dst = stores[0]
				}
				wg.Go(func() {
					if _, err := transfer.Mirror(t.Context(), dst, src, nil); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			got := listed(t, dir)
			for n := range 2 {
				for name, text := range listed(t, here[n]) {
					if name != "." && name != "sub" {
						require.Equal(t, text, got[name], name)
					}
				}
			}
			require.Len(t, got, 2+160)
		})
	}
}

// A push shows nothing of another that is on its way into the same folder.
func TestTake_ShowsNothingOfAnother(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	sshd := sshtest.Start(t)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "day"), 0o755))
	a, b := open(t, sshd.Config(), dir), open(t, sshd.Config(), dir)
	begun, goOn := make(chan struct{}), make(chan struct{})
	ours, theirs := newGifts(t), newGifts(t)
	ours.add("day/0", 0o644, noise(1, 100), 0, func() { close(begun); <-goOn })
	ours.add("day/1", 0o644, noise(2, 100), 0, nil)
	half, finish := make(chan struct{}), make(chan struct{})
	n := 0
	theirs.add("day/2", 0o644, noise(3, 8<<20), 0, func() {
		if n++; n == 8 {
			close(half)
			<-finish
		}
	})
	result := make(chan error, 2)
	go func() { result <- a.Take(t.Context(), ".", ours.offers, true) }()
	<-begun
	go func() { result <- b.Take(t.Context(), ".", theirs.offers, true) }()
	<-half
	close(goOn)
	err := <-result // of ours, which may have been disturbed
	t.Log(err)
	if fi, err := os.Stat(filepath.Join(dir, "day/2")); err == nil {
		t.Errorf("%d bytes can be seen", fi.Size())
	}
	ours.require(dir)
	close(finish)
	t.Log(<-result)
	ours.require(dir)
	theirs.require(dir)
	require.Len(t, theirs.taken, 1, "who comes last is not disturbed")
}

// What is being pushed by a store is not uploaded by it in another way meanwhile.
func TestTake_KeepsItsNamesBusy(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	s := open(t, sshtest.Start(t).Config(), t.TempDir())
	g, other := newGifts(t), newGifts(t)
	other.add("y", 0o644, nil, 0, nil)
	upload := func() error {
		up, err := s.Create(t.Context(), transfer.Info{Name: "x", Mode: 0o600})
		if err != nil {
			return err
		}
		return up.Close()
	}
	var busy []error
	g.add("x", 0o644, []byte("x"), 0, sync.OnceFunc(func() {
		busy = append(busy, upload(), s.Take(t.Context(), ".", other.offers, true))
	}))
	require.NoError(t, s.Take(t.Context(), ".", g.offers, true))
	require.Len(t, g.taken, 1)
	require.Len(t, busy, 2)
	for _, err := range busy {
		require.ErrorIs(t, err, transfer.ErrBusy)
	}
	require.NoError(t, upload())
	require.NoError(t, s.Take(t.Context(), ".", other.offers, true))
}

// The far side hashes what it has taken, unless nobody wants it to.
func TestTake_HashesOnlyToVerify(t *testing.T) {
	t.Parallel()
	for _, readBack := range []bool{true, false} {
		log := filepath.Join(t.TempDir(), "log")
		sshtest.Need(t, "rsync")
		sshd := sshtest.Start(t, instead(t, "sha256sum", `echo "$*" >>`+log+`; exec $real "$@"`))
		dir := t.TempDir()
		g := newGifts(t)
		g.add("a", 0o644, []byte("a"), 0, nil)
		require.NoError(t, open(t, sshd.Config(), dir).Take(t.Context(), ".", g.offers, readBack))
		require.Len(t, g.taken, 1)
		g.require(dir)
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		require.Equal(t, readBack, strings.Contains(string(text), "./a"), "%s", text)
	}
}

// When the context ends, a push returns at once, also when the far side takes
// nothing any more.
func TestTake_EndsWithTheContextOnASilentLine(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	s, err := sshstore.Open(t.Context(), sshd.Via(t, proxy), t.TempDir())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended time.Time
	g := newGifts(t)
	g.add("x", 0o644, make([]byte, 50<<20), 0, sync.OnceFunc(func() {
		proxy.Stall(true)
		time.AfterFunc(200*time.Millisecond, func() { ended = time.Now(); cancel() })
	}))
	err = s.Take(ctx, ".", g.offers, true)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(ended), time.Second)
	require.Empty(t, g.taken)
	proxy.Cut()
	require.NoError(t, s.Close())
}
