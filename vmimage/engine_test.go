package vmimage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// A machine that ran before runs again, its image is clean and holds what its disks
// held when it was off, and its disks are what they were.
func TestRun_ImagesAMachineThatRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{Record: true, Boot: 3 * time.Second, Off: 2 * time.Second}))
		results := w.image()
		w.check()
		image := results[0].Image
		require.Equal(t, vmimage.Clean, image.Consistency)
		require.GreaterOrEqual(t, image.Shutdown, 2*time.Second)
		require.Less(t, image.Down-image.Shutdown, 100*time.Millisecond)
		uuid := image.UUID
		for _, disk := range []string{"vda", "vdb"} {
			if diff := cmp.Diff(w.host.Snapshots(uuid)[0].Disks[disk], w.content(image, disk)); diff != "" {
				t.Errorf("%s (-frozen +image):\n%s", disk, diff)
			}
		}
		require.Equal(t, 2, w.host.Boots(uuid))
	})
}

// One that was off stays off, and is imaged.
func TestRun_LeavesAStoppedMachineStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vmtest.Config{Name: "spare", Disks: [][]byte{random(3, 32<<10)}, NVRAM: true})
		image := w.image()[0].Image
		w.check()
		require.Equal(t, vmimage.Clean, image.Consistency)
		require.Equal(t, random(3, 32<<10), w.content(image, "vda"))
		require.NotContains(t, w.host.Calls(), "Start")
	})
}

// All disks of an image are of one point in time.
func TestRun_AllDisksAreOfOnePointInTime(t *testing.T) {
	t.Parallel()
	for _, mode := range []vmimage.Mode{vmimage.Cold, vmimage.Live} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, running("web01", vmtest.Behaviour{}))
				w.config.Machines[0].Mode = mode
				uuid := uuidOf(t, w, "web01")
				done := make(chan bool)
				go func() { // a guest that never rests
					for n := byte(0); ; n++ {
						select {
						case <-done:
							return
						case <-time.After(10 * time.Millisecond):
							_ = w.host.GuestWrite(uuid, "vda", 0, random(n, 512))
							_ = w.host.GuestWrite(uuid, "vdb", 0, random(n, 512))
						}
					}
				}()
				w.during(func() {})
				image := w.image()[0].Image
				close(done)
				frozen := w.host.Snapshots(uuid)
				require.Len(t, frozen, 1)
				for _, disk := range []string{"vda", "vdb"} {
					require.Equal(t, frozen[0].Disks[disk], w.content(image, disk), disk)
				}
				w.check()
			})
		})
	}
}

// The description of a machine, the variables of its firmware and the state of its TPM are
// in its image.
func TestRun_ImagesWhatBelongsToAMachine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running("web01", vmtest.Behaviour{})
		c.NVRAM, c.Devices = true, "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
		w := newWorld(t, c)
		uuid := uuidOf(t, w, "web01")
		w.config.TPM = t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(w.config.TPM, uuid, "tpm2"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(w.config.TPM, uuid, "tpm2", "tpm2-00.permall"), []byte("sealed"), 0o600))
		xml, err := w.host.Other().XML(t.Context(), uuid, true)
		require.NoError(t, err)
		image := w.image()[0].Image
		dir := t.TempDir()
		require.NoError(t, w.target.Restore(t.Context(), image, dir))
		for name, want := range map[string]string{"domain.xml": string(xml), "nvram": "variables of web01", "tpm-tpm2+tpm2-00.permall": "sealed"} {
			got, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, want, string(got), name)
		}
		w.check()
	})
}

// What the guest writes while its image is stored is in its disks afterwards, and not in the image.
func TestRun_KeepsWhatTheGuestWritesMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		uuid := uuidOf(t, w, "web01")
		for _, method := range []string{"Resume", "Commit", "Pivot", "SetMetadata"} {
			w.host.Before(method, 1, func() {
				_ = w.host.GuestWrite(uuid, "vda", 4096, random(byte(len(method)), 512))
			})
		}
		w.image()
		w.check()
	})
}

func uuidOf(t *testing.T, w *world, name string) string {
	t.Helper()
	machines, err := w.host.Other().Machines(t.Context())
	require.NoError(t, err)
	for _, m := range machines {
		if m.Name == name {
			return m.UUID
		}
	}
	t.Fatalf("no machine %s", name)
	return ""
}

// Machines are imaged in the order given, each behind those that it is after.
func TestRun_TakesMachinesInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web", vmtest.Behaviour{}), running("db", vmtest.Behaviour{}), running("dns", vmtest.Behaviour{}))
		w.config.Machines[0].After = []string{"db"}
		var order []string
		for _, r := range w.image() {
			order = append(order, r.Machine)
		}
		require.Equal(t, []string{"db", "web", "dns"}, order)
		w.check()
	})
}

// Machines that wait for each other, or for one that is not there, are an error before
// anything is done.
func TestNew_RefusesAnOrderThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, machines := range map[string][]vmimage.Machine{
		"a circle":        {{Name: "a", After: []string{"b"}}, {Name: "b", After: []string{"a"}}},
		"itself":          {{Name: "a", After: []string{"a"}}},
		"an unknown one":  {{Name: "a", After: []string{"b"}}},
		"one twice":       {{Name: "a"}, {Name: "a"}},
		"one of no name":  {{}},
		"a longer circle": {{Name: "a", After: []string{"c"}}, {Name: "b", After: []string{"a"}}, {Name: "c", After: []string{"b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.config.Machines = machines
			_, err := vmimage.New(w.config)
			require.Error(t, err)
		})
	}
}

// What cannot be imaged whole is refused before it is touched.
func TestRun_RefusesWhatCannotBeImagedWhole(t *testing.T) {
	t.Parallel()
	const network = `<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/image'/><target dev='vdz' bus='virtio'/></disk>`
	const block = `<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/null'/><target dev='vdz' bus='virtio'/></disk>`
	for name, c := range map[string]struct {
		config vmtest.Config
		change func(h *vmtest.Host, uuid string)
	}{
		"a network disk":    {config: vmtest.Config{Devices: network, State: virt.Running}},
		"a block device":    {config: vmtest.Config{Devices: block, State: virt.Running}},
		"a held machine":    {config: vmtest.Config{State: virt.Running}, change: func(h *vmtest.Host, uuid string) { _ = h.Suspend(t.Context(), uuid) }},
		"a stalled machine": {config: vmtest.Config{State: virt.Running}, change: func(h *vmtest.Host, uuid string) { h.SetState(uuid, virt.Stalled) }},
		"a migration":       {config: vmtest.Config{State: virt.Running}, change: func(h *vmtest.Host, uuid string) { h.SetJob(uuid, "migration") }},
		"a transient one":   {config: vmtest.Config{State: virt.Running, Transient: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.config.Name = "web01"
				w := newWorld(t, c.config)
				other := w.host.Other()
				if c.change != nil {
					c.change(other, uuidOf(t, w, "web01"))
				}
				w.host.Mark()
				w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
					results, err := e.Run(t.Context())
					require.NoError(t, err)
					refused, ok := errors.AsType[*vmimage.RefusedError](results[0].Err)
					require.True(t, ok, "%v", results[0].Err)
					t.Log(refused)
				})
				require.Subset(t, []string{"Machines", "XML", "Job", "Machine", "Metadata", "BlockInfo"}, w.host.Calls())
				require.Empty(t, w.images("web01"))
			})
		})
	}
}
