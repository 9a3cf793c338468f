//go:build linux

package rsync_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync"
)

// BenchmarkPull_200000Files asks rsync for 200,000 files in 2,000 directories,
// without their data: ms-to-first is the time until the first file is asked for,
// MB-peak what this process has in memory at most.
func BenchmarkPull_200000Files(b *testing.B) {
	needRsync(b)
	src, dst := b.TempDir(), b.TempDir()
	for i := range 2000 {
		dir := filepath.Join(src, fmt.Sprint(i))
		require.NoError(b, os.Mkdir(dir, 0o755))
		for j := range 100 {
			require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("sounding-%03d.dat", j)), nil, 0o644))
		}
	}
	for _, whole := range []bool{false, true} {
		b.Run(fmt.Sprintf("whole=%v", whole), func(b *testing.B) {
			root, err := os.OpenRoot(dst)
			require.NoError(b, err)
			defer root.Close()
			var first time.Duration
			var peak float64
			for b.Loop() {
				o := &rsync.Options{Recursive: true, Times: true, DryRun: true, NoIncremental: whole}
				debug.FreeOSMemory()
				require.NoError(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // the peak begins anew
				began := time.Now()
				c := &asking{Conn: dial(b, debian, src, o.ServerArgs(true, src+"/")), then: sync.OnceFunc(func() { first += time.Since(began) })}
				res, err := rsync.Pull(b.Context(), c, root, ".", o)
				require.NoError(b, err)
				require.Equal(b, 200_000, res.Sent)
				_ = c.Close()
				peak = max(peak, peakMemory(b))
			}
			b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "ms-to-first")
			b.ReportMetric(peak, "MB-peak")
		})
	}
}

// peakMemory is the most memory that this process had, MB.
func peakMemory(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	kb, err := strconv.Atoi(string(bytes.Fields(after)[0]))
	require.NoError(b, err)
	return float64(kb) * 1024 / 1e6
}
