//go:build linux

package rsync_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// parcel is a file in memory that is sent.
type parcel struct {
	*bytes.Reader
	literal, matched int
	done             []error
	fails            error // what Done says
}

func (p *parcel) Literal(n int) { p.literal += n }
func (p *parcel) Matched(n int) { p.matched += n }

func (p *parcel) Done(err error) error {
	p.done = append(p.done, err)
	return errors.Join(err, p.fails)
}

// offerOf is a file of some data. What happens to it, opened for the last time, is
// in the parcel.
func offerOf(name string, data []byte, mode fs.FileMode, at time.Time) (rsync.Offer, *parcel) {
	p := new(parcel)
	return rsync.Offer{
		Entry: rsync.Entry{Name: name, Size: int64(len(data)), Mode: mode, ModTime: at},
		Open: func() (rsync.Input, error) {
			p.Reader = bytes.NewReader(data)
			return p, nil
		},
	}, p
}

func folderOf(name string) rsync.Offer {
	return rsync.Offer{Entry: rsync.Entry{Name: name, Mode: fs.ModeDir | 0o700, ModTime: noon}}
}

// deliverTo delivers to a server that is started for it.
func deliverTo(t *testing.T, server peer, dst string, offers []rsync.Offer) (*rsync.Result, error) {
	t.Helper()
	o := rsync.DeliverOptions(0)
	c := dial(t, server, dst, o.ServerArgs(false, dst+"/"))
	defer c.Close()
	return rsync.Deliver(t.Context(), c, o, offers)
}

func bothServers(t *testing.T, f func(t *testing.T, server peer)) {
	needRsync(t)
	t.Parallel()
	for _, server := range []peer{debian, ours} {
		t.Run(string(server), func(t *testing.T) {
			t.Parallel()
			f(t, server)
		})
	}
}

// What is delivered is there with its bytes, modes and times, whatever its
// name; of a file that the server has, the difference is sent, although its size
// and time are equal.
func TestDeliver_BringsWhatIsOffered(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		dst := t.TempDir()
		old := random(1, 300_000)
		write(t, dst, "sub/old", old)
		now := bytes.Clone(old)
		copy(now[150_000:], "changed")
		require.NoError(t, os.Chtimes(filepath.Join(dst, "sub/old"), noon, noon))
		offers := []rsync.Offer{folderOf("sub"), folderOf("sub/new"), folderOf("empty")}
		want := map[string][]byte{"sub/old": now, "empty file": nil}
		for i, name := range []string{"#hash", "- dash", " leading", "*glob?[a]", "a\nb", "\xff", "-x", "sub/new/x", "sub/new/y", "back\\slash", "it's"} {
			want[name] = random(uint64(10+i), 10_000*i)
		}
		modes := []fs.FileMode{0o644, 0o400, 0o755 | fs.ModeSetuid, 0o640}
		parcels, infos := map[string]*parcel{}, map[string]rsync.Entry{}
		for name, data := range want {
			offer, p := offerOf(name, data, modes[len(offers)%4], noon.Add(time.Duration(len(offers))*time.Millisecond))
			if name == "sub/old" {
				offer.ModTime = noon
			}
			offers = append(offers, offer)
			parcels[name], infos[name] = p, offer.Entry
		}
		res, err := deliverTo(t, server, dst, offers)
		require.NoError(t, err)
		require.Equal(t, len(want), res.Sent)
		for name, data := range want {
			file := filepath.Join(dst, name)
			got, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got), "%q", name)
			fi, err := os.Lstat(file)
			require.NoError(t, err)
			require.Equal(t, infos[name].Mode, fi.Mode(), "%q", name)
			require.True(t, infos[name].ModTime.Equal(fi.ModTime()), "%q", name)
			p := parcels[name]
			require.Equal(t, []error{nil}, p.done, "%q", name)
			require.Equal(t, len(data), p.literal+p.matched, "%q", name)
		}
		require.Less(t, parcels["sub/old"].literal, 10_000)
		fi, err := os.Lstat(filepath.Join(dst, "empty"))
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o700, fi.Mode())
	})
}

// A file of which Done says that it must not be kept is not, by its checksum:
// it is asked for again, and then reported. The others are delivered.
func TestDeliver_ReportsWhatMustNotBeKept(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		dst := t.TempDir()
		broken := errors.New("broken")
		a, _ := offerOf("a", random(1, 50_000), 0o644, noon)
		b, p := offerOf("b", random(2, 50_000), 0o644, noon)
		c, _ := offerOf("c", random(3, 50_000), 0o644, noon)
		p.fails = broken
		res, err := deliverTo(t, server, dst, []rsync.Offer{a, b, c})
		var re *rsync.Error
		require.ErrorAs(t, err, &re)
		require.Equal(t, rsync.CodePartial, re.Code)
		require.Len(t, p.done, 2, "once, and once more")
		require.Equal(t, 2, res.Sent)
		require.NotEmpty(t, res.Failed)
		require.Equal(t, "b", res.Failed[0].Name)
		require.ErrorIs(t, res.Failed[0], broken)
		requireDelivered(t, dst, a, c)
	})
}

