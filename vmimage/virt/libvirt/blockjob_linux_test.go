package libvirt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

// snapshot gives disk vda an overlay, and the guest something to write to it.
func snapshot(t *testing.T, h *libvirt.Host, g *testbed.Guest, mib int) {
	t.Helper()
	require.NoError(t, h.Snapshot(limit(t), g.UUID, []virt.Overlay{{Disk: "vda", Path: overlay(g, "vda")}}))
	fill(t, g, mib)
}

func fill(t *testing.T, g *testbed.Guest, mib int) {
	t.Helper()
	_, err := g.Run(limit(t), fmt.Sprintf("dd if=/dev/urandom of=/data/fill bs=1M count=%d && sync", mib))
	require.NoError(t, err)
}

// merge brings a disk back to its base. It asks for the pivot the moment that it is told that
// the commit is ready.
func merge(t *testing.T, h *libvirt.Host, g *testbed.Guest) {
	t.Helper()
	require.NoError(t, h.Commit(limit(t), g.UUID, "vda", 0))
	eventually(t, "the commit is ready", func() bool {
		job, err := h.BlockJob(limit(t), g.UUID, "vda")
		require.NoError(t, err)
		return job.Ready
	})
	require.NoError(t, h.Pivot(limit(t), g.UUID, "vda"))
	require.NoError(t, os.Remove(overlay(g, "vda")))
}

// requireSound is that the file system on a machine's first disk is whole, and that
// a file in it is what the guest has read there. The machine is off.
func requireSound(t *testing.T, g *testbed.Guest, file, sum string) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	for _, cmd := range [][]string{
		{"qemu-img", "convert", "-O", "raw", g.Disks[0], raw},
		{"e2fsck", "-fp", raw}, // replays the journal, and fails if more is to be done
	} {
		out, err := exec.CommandContext(limit(t), cmd[0], cmd[1:]...).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && cmd[0] == "e2fsck" && exit.ExitCode() == 1 {
			err = nil // it replayed the journal
		}
		require.NoError(t, err, "%s: %s", cmd, out)
	}
	out, err := exec.CommandContext(limit(t), "sh", "-c", `debugfs -R "cat /$1" "$2" | sha256sum`, "sh", file, raw).Output()
	require.NoError(t, err)
	require.Equal(t, sum, strings.Fields(string(out))[0])
}

// sum is the SHA-256 of a file as the guest reads it from its disk.
func sum(t *testing.T, g *testbed.Guest, file string) string {
	t.Helper()
	out, err := g.Run(limit(t), "sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum /data/"+file)
	require.NoError(t, err)
	return strings.Fields(out)[0]
}

// A libvirtd that was killed is ErrLost, or not noticed at all; machines and block jobs are
// found again as they are.
func TestHost_FindsACommitAgainWhenLibvirtdWasKilled(t *testing.T) {
	h := open(t)
	g := guest(t, h, testbed.GuestConfig{Name: "kill"}, false)
	snapshot(t, h, g, 16)
	want := sum(t, g, "fill")
	require.NoError(t, h.Commit(limit(t), g.UUID, "vda", 1<<20))
	require.NoError(t, bed.KillDaemon(true))
	t.Cleanup(func() { require.NoError(t, bed.Release(limit(t))) })
	_, err := h.BlockJob(limit(t), g.UUID, "vda")
	require.ErrorIs(t, err, virt.ErrLost)
	require.NoError(t, bed.Release(limit(t)))

	job, err := h.BlockJob(limit(t), g.UUID, "vda")
	require.NoError(t, err)
	require.True(t, job.Commit)
	require.False(t, job.Ready)
	require.ErrorIs(t, h.Pivot(limit(t), g.UUID, "vda"), virt.ErrBusy)
	require.NoError(t, h.AbortBlockJob(limit(t), g.UUID, "vda"))

	// Once more, and now it becomes ready while nobody looks.
	require.NoError(t, h.Commit(limit(t), g.UUID, "vda", 8<<20))
	require.NoError(t, bed.KillDaemon(true))
	<-time.After(3 * time.Second) // of QEMU's, which nobody can ask now
	require.NoError(t, bed.Release(limit(t)))
	eventually(t, "the commit is ready", func() bool {
		job, err := h.BlockJob(limit(t), g.UUID, "vda")
		require.NoError(t, err)
		return job.Ready
	})
	require.NoError(t, h.Pivot(limit(t), g.UUID, "vda"))
	require.NoError(t, os.Remove(overlay(g, "vda")))
	require.Equal(t, want, sum(t, g, "fill"))
	require.NoError(t, h.Destroy(limit(t), g.UUID))
	requireSound(t, g, "fill", want)
}

