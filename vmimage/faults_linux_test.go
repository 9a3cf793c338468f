package vmimage_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

// fault is something that goes wrong on a real machine.
type fault struct {
	name  string
	words []string // of its guest
	off   bool     // it does not run at first
	later bool     // it writes something after it was frozen
	lazy  bool     // its first disk is marked as not closed in order as long as it runs

	// at is the step of the journal that is about to begin, for the nth time, when do is called.
	// Zero means the first.
	at  string
	nth int
	do  func(ctx context.Context, r *rig) error

	change func(c *vmimage.Config, r *rig)
	image  vmimage.Consistency // of the image; "" if there is none
}

// rig is a machine and an engine for it.
type rig struct {
	bed   *testbed.Bed
	guest *testbed.Guest
	host  *libvirt.Host
	xml   []byte // of the machine, before
}

// edit saves the description of the machine with disk vda being another file.
func (r *rig) edit(ctx context.Context, path, format string) error {
	xml, err := r.host.XML(ctx, r.guest.UUID, true)
	if err != nil {
		return err
	}
	if xml, err = virt.Edit(xml, virt.Changes{Disks: map[string]virt.Source{"vda": {Path: path, Format: format}}}); err != nil {
		return err
	}
	_, err = r.host.Define(ctx, xml)
	return err
}

