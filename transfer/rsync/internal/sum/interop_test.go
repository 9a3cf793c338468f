package sum_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
	"github.com/stretchr/testify/require"
)

// An rsync server that is offered a new version of a file asks for it with the
// sums that Compute gives for the old one, with the block and strong-sum length
// that BlockLen and StrongLen choose.
func TestCompute_AgreesWithRsync(t *testing.T) {
	t.Parallel()
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal("no rsync")
		}
		t.Skip("no rsync to compare with")
	}
	tests := []struct {
		algorithm string
		version   int
		size      int
		seed      int32
		seedLast  bool
	}{
		{"xxh128", 32, 3<<20 + 1234, 1, false},
		{"xxh128", 32, 699, -7, false},
		{"xxh128", 31, 700, 7, false},
		{"xxh3", 32, 600_001, -7, false},
		{"xxh64", 32, 600_001, -7, false},
		{"md5", 32, 600_001, -7, false},
		{"md5", 30, 600_001, 5, false},
		{"md5", 31, 600_001, 5, true},
		{"md4", 32, 600_001, -7, false},
		{"sha1", 32, 600_001, -7, false},
		{"md4", 29, 600_001, -7, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s version %d, %d bytes, seed last: %t", tt.algorithm, tt.version, tt.size, tt.seedLast), func(t *testing.T) {
			t.Parallel()
			basis := random(7, tt.size)
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), basis, 0o644))
			capabilities, flags := "-te.LsfxCIvu", int32(0x1fe)
			if tt.seedLast {
				// A server that negotiates (v) puts the seed first in any case.
				capabilities, flags = "-te.LsfxIu", 0x15e
			}
			cmd := exec.CommandContext(t.Context(), rsync, "--server", capabilities, fmt.Sprintf("--checksum-seed=%d", tt.seed), ".", dir+"/")
			cmd.Stderr = t.Output()
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			t.Cleanup(func() {
				stdin.Close()
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})

			r, w := wire.NewReader(stdout), wire.NewWriter(stdin)
			w.Int(int32(tt.version))
			require.NoError(t, w.Flush())
			r.Int()
			r.SetVersion(tt.version)
			w.SetVersion(tt.version)
			if tt.version >= 30 {
				require.Equal(t, flags, r.Varint(), "compatibility flags")
				if flags&0x80 != 0 {
					r.Vstring(1000)
					w.Vstring(tt.algorithm)
					require.NoError(t, w.Flush())
				}
			}
			s := sum.Session{Algorithm: algorithm(t, tt.algorithm), Seed: r.Int(), SeedLast: tt.seedLast, Version: tt.version}
			require.Equal(t, tt.seed, s.Seed)
			r.Multiplex(func(m wire.Message) error { t.Logf("%q", m.Data); return nil })
			if tt.version >= 30 {
				w.Multiplex()
				w.Varint(0x18)
			} else {
				w.Byte(0x18)
			}
			w.Byte(1)
			w.Byte('f')
			w.Varlong(int64(tt.size)+1, 3)
			if tt.version >= 30 {
				w.Varlong(1_000_000, 4)
			} else {
				w.Int(1_000_000)
			}
			w.Int(0o100644)
			if tt.version >= 30 {
				w.Varint(0) // the end of the list
				if flags&0x80 != 0 {
					w.Varint(0) // no errors
				}
			} else {
				w.Byte(0)
				w.Int(0)
			}
			w.Index(-1) // make the server send what it has so far
			require.NoError(t, w.Flush())

			require.Equal(t, int32(0), r.Index(), "%v", r.Err())
			require.NotZero(t, r.Short()&0x8000)
			h := sum.ReadHead(r, s.Algorithm.Size(), tt.version)
			got := sum.ReadSums(r, h)
			require.NoError(t, r.Err())

			blockLen := sum.BlockLen(int64(tt.size))
			require.Equal(t, sum.NewHead(int64(tt.size), blockLen, sum.StrongLen(int64(tt.size), blockLen, s.Algorithm.Size())), h)
			want, err := sum.Compute(t.Context(), bytes.NewReader(basis), h, s, 2)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got))
		})
	}
}
