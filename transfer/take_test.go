package transfer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// taker is a store that takes many files at once, in its own way.
type taker struct {
	*storetest.Mem
	calls   int
	offered []string
	take    func(call int, o transfer.Offer, put func([]byte)) error
}

func (k *taker) Take(_ context.Context, dir string, offers []transfer.Offer, _ bool) error {
	k.calls++
	for _, o := range offers {
		k.offered = append(k.offered, o.Name)
		put := func(data []byte) {
			info := o.Info
			info.Name = path.Join(dir, o.Name)
			k.Put(info, data)
		}
		if err := k.take(k.calls, o, put); err != nil {
			return err
		}
	}
	return nil
}

// receive reads the first n bytes of an offer, as sent, and ends it.
func receive(o transfer.Offer, n int64, result error) ([]byte, error) {
	in, err := o.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, n))
	in.Literal(len(data))
	return data, in.Done(errors.Join(err, result))
}

// accept takes an offer as it should be.
func accept(o transfer.Offer, put func([]byte)) error {
	data, err := receive(o, o.Size, nil)
	if err == nil {
		put(data)
		o.Done(sha256.Sum256(data))
	}
	return err
}

// Whatever becomes of the files that a destination takes at once, all arrive as
// they are, and are counted once.
func TestMirror_OffersWhatCanBeTakenAtOnce(t *testing.T) {
	t.Parallel()
	type take = func(call int, o transfer.Offer, put func([]byte)) error
	always := func(f take) func(*testing.T, *storetest.Mem) take {
		return func(*testing.T, *storetest.Mem) take { return f }
	}
	broken := errors.New("broken")
	for _, row := range []struct {
		name  string
		take  func(t *testing.T, src *storetest.Mem) take
		calls int
	}{
		{"all are taken", always(func(_ int, o transfer.Offer, put func([]byte)) error { return accept(o, put) }), 1},
		{"none is taken", always(func(int, transfer.Offer, func([]byte)) error { return nil }), 1},
		{"it cannot be", always(func(int, transfer.Offer, func([]byte)) error { return errors.ErrUnsupported }), 1},
		{"it breaks off", always(func(_ int, o transfer.Offer, put func([]byte)) error {
			if o.Name == "d/b" {
				_, err := receive(o, 2, broken)
				return err
			}
			return accept(o, put)
		}), 1},
		{"the connection is lost", always(func(call int, o transfer.Offer, put func([]byte)) error {
			if o.Name == "d/b" && call < 3 {
				_, err := receive(o, 2, transfer.ErrLost)
				return err
			}
			return accept(o, put)
		}), 3},
		{"the connection is lost before the answer", always(func(call int, o transfer.Offer, put func([]byte)) error {
			if o.Name == "d/b" && call == 1 {
				data, err := receive(o, o.Size, nil)
				put(data)
				return errors.Join(err, transfer.ErrLost)
			}
			return accept(o, put)
		}), 2},
		{"one is damaged", always(func(_ int, o transfer.Offer, put func([]byte)) error {
			if o.Name == "d/b" {
				_, err := receive(o, o.Size, nil)
				return err
			}
			return accept(o, put)
		}), 1},
		{"one goes wrong on the way", always(func(_ int, o transfer.Offer, put func([]byte)) error {
			_, err := receive(o, o.Size, nil)
			return errors.Join(err, accept(o, put))
		}), 1},
		{"the source changes meanwhile", func(t *testing.T, src *storetest.Mem) take {
			return func(_ int, o transfer.Offer, put func([]byte)) error {
				in, err := o.Open()
				require.NoError(t, err)
				data, err := io.ReadAll(in)
				require.NoError(t, err)
				in.Literal(len(data))
				src.Put(transfer.Info{Name: o.Name, ModTime: noon.Add(time.Hour)}, data)
				require.ErrorIs(t, in.Done(nil), transfer.ErrChanged)
				_, err = o.Open()
				require.Error(t, err, "it is not to be sent again")
				return nil
			}
		}, 1},
		{"the source has become shorter", func(t *testing.T, src *storetest.Mem) take {
			return func(_ int, o transfer.Offer, put func([]byte)) error {
				data := src.Data(o.Name)
				src.Put(transfer.Info{Name: o.Name, ModTime: noon}, data[1:])
				_, err := receive(o, o.Size, io.ErrUnexpectedEOF)
				require.Error(t, err)
				src.Put(transfer.Info{Name: o.Name, ModTime: noon}, data)
				_, err = o.Open()
				require.Error(t, err, "it is not to be sent again")
				return nil
			}
		}, 1},
	} {
		for _, to := range []string{"", "far/away"} {
			synctest.Test(t, func(t *testing.T) {
				src, dst := new(storetest.Mem), new(storetest.Mem)
				want := map[string][32]byte{}
				for _, name := range []string{"d/a", "d/b", "d/c"} {
					data := []byte("bytes of " + name)
					src.Put(transfer.Info{Name: name, ModTime: noon}, data)
					want[name] = sha256.Sum256(data)
				}
				dst.Put(transfer.Info{Name: path.Join(to, "d/a"), ModTime: later}, []byte("old"))
				take := row.take(t, src)
				into := &taker{Mem: dst, take: func(call int, o transfer.Offer, put func([]byte)) error {
					if o.Name == "d/a" {
						require.Equal(t, int64(3), o.Old, row.name)
					} else {
						require.Zero(t, o.Old, row.name)
					}
					require.Equal(t, int64(12), o.Size, row.name)
					require.Equal(t, noon, o.ModTime, row.name)
					return take(call, o, put)
				}}
				res, err := transfer.Mirror(t.Context(), into, src, &transfer.Options{To: to})
				require.NoError(t, err, row.name)
				for name := range want {
					require.Equal(t, "bytes of "+name, string(dst.Data(path.Join(to, name))), row.name)
				}
				require.Equal(t, row.calls, into.calls, row.name)
				require.Equal(t, transfer.Stats{Size: 36, Literal: 36, Files: 3, Copied: 3, Verified: 3}, res.Stats, row.name)
				require.Equal(t, want, res.Sent, row.name)
			})
		}
	}
}