var faults = []fault{
	{name: "nothing", image: vmimage.Clean},
	{name: "it is off", off: true, image: vmimage.Clean},
	{name: "its guest ignores ACPI", words: []string{"vm.acpi=0"}, image: vmimage.Crash},
	{name: "its guest powers off late", words: []string{"vm.slowoff=8"}, image: vmimage.Crash},
	{name: "its guest is switched off when it ignores ACPI", words: []string{"vm.acpi=0"}, image: vmimage.Crash,
		change: func(c *vmimage.Config, r *rig) { c.Machines[0].Stubborn = vmimage.Destroy }},
	{name: "libvirtd hangs", at: "commit", image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		time.AfterFunc(5*time.Second, func() { _ = r.bed.ContinueDaemon() })
		return r.bed.StopDaemon()
	}},
	{name: "libvirtd dies while it is down", at: "snapshot", image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		return r.bed.KillDaemon(false)
	}},
	{name: "libvirtd dies in a commit", at: "pivot", image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		return r.bed.KillDaemon(false)
	}},
	{name: "its QEMU dies", at: "store", image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		return r.bed.KillGuest(r.guest.Name)
	}},
	{name: "the host loses its power", at: "verify", image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		return r.bed.PowerLoss(ctx)
	}},
	{name: "somebody starts it while it is down", at: "start", do: func(ctx context.Context, r *rig) error {
		return r.host.Start(ctx, r.guest.UUID, false)
	}},
	{name: "somebody shuts it down meanwhile", at: "store", image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		return r.host.Destroy(ctx, r.guest.UUID)
	}},
	{name: "somebody lets it go while it is held", at: "snapshot", image: vmimage.Crash, do: func(ctx context.Context, r *rig) error {
		return r.host.Resume(ctx, r.guest.UUID)
	}},
	{name: "its description names a merged overlay", at: "commit", nth: 2, image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		overlays, err := filepath.Glob(filepath.Join(r.bed.Images(), r.guest.Name+"-vda.*.overlay"))
		if err != nil {
			return err
		}
		return r.edit(ctx, overlays[0], "qcow2")
	}},
	{name: "its description names a merged overlay, and its QEMU dies", at: "commit", nth: 2, image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		overlays, err := filepath.Glob(filepath.Join(r.bed.Images(), r.guest.Name+"-vda.*.overlay"))
		if err != nil {
			return err
		}
		if err := r.edit(ctx, overlays[0], "qcow2"); err != nil {
			return err
		}
		return r.bed.KillGuest(r.guest.Name)
	}},
	{name: "its description is put back, and its QEMU dies", at: "store", later: true, image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		if err := r.guest.WaitReady(ctx, 2); err != nil {
			return err
		}
		if _, err := r.guest.Run(ctx, "echo later > /data/token; sync"); err != nil {
			return err
		}
		if _, err := r.host.Define(ctx, r.xml); err != nil {
			return err
		}
		return r.bed.KillGuest(r.guest.Name)
	}},
	{name: "its disk has lazy refcounts", lazy: true, image: vmimage.Clean},
	{name: "its disk has lazy refcounts, and it is taken live", lazy: true, image: vmimage.Frozen,
		change: func(c *vmimage.Config, r *rig) { c.Machines[0].Mode = vmimage.Live }},
	{name: "somebody aborts the commit", at: "pivot", image: vmimage.Clean, do: func(ctx context.Context, r *rig) error {
		return r.host.AbortBlockJob(ctx, r.guest.UUID, "vda")
	}},
	{name: "the target is full", change: func(c *vmimage.Config, r *rig) { c.Target = &full{c.Target} }},
	{name: "the clock jumps back a year", image: vmimage.Clean, change: func(c *vmimage.Config, r *rig) {
		calls := 0
		c.Now = func() time.Time {
			if calls++; calls > 3 {
				return time.Now().AddDate(-1, 0, 0)
			}
			return time.Now()
		}
	}},
	{name: "the disk of its overlay is full", at: "store", change: func(c *vmimage.Config, r *rig) { c.Overlays = filepath.Join(r.bed.Images(), "small") }, do: func(ctx context.Context, r *rig) error {
		go func() { // it is asked while it boots, and its answer may be lost
			soon, cancel := context.WithTimeout(ctx, 15*time.Second)
			defer cancel()
			_, _ = r.guest.Run(soon, "dd if=/dev/urandom of=/data/much bs=1M count=20; sync")
		}()
		for {
			m, err := r.host.Machine(ctx, r.guest.UUID)
			if err != nil || m.State == virt.Stalled {
				time.Sleep(3 * time.Second) // the engine sees it too
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	}},
}

// Whatever goes wrong with a real machine, everything is in order at the end of the run.
//
// It is not parallel to the tests in memory: a process that is being started has the locks of
// this one for a moment.
func TestRun_SurvivesFaultsOfRealMachines(t *testing.T) {
	for b := range beds {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			t.Parallel()
			bed := needTestbed(t)
			// A disk that an overlay can fill, and room to merge what one holds.
			small := filepath.Join(bed.Images(), "small")
			require.NoError(t, os.Mkdir(small, 0o755))
			require.NoError(t, exec.Command("mount", "-t", "tmpfs", "-o", "size=8m,uid=65534,gid=65534", "tmpfs", small).Run())
			t.Cleanup(func() { require.NoError(t, exec.Command("umount", "-l", small).Run()) })
			table := tabwriter.NewWriter(t.Output(), 0, 0, 2, ' ', 0)
			for i := b; i < len(faults); i += beds {
				f := faults[i]
				t.Run(f.name, func(t *testing.T) { fmt.Fprintln(table, f.run(t, bed, fmt.Sprintf("m%d", i))) })
			}
			table.Flush()
		})
	}
}

