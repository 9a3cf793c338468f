package vmimage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// childEnv holds, in JSON, what a child process of a test is to do.
const childEnv = "OBSKEEP_VMIMAGE_CHILD"

// child is a run of an engine in a process of its own.
type child struct {
	URI, Dir, Machine string
	KillAt            int  // at so-manieth moment before or after an entry in the journal; zero for none
	Recover           bool // and nothing else
}

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(childEnv); ok {
		var c child
		err := json.Unmarshal([]byte(text), &c)
		if err == nil {
			err = c.run(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (c child) run(ctx context.Context) error {
	host, err := libvirt.Open(ctx, c.URI, nil)
	for end := time.Now().Add(time.Minute); errors.Is(err, virt.ErrLost) && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond) // it is being started again
		host, err = libvirt.Open(ctx, c.URI, nil)
	}
	if err != nil {
		return err
	}
	defer host.Close()
	target, err := plain.Open(filepath.Join(c.Dir, "images"), nil)
	if err != nil {
		return err
	}
	journal, err := vmimage.OpenJournal(filepath.Join(c.Dir, "journal"))
	if err != nil {
		return err
	}
	kill := slog.New(&atEntry{n: c.KillAt, do: func() { syscall.Kill(os.Getpid(), syscall.SIGKILL) }})
	e, err := vmimage.New(vmimage.Config{
		Keeper: vmimage.Keeper{Target: target, Policy: vmimage.Policy{Last: 1}, Share: 1},
		Host:   host, Journal: journal, Open: disk.Open, Logger: kill, Overlay: 1 << 20,
		Machines: []vmimage.Machine{{Name: c.Machine, Shutdown: time.Minute}},
	})
	if err != nil {
		return err
	}
	do := e.Run
	if c.Recover {
		do = e.Recover
	}
	results, err := do(ctx)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	return err
}

// start runs the child, and reports whether it killed itself.
func (c child) start(t *testing.T) (killed bool) {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	require.NoError(t, err, "%s", out)
	return false
}

// needTestbed starts a private libvirtd.
func needTestbed(t *testing.T) *testbed.Bed {
	t.Helper()
	if err := testbed.Check(); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	bed, err := testbed.Start(t.Context(), "", slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bed.Close()) })
	return bed
}

// beds is how many hypervisors are at work at the same time: as many as the cores on which
// tests run by default, since others would wait for them.
const beds = 2

// Wherever the program is killed, before or after an entry is in the journal, with libvirtd
// or with the whole host, the next run puts everything in order: on real machines.
// Each moment is tried with one of the three, or with all if OBSKEEP_CAMPAIGN is "full".
//
// It is not parallel to the tests in memory: a process that is being started has the locks of
// this one for a moment.
func TestRecover_OnRealMachines(t *testing.T) {
	for b := range beds {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			t.Parallel()
			c := newCampaign(t)
			for n := 1 + b; ; n += beds {
				for fault := range 3 {
					if os.Getenv("OBSKEEP_CAMPAIGN") != "full" && fault != (n/beds)%3 {
						continue
					}
					if !c.kill(t, n, fault) {
						t.Logf("%d cases", c.cases)
						return
					}
				}
			}
		})
	}
}

// campaign is a machine that is imaged again and again.
type campaign struct {
	bed    *testbed.Bed
	guest  *testbed.Guest
	host   *libvirt.Host
	target *plain.Target
	child
	cases int
	xml   []byte // of the machine
}

func newCampaign(t *testing.T) *campaign {
	bed := needTestbed(t)
	guest, err := bed.Guest(t.Context(), testbed.GuestConfig{
		Name: "web01", Agent: true, Data: 1 << 20,
		Disks: []testbed.DiskConfig{{Size: 32 << 20}, {Format: "raw", Size: 8 << 20}},
	})
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "images"), 0o755))
	c := &campaign{bed: bed, guest: guest, child: child{URI: bed.URI(), Dir: dir, Machine: "web01"}}
	c.host, err = libvirt.Open(t.Context(), bed.URI(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { c.host.Close() })
	c.target, err = plain.Open(filepath.Join(dir, "images"), nil)
	require.NoError(t, err)
	require.NoError(t, c.host.Start(t.Context(), guest.UUID, false))
	c.ready(t)
	require.False(t, c.start(t)) // so that there is a last good image
	c.ready(t)
	c.xml, err = c.host.XML(t.Context(), guest.UUID, true)
	require.NoError(t, err)
	return c
}