// The destination is asked to take what the source has not sent at once, and
// nothing twice.
func TestMirror_OffersWhatWasNotFetched(t *testing.T) {
	t.Parallel()
	mem := new(storetest.Mem)
	for _, name := range []string{"a", "b", "c"} {
		mem.Put(transfer.Info{Name: name, ModTime: noon}, []byte(name))
	}
	src := &fetcher{Mem: mem, send: func(_ int, w transfer.Want, data []byte) error {
		if w.Name == "b" {
			return deliver(w, data, nil)
		}
		return nil
	}}
	dst := &taker{Mem: new(storetest.Mem), take: func(_ int, o transfer.Offer, put func([]byte)) error { return accept(o, put) }}
	res, err := transfer.Mirror(t.Context(), dst, src, nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "c"}, dst.offered)
	require.Equal(t, transfer.Stats{Size: 3, Literal: 3, Files: 3, Copied: 3, Verified: 3}, res.Stats)
}

// What the destination has of a file that it takes is counted as matched.
func TestMirror_CountsWhatATakerHas(t *testing.T) {
	t.Parallel()
	src := new(storetest.Mem)
	src.Put(transfer.Info{Name: "x", ModTime: noon}, []byte("0123456789"))
	dst := &taker{Mem: new(storetest.Mem), take: func(_ int, o transfer.Offer, put func([]byte)) error {
		in, err := o.Open()
		require.NoError(t, err)
		data, err := io.ReadAll(in)
		require.NoError(t, err)
		in.Matched(7)
		in.Literal(3)
		require.NoError(t, in.Done(nil))
		put(data)
		o.Done(sha256.Sum256(data))
		return nil
	}}
	res, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Verify: transfer.VerifyNone})
	require.NoError(t, err)
	require.Equal(t, transfer.Stats{Size: 10, Matched: 7, Literal: 3, Files: 1, Copied: 1}, res.Stats)
}