// run runs an engine with the fault and returns the row of a table.
func (f fault) run(t *testing.T, bed *testbed.Bed, name string) (row string) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	guest, err := bed.Guest(ctx, testbed.GuestConfig{
		Name: name, Agent: len(f.words) == 0, Words: f.words, Disks: []testbed.DiskConfig{{Size: 32 << 20}, {Format: "raw", Size: 4 << 20}},
	})
	require.NoError(t, err)
	host, err := libvirt.Open(ctx, bed.URI(), nil)
	require.NoError(t, err)
	defer host.Close()
	r := &rig{bed: bed, guest: guest, host: host}
	defer func() {
		_ = host.Destroy(context.WithoutCancel(ctx), guest.UUID) // if it runs
		require.NoError(t, host.Undefine(context.WithoutCancel(ctx), guest.UUID))
		for _, path := range guest.Disks {
			require.NoError(t, os.Remove(path))
		}
	}()
	if f.lazy {
		out, err := exec.CommandContext(ctx, "qemu-img", "amend", "-f", "qcow2", "-o", "lazy_refcounts=on", guest.Disks[0]).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	if !f.off {
		require.NoError(t, host.Start(ctx, guest.UUID, false))
		require.NoError(t, guest.WaitReady(ctx, 1))
		_, err = guest.Run(ctx, "dd if=/dev/urandom of=/data/more bs=1M count=4; echo kept > /data/token; sync")
		require.NoError(t, err)
	}
	if f.lazy {
		_, err := disk.Open(guest.Disks[0], "qcow2")
		require.ErrorIs(t, err, vmimage.ErrUnclosed)
	}
	r.xml, err = host.XML(ctx, guest.UUID, true)
	require.NoError(t, err)

	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "images"), 0o755))
	target, err := plain.Open(filepath.Join(dir, "images"), nil)
	require.NoError(t, err)
	defer target.Close()
	journal, err := vmimage.OpenJournal(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	defer journal.Close()
	c := vmimage.Config{
		Keeper: vmimage.Keeper{Target: target}, Host: host, Journal: journal, Open: disk.Open, Overlay: 1 << 20, Patience: time.Minute,
		Machines: []vmimage.Machine{{Name: name, Shutdown: 4 * time.Second}},
		Logger:   slog.New(&atStep{step: f.at, nth: f.nth, do: func() { assert.NoError(t, f.do(ctx, r)) }}),
	}
	if len(f.words) == 0 {
		c.Machines[0].Shutdown = time.Minute
	}
	if f.change != nil {
		f.change(&c, r)
	}
	engine, err := vmimage.New(c)
	require.NoError(t, err)
	began := time.Now()
	results, err := engine.Run(ctx)
	require.NoError(t, err)
	result := results[0]
	require.Equal(t, f.image, result.Image.Consistency, "%v", result.Err)
	if f.image != "" {
		require.NoError(t, result.Err)
	}

	m, err := host.Machine(ctx, guest.UUID)
	require.NoError(t, err)
	after, err := host.XML(ctx, guest.UUID, true)
	require.NoError(t, err)
	require.Equal(t, string(r.xml), strings.ReplaceAll(string(after), "  <metadata/>\n", "")) // libvirt keeps it, empty
	for _, dir := range []string{".", "small"} {
		left, err := filepath.Glob(filepath.Join(bed.Images(), dir, "*.overlay"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	if f.off {
		require.Equal(t, virt.Off, m.State)
	} else {
		require.Equal(t, virt.Running, m.State)
		for i, path := range guest.Disks {
			files, err := host.Files(ctx, guest.UUID, fmt.Sprintf("vd%c", 'a'+i))
			require.NoError(t, err)
			require.Equal(t, []string{path}, files)
		}
		require.NoError(t, guest.WaitReady(ctx, 1))
		token := ""
		for err := error(io.EOF); err != nil; { // it may be booting
			require.NoError(t, ctx.Err())
			soon, cancel := context.WithTimeout(ctx, 5*time.Second)
			token, err = guest.Run(soon, "cat /data/token")
			cancel()
		}
		want := "kept"
		if f.later {
			want = "later"
		}
		require.Equal(t, want, strings.TrimSpace(token))
	}
	return fmt.Sprintf("%s\t%s\t%s\tran for %.1f s\t%v", f.name, m.State, result.Image.Consistency, time.Since(began).Seconds(), result.Err)
}

// atStep does something when a step of a journal is about to begin.
type atStep struct {
	step string
	nth  int
	do   func()
	seen int
}

func (a *atStep) Enabled(context.Context, slog.Level) bool { return true }
func (a *atStep) WithAttrs([]slog.Attr) slog.Handler       { return a }
func (a *atStep) WithGroup(string) slog.Handler            { return a }
func (a *atStep) Handle(_ context.Context, r slog.Record) error {
	attrs := make(map[string]any)
	r.Attrs(func(attr slog.Attr) bool { attrs[attr.Key] = attr.Value.Any(); return true })
	if r.Message == "journal" && attrs["step"] == a.step && attrs["done"] == false && attrs["written"] == true {
		if a.seen++; a.seen == max(a.nth, 1) {
			a.do()
		}
	}
	return nil
}
