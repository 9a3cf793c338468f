//go:build linux

package sshstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// everyRoute runs f for pushes and pulls, with and without an rsync on the far
// side.
func everyRoute(t *testing.T, f func(t *testing.T, push, rsync bool, sshd *sshtest.Sshd)) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	for _, push := range []bool{true, false} {
		for _, rsync := range []bool{true, false} {
			t.Run(fmt.Sprintf("push=%v rsync=%v", push, rsync), func(t *testing.T) {
				t.Parallel()
				if rsync {
					f(t, push, rsync, sshtest.Start(t))
				} else {
					f(t, push, rsync, sshtest.Start(t, sshtest.Instead(t, "rsync", "exit 127")))
				}
			})
		}
	}
}

// along mirrors src to dst, of which one is on the far side; begin is called
// when there is a connection.
func along(t *testing.T, c sshstore.Config, push bool, src, dst string, begin func()) (*transfer.Result, error) {
	t.Helper()
	near, far := dst, src
	if push {
		near, far = src, dst
	}
	s := open(t, c, far)
	defer s.Close()
	here, err := dirstore.Open(near)
	require.NoError(t, err)
	defer here.Close()
	begin()
	o := &transfer.Options{Pause: time.Millisecond}
	if push {
		return transfer.Mirror(t.Context(), s, here, o)
	}
	return transfer.Mirror(t.Context(), here, s, o)
}

// However often and wherever the line is cut, each name is at every moment what
// it was or what it is to be, whole; most of the work is kept; and in the end
// all is there.
func TestMirror_SurvivesCutsAnywhere(t *testing.T) {
	const (
		cuts = 50 // of each of four
		mib  = 1 << 20
	)
	src, was := t.TempDir(), t.TempDir()
	for i := range 40 {
		put(t, src, fmt.Sprintf("day/%02d", i), noise(uint64(i), 3000))
		if i%2 == 0 {
			put(t, was, fmt.Sprintf("day/%02d", i), noise(uint64(100+i), 2000))
		}
	}
	image, grown := noise(200, 32*mib), noise(201, 12*mib)
	put(t, was, "image", image)
	require.NoError(t, os.Chtimes(filepath.Join(was, "image"), noon, noon.Add(-time.Hour)))
	put(t, was, "grown", grown[:9*mib])
	for i := range 64 {
		copy(image[i*mib/2:], noise(uint64(202+i), 4096))
	}
	put(t, src, "image", image)
	put(t, src, "grown", grown)
	put(t, src, "new", noise(300, 9*mib))
	want, v := listed(t, src), sightsOf(t, was, src)

	everyRoute(t, func(t *testing.T, push, rsync bool, sshd *sshtest.Sshd) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		proxy := sshtest.NewProxy(t, sshd.Addr)
		c := sshd.Via(t, proxy)
		wire := func() int64 { received, sent := proxy.Bytes(); return received + sent }
		usual := int64(13 * mib) // what is sent if nothing is cut
		if !rsync {
			usual = 45 * mib
		}
		// round mirrors from the beginning to the end. The cuts do not stop before.
		round := func() (cut int) {
			dst := filepath.Join(t.TempDir(), "dst")
			sshtest.Shell(t, "", "cp -a "+was+" "+dst)
			defer v.watch(t, dst)()
			for tries := 1; ; tries++ {
				var at []int64
				for next := int64(0); len(at) < 16; at = append(at, next) {
					// Of each large file on its way, what has come is noted every 2 MiB.
					gap := r.Int64N(10 * mib)
					if r.IntN(2) == 0 { // where much is said in few bytes
						gap = int64(math.Pow(float64(gap), r.Float64()))
					}
					next += 1 + gap
				}
				_, err := along(t, c, push, src, dst, func() { proxy.CutAt(at...) })
				cut += len(at) - proxy.CutsLeft()
				proxy.CutAt()
				if err == nil {
					break
				}
				require.ErrorIs(t, err, transfer.ErrLost)
				require.Less(t, tries, 40, "it gets nowhere: %v", err)
			}
			require.Empty(t, cmp.Diff(want, listed(t, dst)))
			return cut
		}
		n, rounds := 0, int64(0)
		for ; n < cuts; rounds++ {
			n += round()
		}
		share := float64(wire()) / float64(usual*rounds)
		t.Logf("%d cuts in %d rounds: %.2f × the bytes", n, rounds, share)
		require.Less(t, share, 3.0)
	})
}

// sights are what may be seen of a file.
type sights struct {
	names []string
	old   map[string]bool // names that are always there
	sums  map[string]bool // as sha256sum prints them
}

