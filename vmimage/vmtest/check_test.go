package vmtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// Check names each thing that is not as it was, and nothing if all is.
func TestCheck_NamesEachThing(t *testing.T) {
	t.Parallel()
	var elsewhere string
	snapshot := func(t *testing.T, h *vmtest.Host, uuid string) {
		elsewhere := filepath.Join(elsewhere, strings.ReplaceAll(t.Name(), "/", "-"))
		require.NoError(t, h.Snapshot(t.Context(), uuid, []virt.Overlay{{Disk: "vda", Path: elsewhere}}))
	}
	elsewhere = t.TempDir()
	for _, row := range []struct {
		rule string
		do   func(t *testing.T, h *vmtest.Host, on, off, dir string)
		want []string // parts of what is said, one for each thing
	}{
		{"nothing", func(*testing.T, *vmtest.Host, string, string, string) {}, nil},
		{"what the guest itself does", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			require.NoError(t, h.GuestWrite(on, "vda", 0, []byte("new")))
		}, nil},
		{"a whole backup", func(t *testing.T, h *vmtest.Host, on, _, dir string) {
			over := filepath.Join(dir, "over")
			require.NoError(t, h.SetMetadata(t.Context(), on, "a", "urn:a", "<job/>"))
			require.NoError(t, h.Shutdown(t.Context(), on, virt.ACPI))
			require.NoError(t, h.Start(t.Context(), on, true))
			require.NoError(t, h.Snapshot(t.Context(), on, []virt.Overlay{{Disk: "vda", Path: over}}))
			require.NoError(t, h.Resume(t.Context(), on))
			require.NoError(t, h.GuestWrite(on, "vda", 0, []byte("new")))
			require.NoError(t, h.Commit(t.Context(), on, "vda", 0))
			_, err := h.BlockJob(t.Context(), on, "vda")
			require.NoError(t, err)
			require.NoError(t, h.Pivot(t.Context(), on, "vda"))
			require.NoError(t, os.Remove(over))
			require.NoError(t, h.SetMetadata(t.Context(), on, "a", "urn:a", ""))
		}, nil},
		{"a machine that is off", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			require.NoError(t, h.Destroy(t.Context(), on))
		}, []string{"on was running and is off"}},
		{"a machine that runs", func(t *testing.T, h *vmtest.Host, _, off, _ string) {
			require.NoError(t, h.Start(t.Context(), off, false))
		}, []string{"off was off and is running"}},
		{"a machine that is held", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			require.NoError(t, h.Suspend(t.Context(), on))
		}, []string{"on was running and is paused"}},
		{"a machine that is stalled", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			h.SetState(on, virt.Stalled)
		}, []string{"on was running and is stalled"}},
		{"a machine that is gone", func(t *testing.T, h *vmtest.Host, _, off, _ string) {
			require.NoError(t, h.Undefine(t.Context(), off))
		}, []string{"off is not known any more"}},
		{"a machine that was not there", func(t *testing.T, h *vmtest.Host, _, _, _ string) {
			_, err := h.Define(t.Context(), []byte("<domain><name>new</name><uuid>a</uuid></domain>"))
			require.NoError(t, err)
		}, []string{"new has become known"}},
		{"a frozen guest", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			_, err := h.Freeze(t.Context(), on)
			require.NoError(t, err)
		}, []string{"on: its guest is frozen"}},
		{"an overlay in use", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			snapshot(t, h, on)
		}, []string{"file " + elsewhere, "on: disk vda is", "on: disk vda will be"}},
		{"an overlay in use, the machine off", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			snapshot(t, h, on)
			h.PowerLoss()
		}, []string{"file " + elsewhere, "on was running", "on: disk vda will be"}},
		{"a block job", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			snapshot(t, h, on)
			require.NoError(t, h.Commit(t.Context(), on, "vda", 0))
		}, []string{"file " + elsewhere, "on: disk vda is /", "on: disk vda is in a block job", "on: disk vda will be"}},
		{"an overlay out of use", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			snapshot(t, h, on)
			require.NoError(t, h.Commit(t.Context(), on, "vda", 0))
			_, err := h.BlockJob(t.Context(), on, "vda")
			require.NoError(t, err)
			require.NoError(t, h.Pivot(t.Context(), on, "vda"))
		}, []string{"file " + elsewhere}},
		{"a file beside the disks", func(t *testing.T, _ *vmtest.Host, _, _, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "socket"), nil, 0o600))
		}, []string{"socket is left"}},
		{"metadata", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			require.NoError(t, h.SetMetadata(t.Context(), on, "a", "urn:a", "<job/>"))
		}, []string{"on: metadata"}},
		{"another description", func(t *testing.T, h *vmtest.Host, on, _, _ string) {
			xml, err := h.XML(t.Context(), on, true)
			require.NoError(t, err)
			_, err = h.Define(t.Context(), bytes.Replace(xml, []byte("256"), []byte("512"), 1))
			require.NoError(t, err)
		}, []string{"on: its description is another"}},
		{"a disk that was written to behind the guest's back", func(t *testing.T, h *vmtest.Host, on, _, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "on-vda.img"), bytes.Repeat([]byte{1}, 64<<10), 0o600))
		}, []string{"on: disk vda does not hold what the guest wrote, from byte 0 on"}},
		{"a disk that is gone", func(t *testing.T, h *vmtest.Host, _, _, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "off-vda.img")))
		}, []string{"off: disk vda cannot be read"}},
		{"an overlay removed while it was in use", func(t *testing.T, h *vmtest.Host, on, _, dir string) {
			over := filepath.Join(dir, "over")
			require.NoError(t, h.Snapshot(t.Context(), on, []virt.Overlay{{Disk: "vda", Path: over}}))
			require.NoError(t, os.Remove(over))
			h.PowerLoss()
		}, []string{"on was running", "on: disk vda cannot be read", "on: disk vda will be"}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := vmtest.New(dir)
			on := h.Add(vmtest.Config{Name: "on", State: virt.Running})
			off := h.Add(vmtest.Config{Name: "off"})
			row.do(t, h, on, off, dir)
			got := h.Check()
			require.Len(t, got, len(row.want), "%q", got)
			for i, part := range row.want {
				require.Contains(t, got[i], part)
			}
			h.Mark()
			if row.rule == "a file beside the disks" || row.rule == "metadata" {
				require.Empty(t, h.Check(), "compared with itself")
			}
		})
	}
}