// A block job is Ready only when a pivot would succeed, also under load.
func TestHost_PivotsTheMomentACommitIsReadyUnderLoad(t *testing.T) {
	h := open(t)
	g := guest(t, h, testbed.GuestConfig{Name: "load", Words: []string{"vm.load=2048"}}, false)
	for range 3 {
		snapshot(t, h, g, 8)
		want := sum(t, g, "fill")
		merge(t, h, g)
		require.Equal(t, want, sum(t, g, "fill"))
	}
	want := sum(t, g, "fill")
	require.NoError(t, h.Destroy(limit(t), g.UUID))
	requireSound(t, g, "fill", want)
}

// When Pivot returns nil, the running machine, its lasting description and QEMU all
// name the base.
func TestHost_PivotLeadsBackToTheBase(t *testing.T) {
	h := open(t)
	g := guest(t, h, testbed.GuestConfig{Name: "base", Disks: []testbed.DiskConfig{{Format: "raw"}}}, true)
	require.NoError(t, h.Start(limit(t), g.UUID, true))
	require.NoError(t, h.Snapshot(limit(t), g.UUID, []virt.Overlay{{Disk: "vda", Path: overlay(g, "vda")}}))
	merge(t, h, g)
	files, err := h.Files(limit(t), g.UUID, "vda")
	require.NoError(t, err)
	require.Equal(t, g.Disks, files)
	for _, inactive := range []bool{false, true} {
		text, err := h.XML(limit(t), g.UUID, inactive)
		require.NoError(t, err)
		d, err := virt.Parse(text)
		require.NoError(t, err)
		require.Equal(t, g.Disks[0], d.Disks[0].Path)
		require.False(t, d.Disks[0].Job)
	}
}

// A machine stalled by a full disk is Stalled, an event tells of it, and its overlay can
// be committed.
func TestHost_SavesAMachineStalledByAFullDisk(t *testing.T) {
	h := open(t)
	small := filepath.Join(bed.Images(), "small")
	require.NoError(t, os.MkdirAll(small, 0o777))
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=12m,mode=0777"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("a small file system to fill cannot be mounted: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(small, 0)) })
	g := guest(t, h, testbed.GuestConfig{Name: "full"}, false)

	ctx, stop := context.WithCancel(limit(t))
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	stalled := make(chan virt.Event, 1)
	watching.Go(func() {
		for e, err := range h.Watch(ctx) {
			if err != nil {
				t.Error(err)
			}
			if e.UUID == g.UUID && e.Kind == virt.DiskStalled {
				select {
				case stalled <- e:
				default:
				}
			}
		}
	})
	over := filepath.Join(small, "overlay")
	require.NoError(t, h.Snapshot(limit(t), g.UUID, []virt.Overlay{{Disk: "vda", Path: over}}))
	written := make(chan error, 1)
	go func() {
		_, err := g.Run(limit(t), "dd if=/dev/urandom of=/data/fill bs=1M count=24 conv=fsync")
		written <- err
	}()
	eventually(t, "the machine is stalled", func() bool {
		m, err := h.Machine(limit(t), g.UUID)
		require.NoError(t, err)
		return m.State == virt.Stalled
	})
	select {
	case e := <-stalled:
		require.Equal(t, virt.Event{UUID: g.UUID, Kind: virt.DiskStalled, Disk: "vda"}, e)
	case <-time.After(time.Minute):
		require.Fail(t, "no event of the stall")
	}

	require.NoError(t, h.Commit(limit(t), g.UUID, "vda", 0))
	eventually(t, "the commit is ready", func() bool {
		job, err := h.BlockJob(limit(t), g.UUID, "vda")
		require.NoError(t, err)
		return job.Ready
	})
	require.NoError(t, h.Pivot(limit(t), g.UUID, "vda"))
	require.NoError(t, os.Remove(over))
	require.NoError(t, h.Resume(limit(t), g.UUID))
	require.NoError(t, <-written)
	want := sum(t, g, "fill")
	m, err := h.Machine(limit(t), g.UUID)
	require.NoError(t, err)
	require.Equal(t, virt.Running, m.State)
	require.NoError(t, h.Destroy(limit(t), g.UUID))
	requireSound(t, g, "fill", want)
}