func sightsOf(t *testing.T, was, now string) *sights {
	t.Helper()
	v := &sights{old: map[string]bool{}, sums: map[string]bool{}}
	for _, dir := range []string{was, now} {
		for line := range strings.Lines(sshtest.Shell(t, dir, "find * -type f | xargs sha256sum")) {
			_, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
			v.names = append(v.names, name)
			v.old[name] = v.old[name] || dir == was
			v.sums[line] = true
		}
	}
	return v
}

// watch looks all the time, until the end, at the files of dst.
func (v *sights) watch(t *testing.T, dst string) (end func()) {
	stop, trouble := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		seen := map[string]fs.FileInfo{}
		for {
			if err := v.look(dst, seen); err != nil {
				trouble <- err
				return
			}
			select {
			case <-stop:
				trouble <- nil
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(stop)
		require.NoError(t, <-trouble)
	}
}

func (v *sights) look(dst string, seen map[string]fs.FileInfo) error {
	args := []string{"--"}
	for _, name := range v.names {
		fi, err := os.Lstat(filepath.Join(dst, name))
		if errors.Is(err, fs.ErrNotExist) && !v.old[name] {
			continue
		}
		if err != nil {
			return err
		}
		if was := seen[name]; was == nil || !os.SameFile(was, fi) || was.Size() != fi.Size() || !was.ModTime().Equal(fi.ModTime()) {
			args = append(args, name)
		}
		seen[name] = fi
	}
	if len(args) == 1 {
		return nil
	}
	cmd := exec.Command("sha256sum", args...)
	cmd.Dir = dst
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		if !v.sums[line] {
			return fmt.Errorf("neither as it was nor as it is to be: %s", line)
		}
	}
	return err
}

// Whatever the rsync of the far side says in the end, and whenever, all arrives,
// whole.
func TestMirror_DoesWithAnyExitCode(t *testing.T) {
	t.Parallel()
	code := filepath.Join(t.TempDir(), "code")
	sshd := sshtest.Start(t, sshtest.Instead(t, "rsync", "read how code <"+code+`
case " $* " in *' --sender '*) heard=100;; *) heard=30000;; esac
die() { case $code in -*) kill $code $$;; *) exit $code;; esac; }
case $how in
first) die;;
middle) dd bs=1 count=$heard status=none | $real "$@"; die;;
last) $real "$@"; die;;
esac`))
	src := t.TempDir()
	for i := range 8 {
		put(t, src, fmt.Sprintf("day/%d", i), noise(uint64(i), 8000))
	}
	codes := []int{1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 25, 30, 35} // as rsync(1) has them
	codes = append(codes, 127, 255, -int(syscall.SIGKILL), -int(syscall.SIGPIPE), -int(syscall.SIGTERM))
	hows := []string{"first", "middle", "last"}
	for i, n := range codes {
		push, how := i%2 == 0, hows[i%3]
		require.NoError(t, os.WriteFile(code, fmt.Appendf(nil, "%s %d\n", how, n), 0o600))
		dst := t.TempDir()
		res, err := along(t, sshd.Config(), push, src, dst, func() {})
		require.NoError(t, err, "%s %d push=%v", how, n, push)
		require.Equal(t, 8, res.Copied)
		requireSame(t, src, dst)
	}
}

// A disk that is full is one error that says so, whichever way the bytes took. What
// was there stays, nothing else can be seen, and the next run ends it when there is room.
func TestMirror_EndsOnAFullDisk(t *testing.T) {
	const mib = 1 << 20
	src := t.TempDir()
	image := noise(1, 17*mib)
	put(t, src, "day/small", []byte("small"))
	put(t, src, "new", noise(2, 7*mib))
	put(t, src, "image", image)
	everyRoute(t, func(t *testing.T, push, rsync bool, sshd *sshtest.Sshd) {
		dst := mount(t, "size=48m,mode=755")
		old := slices.Clone(image)
		copy(old, "the old version")
		put(t, dst, "image", old)
		require.NoError(t, os.Chtimes(filepath.Join(dst, "image"), noon, noon.Add(-time.Hour)))
		put(t, dst, "ballast", make([]byte, 29*mib))
		_, err := along(t, sshd.Config(), push, src, dst, func() {})
		require.ErrorIs(t, err, syscall.ENOSPC)
		file, ok := errors.AsType[*transfer.FileError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, "write", file.Op)
		t.Log(err)
		got, want := listed(t, dst), listed(t, src)
		for name, text := range got {
			switch {
			case name == ".", name == "ballast", name == "day", strings.HasPrefix(name, transfer.ReservedPrefix):
			case name == "image":
				now, err := os.ReadFile(filepath.Join(dst, name))
				require.NoError(t, err)
				require.True(t, bytes.Equal(old, now))
			default:
				require.Equal(t, want[name], text, name)
			}
		}
		require.NoError(t, os.Remove(filepath.Join(dst, "ballast")))
		_, err = along(t, sshd.Config(), push, src, dst, func() {})
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, listed(t, dst)))
	})
}
