package vmimage_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// world is a host of machines in memory, a target, and what is needed to run the
// engine on them again and again.
type world struct {
	t       *testing.T
	host    *vmtest.Host
	target  *plain.Target
	journal string // folder
	config  vmimage.Config
}

const mib = 1 << 20

func newWorld(t *testing.T, machines ...vmtest.Config) *world {
	t.Helper()
	dir := memory(t)
	for _, sub := range []string{"disks", "images"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	target, err := plain.Open(filepath.Join(dir, "images"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { target.Close() })
	w := &world{t: t, host: vmtest.New(filepath.Join(dir, "disks")), target: target, journal: filepath.Join(dir, "journal")}
	w.config = vmimage.Config{Keeper: vmimage.Keeper{Target: target}, Host: w.host, Open: disk.Open, Overlay: mib, Patience: 20 * time.Second}
	for _, m := range machines {
		w.host.Add(m)
		w.config.Machines = append(w.config.Machines, vmimage.Machine{Name: m.Name})
	}
	return w
}

// memory is a folder whose fsync costs nothing.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "obskeep-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// run runs a new engine, as the next process does.
func (w *world) run(do func(e *vmimage.Engine, j *vmimage.Journal)) {
	w.t.Helper()
	j, err := vmimage.OpenJournal(w.journal)
	require.NoError(w.t, err)
	defer j.Close()
	c := w.config
	c.Journal = j
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	e, err := vmimage.New(c)
	require.NoError(w.t, err)
	do(e, j)
}

// image runs an engine and wants each machine imaged.
func (w *world) image() []vmimage.Result {
	w.t.Helper()
	var results []vmimage.Result
	w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
		var err error
		results, err = e.Run(w.t.Context())
		require.NoError(w.t, err)
		for _, r := range results {
			require.NoError(w.t, r.Err)
			require.NotZero(w.t, r.Image.Verified, r.Machine)
		}
	})
	return results
}

// images are those that are listed, by machine, each checked to be verified and right.
func (w *world) images(machine string) (images []vmimage.Image) {
	w.t.Helper()
	all, err := w.target.Images(context.Background())
	require.NoError(w.t, err)
	for _, i := range all {
		if i.Machine == machine {
			images = append(images, i)
		}
	}
	return images
}

// content is what an image holds of a disk.
func (w *world) content(i vmimage.Image, disk string) []byte {
	w.t.Helper()
	dir := w.t.TempDir()
	require.NoError(w.t, w.target.Restore(context.Background(), i, dir))
	data, err := os.ReadFile(filepath.Join(dir, disk+".img"))
	require.NoError(w.t, err)
	return data
}

// check wants all invariants of the package comment to hold.
func (w *world) check(msg ...any) {
	w.t.Helper()
	require.Empty(w.t, w.host.Check(), msg...)
	w.run(func(e *vmimage.Engine, _ *vmimage.Journal) {
		results, err := e.Recover(context.Background())
		require.NoError(w.t, err)
		require.Empty(w.t, results, msg...) // nothing is left to be settled
	})
	require.Empty(w.t, partial(w.t, w.target), msg...)
}

// partial are the images in a target that are not complete.
func partial(t *testing.T, target *plain.Target) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(target.Dir(), "*", ".partial-*"))
	require.NoError(t, err)
	return left
}

// random is content that no other disk holds.
func random(seed byte, size int) []byte {
	data := make([]byte, size)
	x := uint64(seed) + 1
	for i := range data {
		x = x*6364136223846793005 + 1442695040888963407
		data[i] = byte(x >> 56)
	}
	return data
}

func running(name string, b vmtest.Behaviour) vmtest.Config {
	return vmtest.Config{
		Name: name, State: virt.Running, Behaviour: b,
		Disks: [][]byte{random(1, 64<<10), append(random(2, 16<<10), bytes.Repeat([]byte{0}, 48<<10)...)},
	}
}