// A file that goes well the second time is delivered.
func TestDeliver_SendsAgainWhatWentWrong(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		for _, old := range []bool{true, false} {
			dst := t.TempDir()
			if old {
				write(t, dst, "a", []byte("old"))
			}
			a, p := offerOf("a", random(1, 50_000), 0o644, noon)
			p.fails = errors.New("once")
			open, opened := a.Open, 0
			a.Open = func() (rsync.Input, error) {
				if opened++; opened > 1 {
					p.fails = nil
				}
				return open()
			}
			_, err := deliverTo(t, server, dst, []rsync.Offer{a})
			require.NoError(t, err)
			require.Equal(t, 2, opened)
			requireDelivered(t, dst, a)
		}
	})
}

// What the server cannot write is told by it, by name, and the rest arrives.
func TestDeliver_HearsWhatCannotBeWritten(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		dst := t.TempDir()
		write(t, dst, "in-the-way/x", nil)
		bad, _ := offerOf("in-the-way", []byte("a file"), 0o644, noon)
		good, _ := offerOf("z", []byte("another"), 0o644, noon)
		res, _ := deliverTo(t, server, dst, []rsync.Offer{bad, good}) // rsync makes no error of it
		require.Contains(t, strings.Join(res.Remote, "\n"), "in-the-way")
		require.FileExists(t, filepath.Join(dst, "in-the-way/x"))
		requireDelivered(t, dst, good)
	})
}

// A basis that changes on the far side while it is used does no harm: the
// checksum of the whole file finds it, and the file is sent again.
func TestDeliver_SurvivesABasisThatChanges(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		dst := t.TempDir()
		data := random(1, 2<<20)
		write(t, dst, "x", data)
		x, p := offerOf("x", data, 0o644, noon.Add(time.Hour))
		open, opened := x.Open, 0
		spoil := sync.OnceFunc(func() {
			bad := bytes.Clone(data)
			bad[1<<20] ^= 1
			f, err := os.OpenFile(filepath.Join(dst, "x"), os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.Write(bad)
			require.NoError(t, errors.Join(err, f.Close()))
		})
		x.Open = func() (rsync.Input, error) {
			opened++
			spoil() // the sums of the blocks have come
			return open()
		}
		_, err := deliverTo(t, server, dst, []rsync.Offer{x})
		require.NoError(t, err)
		require.Equal(t, 2, opened)
		require.Positive(t, p.literal)
		requireDelivered(t, dst, x)
	})
}

// What cannot be opened is reported; the others are delivered.
func TestDeliver_GoesOnAfterWhatCannotBeOpened(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		for _, cause := range []error{fs.ErrNotExist, fs.ErrPermission} {
			dst := t.TempDir()
			write(t, dst, "b", []byte("old"))
			a, _ := offerOf("a", random(1, 50_000), 0o644, noon)
			b, _ := offerOf("b", random(2, 50_000), 0o644, noon)
			c, _ := offerOf("c", random(3, 50_000), 0o644, noon)
			b.Open = func() (rsync.Input, error) { return nil, cause }
			res, err := deliverTo(t, server, dst, []rsync.Offer{a, b, c})
			var re *rsync.Error
			require.ErrorAs(t, err, &re)
			require.Len(t, res.Failed, 1)
			require.Equal(t, "b", res.Failed[0].Name)
			require.ErrorIs(t, res.Failed[0], cause)
			requireDelivered(t, dst, a, c)
			got, err := os.ReadFile(filepath.Join(dst, "b"))
			require.NoError(t, err)
			require.Equal(t, "old", string(got))
		}
	})
}

// Links and special files are no offers: the first is named, and nothing is sent.
func TestDeliver_RefusesWhatIsNoFile(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		for _, mode := range []fs.FileMode{fs.ModeSymlink | 0o777, fs.ModeNamedPipe | 0o600, fs.ModeDevice | 0o600, fs.ModeSocket | 0o600} {
			dst := t.TempDir()
			a, _ := offerOf("a", []byte("a"), 0o644, noon)
			odd := rsync.Offer{Entry: rsync.Entry{Name: "the odd one", Mode: mode, ModTime: noon, Target: "/etc/passwd"}}
			_, err := deliverTo(t, server, dst, []rsync.Offer{a, odd})
			require.ErrorContains(t, err, "the odd one")
			require.Len(t, tree(t, dst), 1, "nothing but the directory")
		}
	})
}

// Nothing to deliver is no error.
func TestDeliver_TakesNothing(t *testing.T) {
	bothServers(t, func(t *testing.T, server peer) {
		_, err := deliverTo(t, server, t.TempDir(), nil)
		require.NoError(t, err)
	})
}

// requireDelivered looks for files as they were offered.
func requireDelivered(t *testing.T, dst string, offers ...rsync.Offer) {
	t.Helper()
	for _, o := range offers {
		in, err := o.Open()
		require.NoError(t, err)
		want := make([]byte, o.Size)
		_, err = in.Read(want)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(dst, o.Name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%q", o.Name)
		fi, err := os.Lstat(filepath.Join(dst, o.Name))
		require.NoError(t, err)
		require.Equal(t, o.Mode, fi.Mode(), "%q", o.Name)
		require.True(t, o.ModTime.Equal(fi.ModTime()), "%q", o.Name)
	}
}
