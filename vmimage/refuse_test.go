package vmimage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// refused wants a run to refuse the first machine before anything is touched, and returns why.
func (w *world) refused() (why string) {
	w.t.Helper()
	calls := len(w.host.Calls())
	w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
		results, err := e.Run(w.t.Context())
		require.NoError(w.t, err)
		require.Len(w.t, results, 1)
		refused, ok := errors.AsType[*vmimage.RefusedError](results[0].Err)
		require.True(w.t, ok, "%v", results[0].Err)
		w.t.Log(refused)
		why = refused.Why
	})
	require.Subset(w.t, []string{"Machines", "XML", "Job", "Machine", "Metadata", "BlockInfo"}, w.host.Calls()[calls:])
	require.Empty(w.t, w.images(w.config.Machines[0].Name))
	return why
}

// A file that is two disks, of one machine or of two, by whatever path, is refused.
func TestRun_RefusesAFileThatIsTwoDisks(t *testing.T) {
	t.Parallel()
	const twice = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vdz' bus='virtio'/></disk>`
	for name, c := range map[string]struct {
		other string // of the machine that has it a second time
		link  bool
		want  string
	}{
		"of one machine":             {"web01", false, "disk vdz of web01"},
		"of one machine, by a link":  {"web01", true, "disk vdz of web01"},
		"of two machines":            {"web02", false, "disk vdz of web02"},
		"of two machines, by a link": {"web02", true, "disk vdz of web02"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, vmtest.Config{Name: "web01"})
				path := filepath.Join(filepath.Dir(w.target.Dir()), "disks", "web01-vda.img")
				if c.link {
					link := filepath.Join(t.TempDir(), "link.img")
					require.NoError(t, os.Symlink(path, link))
					path = link
				}
				if c.other != "web01" {
					w.host.Add(vmtest.Config{Name: c.other})
				}
				e := &editor{w: w, uuid: uuidOf(t, w, c.other)}
				e.open()
				e.text = []byte(strings.Replace(string(e.text), "</devices>", fmt.Sprintf(twice, path)+"</devices>", 1))
				e.save()
				w.host.Mark()
				require.Contains(t, w.refused(), c.want)
				require.Empty(t, w.host.Check())
			})
		})
	}
}

// A machine that does not stay off when its guest shuts down is not shut down; live it is imaged.
func TestRun_RefusesToShutDownWhatDoesNotStayOff(t *testing.T) {
	t.Parallel()
	for _, does := range []string{"restart", "preserve"} {
		t.Run(does, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, vmtest.Config{Name: "web01"})
				e := &editor{w: w, uuid: uuidOf(t, w, "web01")}
				e.open()
				e.text = []byte(strings.Replace(string(e.text), "<devices>", "<on_poweroff>"+does+"</on_poweroff><devices>", 1))
				e.save()
				require.NoError(t, w.host.Start(t.Context(), e.uuid, false))
				w.host.Mark()
				require.Contains(t, w.refused(), "its on_poweroff is "+does)
				w.config.Machines[0].Mode = vmimage.Live
				w.image()
				w.check()
			})
		})
	}
}

// A disk that was added to a machine while it runs is refused by its name.
func TestRun_RefusesADiskThatWillBeGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, running("web01", vmtest.Behaviour{}))
		e := &editor{w: w, uuid: uuidOf(t, w, "web01")}
		e.open()
		from, to := strings.LastIndex(string(e.text), "<disk "), strings.LastIndex(string(e.text), "</disk>")+len("</disk>")
		e.text = append(e.text[:from:from], e.text[to:]...)
		e.save()
		w.host.Mark()
		require.Contains(t, w.refused(), "disk vdb was added while it runs")
	})
}

// unclosed has disks that are marked as not closed in order as long as their machine writes to them.
func (w *world) unclosed(uuid string) {
	open := w.config.Open
	w.config.Open = func(path, format string) (vmimage.Source, error) {
		files, err := w.host.Other().Files(w.t.Context(), uuid, "vda")
		if err == nil && files[0] == path {
			return nil, fmt.Errorf("%w: %w", vmimage.ErrUnclosed, errors.ErrUnsupported)
		}
		return open(path, format)
	}
}

// A disk that is not closed in order as long as its machine runs is no reason to refuse it; one of a
// machine that is off is.
func TestRun_TakesADiskThatItsMachineHasOpen(t *testing.T) {
	t.Parallel()
	for _, mode := range []vmimage.Mode{vmimage.Cold, vmimage.Live} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, running("web01", vmtest.Behaviour{}))
				w.config.Machines[0].Mode = mode
				w.unclosed(uuidOf(t, w, "web01"))
				w.image()
				w.check()
			})
		})
	}
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, vmtest.Config{Name: "web01"})
			w.config.Open = func(string, string) (vmimage.Source, error) { return nil, vmimage.ErrUnclosed }
			require.Contains(t, w.refused(), "disk vda: "+vmimage.ErrUnclosed.Error())
		})
	})
}

// Two files of a TPM that have one name in different folders are both in the image.
func TestRun_ImagesAllFilesOfATPM(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running("web01", vmtest.Behaviour{})
		c.Devices = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
		w := newWorld(t, c)
		w.config.TPM = t.TempDir()
		for _, dir := range []string{"tpm1.2", "tpm2"} {
			folder := filepath.Join(w.config.TPM, uuidOf(t, w, "web01"), dir)
			require.NoError(t, os.MkdirAll(folder, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(folder, "state"), []byte("of "+dir), 0o600))
		}
		dir := t.TempDir()
		require.NoError(t, w.target.Restore(t.Context(), w.image()[0].Image, dir))
		for name, want := range map[string]string{"tpm-tpm1.2+state": "of tpm1.2", "tpm-tpm2+state": "of tpm2"} {
			got, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
	})
}