// A bandwidth holds for what is taken at once, too; what the destination has
// costs nothing of it.
func TestMirror_TakesNoFasterThanItMay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := new(storetest.Mem)
		src.Put(transfer.Info{Name: "x", ModTime: noon}, make([]byte, 3<<20))
		dst := &taker{Mem: new(storetest.Mem), take: func(_ int, o transfer.Offer, put func([]byte)) error {
			in, err := o.Open()
			require.NoError(t, err)
			data, err := io.ReadAll(in)
			require.NoError(t, err)
			in.Matched(1 << 20)
			for range 64 {
				in.Literal(32 << 10)
			}
			put(data)
			o.Done(sha256.Sum256(data))
			return in.Done(nil)
		}}
		begun := time.Now()
		_, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Bandwidth: 256 << 10})
		require.NoError(t, err)
		require.InDelta(t, 8, time.Since(begun).Seconds(), 0.5)
	})
}

// What changed in the middle of a large file goes as the difference where the
// far side has rsync, and with times to the nanosecond; where it has not, the
// tree is the same all the same.
func TestMirror_PushesDifferencesWithTheRsyncOfTheFarSide(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		lines []string
		delta bool
	}{
		{"rsync is there", nil, true},
		{"nothing can be run", []string{"ForceCommand internal-sftp"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			sshtest.Need(t, "rsync")
			sshd := sshtest.Start(t, row.lines...)
			there, here := t.TempDir(), t.TempDir()
			data := randomBytes(1, 20<<20)
			write(t, there, "image", data)
			copy(data[10<<20:], "changed")
			write(t, here, "image", data)
			write(t, here, "sub/odd\nname", []byte("small"))
			at := later.Add(123456789 * time.Nanosecond)
			stamp(t, here, "image", at)
			for _, dir := range []string{"sub", "."} {
				stamp(t, here, dir, at.Truncate(time.Second)) // by SFTP
			}
			proxy := sshtest.NewProxy(t, sshd.Addr)
			far := remote(t, sshd.Via(t, proxy), there)
			res, err := transfer.Mirror(t.Context(), far, local(t, here), nil)
			require.NoError(t, err)
			require.Equal(t, res.Size, res.Matched+res.Literal)
			require.Equal(t, 2, res.Copied)
			_, sent := proxy.Bytes()
			if row.delta {
				require.Less(t, res.Literal, int64(64<<10))
				require.Less(t, sent, int64(256<<10))
				requireSameTree(t, here, there)
			} else {
				require.Equal(t, res.Size, res.Literal)
			}
			want, got := tree(t, here), tree(t, there)
			require.Len(t, got, len(want))
			for name, e := range want {
				require.Equal(t, e.Data, got[name].Data, name)
				require.Equal(t, e.Time.Unix(), got[name].Time.Unix(), name)
				require.Equal(t, e.Mode, got[name].Mode, name)
			}
		})
	}
}

// Many files arrive over a line that is cut more often than one file is tried
// again, as long as it gets further each time.
func TestMirror_PushesManyFilesThroughManyCuts(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	here, there := t.TempDir(), t.TempDir()
	const files, size, times = 18, 1 << 20, 2
	for i := range files {
		write(t, here, fmt.Sprintf("%d/%02d.dat", i%4, i), randomBytes(uint64(i), size))
	}
	for _, dir := range []string{"0", "1", "2", "3", "."} {
		stamp(t, here, dir, noon.Truncate(time.Second)) // by SFTP
	}
	far := remote(t, sshd.Via(t, proxy), there)
	var cuts []int64
	for i := range times {
		cuts = append(cuts, int64(i+1)*files*size/(times+1))
	}
	_, sent := proxy.Bytes()
	proxy.CutAt(cuts...)
	res, err := transfer.Mirror(t.Context(), far, local(t, here), &transfer.Options{Pause: time.Millisecond, Retries: 1})
	require.NoError(t, err)
	require.Zero(t, proxy.CutsLeft())
	require.Equal(t, int64(files*size), res.Matched+res.Literal+res.Resumed)
	_, s := proxy.Bytes()
	require.Less(t, s-sent, int64(files*size*2), "bytes on the wire")
	requireSameTree(t, here, there)
}