// ready waits until the guest has booted.
func (c *campaign) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := c.host.Ping(ctx, c.guest.UUID)
		if err == nil {
			return
		}
		require.NoError(t, ctx.Err(), "the guest does not come: %v", err)
		time.Sleep(50 * time.Millisecond)
	}
}

// kill kills a run at its n-th moment, and then libvirtd, or the host, and wants the next run
// to put everything in order. It reports whether the run came so far.
func (c *campaign) kill(t *testing.T, n, fault int) (killed bool) {
	t.Helper()
	msg := fmt.Sprintf("killed at %d, with %s", n, []string{"nothing else", "libvirtd", "the host"}[fault])
	_, err := c.guest.Run(t.Context(), fmt.Sprintf("echo %d.%d > /data/token; sync", n, fault))
	require.NoError(t, err, msg)
	run := c.child
	run.KillAt = n
	if killed = run.start(t); !killed {
		return false
	}
	c.cases++
	recover := c.child
	recover.Recover = true
	switch fault {
	case 1:
		require.NoError(t, c.bed.KillDaemon(false), msg)
	case 2:
		require.NoError(t, c.bed.PowerLoss(t.Context()), msg)
	}
	require.False(t, recover.start(t), msg)
	c.check(t, msg, fault == 2)
	return true
}

func (c *campaign) check(t *testing.T, msg string, powerLost bool) {
	t.Helper()
	ctx := t.Context()
	uuid := c.guest.UUID
	m, err := c.host.Machine(ctx, uuid)
	require.NoError(t, err, msg)
	if m.State == virt.Off && powerLost && c.nothingBegun(t) {
		require.NoError(t, c.host.Start(ctx, uuid, false), msg)
	} else {
		require.Equal(t, virt.Running, m.State, msg)
	}
	xml, err := c.host.XML(ctx, uuid, true)
	require.NoError(t, err, msg)
	require.Equal(t, string(c.xml), string(xml), msg)
	for i, path := range c.guest.Disks {
		name := fmt.Sprintf("vd%c", 'a'+i)
		files, err := c.host.Files(ctx, uuid, name)
		require.NoError(t, err, msg)
		require.Equal(t, []string{path}, files, msg)
		_, err = c.host.BlockJob(ctx, uuid, name)
		require.ErrorIs(t, err, virt.ErrNotFound, msg)
	}
	left, err := filepath.Glob(filepath.Join(c.bed.Images(), "*.overlay"))
	require.NoError(t, err)
	require.Empty(t, left, msg)
	require.Empty(t, partial(t, c.target), msg)

	images, err := c.target.Images(ctx)
	require.NoError(t, err, msg)
	var good vmimage.Image
	for _, i := range images {
		if !i.Verified.IsZero() {
			good = i
		}
	}
	require.NotEmpty(t, good.ID, msg)
	_, err = c.target.Verify(ctx, good)
	require.NoError(t, err, msg)

	c.ready(t)
	token, err := c.guest.Run(ctx, "cat /data/token")
	require.NoError(t, err, msg)
	require.Contains(t, msg, "killed at "+strings.Split(strings.TrimSpace(token), ".")[0]+",", "the guest has lost what it wrote")
}

// nothingBegun reports whether no run is known to have been at work on the machine, so that
// nobody but its host would start it again.
func (c *campaign) nothingBegun(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Dir, "journal", c.guest.UUID+".journal"))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	require.NoError(t, err)
	return !strings.Contains(string(text), `"step":"begin"`) || strings.Contains(string(text), `"step":"end"`)
}
