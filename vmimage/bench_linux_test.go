package vmimage_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

// BenchmarkDowntime is how long a machine with so much data is off, besides what its guest
// takes to shut down and to boot: with an engine, and in the way of a script, which copies the disk
// while it is off. The two take turns. Each figure is the median of the runs.
func BenchmarkDowntime(b *testing.B) {
	for _, mib := range []int64{256, 1024, 3072} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			require.NoError(b, testbed.Check())
			ctx := b.Context()
			bed, err := testbed.Start(ctx, "", nil)
			require.NoError(b, err)
			defer bed.Close()
			guest, err := bed.Guest(ctx, testbed.GuestConfig{
				Name: "web01", Agent: true, Data: mib << 20, Disks: []testbed.DiskConfig{{Size: (mib + 512) << 20}},
			})
			require.NoError(b, err)
			host, err := libvirt.Open(ctx, bed.URI(), nil)
			require.NoError(b, err)
			defer host.Close()
			require.NoError(b, host.Start(ctx, guest.UUID, false))
			target, err := plain.Open(b.TempDir(), nil)
			require.NoError(b, err)
			defer target.Close()
			journal, err := vmimage.OpenJournal(b.TempDir())
			require.NoError(b, err)
			defer journal.Close()
			engine, err := vmimage.New(vmimage.Config{
				Keeper: vmimage.Keeper{Target: target, Policy: vmimage.Policy{Last: 1}, Share: 1},
				Host:   host, Journal: journal, Open: disk.Open, Machines: []vmimage.Machine{{Name: "web01"}}, Overlay: 1 << 20,
			})
			require.NoError(b, err)
			copied := filepath.Join(b.TempDir(), "copy")

			boots := 1
			var ours, script, whole, rate []float64
			for b.Loop() {
				require.NoError(b, guest.WaitReady(ctx, boots))
				began := time.Now()
				results, err := engine.Run(ctx)
				require.NoError(b, err)
				require.NoError(b, results[0].Err)
				whole = append(whole, time.Since(began).Seconds())
				image := results[0].Image
				ours = append(ours, (image.Down - image.Shutdown).Seconds())
				rate = append(rate, float64(image.Allocated())/(1<<20)/image.Took.Seconds())
				boots++

				require.NoError(b, guest.WaitReady(ctx, boots))
				script = append(script, offCopyOn(b, host, guest, copied).Seconds())
				boots++
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours), "s-down-engine")
			b.ReportMetric(median(script), "s-down-script")
			b.ReportMetric(median(whole), "s-run")
			b.ReportMetric(median(rate), "MiB/s-stored")
		})
	}
}

// offCopyOn is the way of a script, and returns how long the machine was off.
func offCopyOn(b *testing.B, host *libvirt.Host, guest *testbed.Guest, to string) time.Duration {
	b.Helper()
	ctx := b.Context()
	require.NoError(b, host.Shutdown(ctx, guest.UUID, virt.Agent))
	for {
		m, err := host.Machine(ctx, guest.UUID)
		require.NoError(b, err)
		if m.State == virt.Off {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	off := time.Now()
	require.NoError(b, exec.CommandContext(ctx, "cp", "--sparse=always", guest.Disks[0], to).Run())
	require.NoError(b, host.Start(ctx, guest.UUID, false))
	return time.Since(off)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
