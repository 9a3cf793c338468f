package transfer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// Not more than Bandwidth bytes are read in a second, over all files.
func TestMirror_KeepsToItsBandwidth(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 10_000, 5 << 20} {
		synctest.Test(t, func(t *testing.T) {
			src := new(storetest.Mem)
			total := 0
			for i := 0; total < 10<<20; i++ {
				src.Put(transfer.Info{Name: string(rune(0x4e00+i%20000)) + string(rune(0x4e00+i/20000)), ModTime: noon}, randomBytes(1, size))
				total += size
				if i > 300 {
					break
				}
			}
			const rate = 1 << 20
			start := time.Now()
			_, err := transfer.Mirror(t.Context(), new(storetest.Mem), src, &transfer.Options{Bandwidth: rate})
			require.NoError(t, err)
			want := time.Duration(float64(total) / rate * float64(time.Second))
			require.InDelta(t, want.Seconds(), time.Since(start).Seconds(), 0.15)
		})
	}
}

// A limit does not outlast the context, and a context that ends early is no
// failure of single files.
func TestMirror_UnderALimitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := new(storetest.Mem)
		src.Put(transfer.Info{Name: "x", ModTime: noon}, randomBytes(1, 10<<20))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		res, err := transfer.Mirror(ctx, new(storetest.Mem), src, &transfer.Options{Bandwidth: 1 << 20})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Empty(t, res.Failed)
		require.InDelta(t, 3<<20, res.Literal, 1<<20)
	})
}

// A connection that does not come back is tried again after pauses that
// double up to a minute; then the error is a LostError.
func TestMirror_RetriesWithGrowingPauses(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"stat", "list", "create", "write", "mkdir", "setinfo", "symlink"} {
		synctest.Test(t, func(t *testing.T) {
			dst, src := new(storetest.Mem), new(storetest.Mem)
			src.Put(transfer.Info{Name: "d/x", ModTime: noon}, []byte("x"))
			require.NoError(t, src.Symlink(t.Context(), transfer.Info{Name: "d/link", Target: "x"}))
			var at []time.Time
			dst.Fault = func(o, name string) error {
				if o == op {
					at = append(at, time.Now())
					return transfer.ErrLost
				}
				return nil
			}
			_, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Retries: 8, Workers: 1})
			var lost *transfer.LostError
			require.ErrorAs(t, err, &lost)
			require.ErrorIs(t, err, transfer.ErrLost)
			require.Equal(t, 9, lost.Attempts)
			require.NotErrorAs(t, err, new(*transfer.IncompleteError))
			var pauses []int
			for i := range at[1:] {
				pauses = append(pauses, int(at[i+1].Sub(at[i]).Seconds()))
			}
			require.Equal(t, []int{1, 2, 4, 8, 16, 32, 60, 60}, pauses)
		})
	}
}

// A connection that comes back costs no failure.
func TestMirror_GoesOnWhenTheConnectionIsBack(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"stat", "list", "open", "read", "create", "write", "commit", "mkdir", "setinfo", "symlink"} {
		synctest.Test(t, func(t *testing.T) {
			dst, src := new(storetest.Mem), new(storetest.Mem)
			src.Put(transfer.Info{Name: "d/x", ModTime: noon}, []byte("x"))
			require.NoError(t, src.Symlink(t.Context(), transfer.Info{Name: "d/link", Target: "x"}))
			for _, m := range []*storetest.Mem{dst, src} {
				left := 2
				m.Fault = func(o, _ string) error {
					if o == op && left > 0 {
						left--
						return transfer.ErrLost
					}
					return nil
				}
			}
			res, err := transfer.Mirror(t.Context(), dst, src, &transfer.Options{Workers: 1})
			require.NoError(t, err)
			require.Equal(t, "x", string(dst.Data("d/x")))
			require.Equal(t, transfer.Stats{Size: 1, Literal: 1, Files: 1, Copied: 1, Verified: 1}, res.Stats)
		})
	}
}

// A negative number of retries means none; an end of the context ends a pause.
func TestMirror_DoesNotRetryInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := &storetest.Mem{Fault: func(string, string) error { return transfer.ErrLost }}
		start := time.Now()
		_, err := transfer.Mirror(t.Context(), new(storetest.Mem), src, &transfer.Options{Retries: -1})
		require.ErrorIs(t, err, transfer.ErrLost)
		require.Zero(t, time.Since(start))

		cause := errors.New("shutting down")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Second, func() { cancel(cause) })
		_, err = transfer.Mirror(ctx, new(storetest.Mem), src, &transfer.Options{Retries: 100})
		require.ErrorIs(t, err, cause)
		require.Equal(t, 90*time.Second, time.Since(start))
	})
}

// groupMem commits in groups.
type groupMem struct{ *storetest.Mem }

func (groupMem) GroupSize() int { return 256 }

func (m groupMem) CommitAll(ctx context.Context, uploads []transfer.Upload, readBack bool) []error {
	errs := make([]error, len(uploads))
	for i, up := range uploads {
		errs[i] = up.Commit(ctx, readBack)
	}
	return errs
}

// Files whose group loses the connection while it is committed are sent again,
// counted once; a connection that does not come back is a LostError.
func TestMirror_SendsAgainWhatAGroupHasLost(t *testing.T) {
	t.Parallel()
	for _, forGood := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dst, src := new(storetest.Mem), new(storetest.Mem)
			for _, name := range []string{"a", "b", "c", "d"} {
				src.Put(transfer.Info{Name: name, ModTime: noon}, []byte(name))
			}
			commits := 0
			dst.Fault = func(op, name string) error {
				if op != "commit" {
					return nil
				}
				if commits++; forGood && name == "c" || commits%2 == 0 && commits < 8 {
					return transfer.ErrLost
				}
				return nil
			}
			res, err := transfer.Mirror(t.Context(), groupMem{dst}, src, nil)
			if forGood {
				var lost *transfer.LostError
				require.ErrorAs(t, err, &lost)
				require.Equal(t, 6, lost.Attempts)
				require.ErrorContains(t, err, "write c: gave up after 6 attempts")
				return
			}
			require.NoError(t, err)
			require.Greater(t, commits, 4)
			require.Equal(t, 4, res.Copied)
			require.Len(t, res.Sent, 4)
			require.Equal(t, int64(4), res.Literal)
		})
	}
}
