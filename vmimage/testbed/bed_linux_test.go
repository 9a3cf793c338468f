package testbed_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/testbed"
)

func TestMain(m *testing.M) {
	if os.Getenv("TESTBED_CHILD") != "" {
		child()
	}
	os.Exit(m.Run())
}

// child starts a bed and a machine, says where, and waits to be killed.
func child() {
	err := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		b, err := testbed.Start(ctx, "", nil)
		if err != nil {
			return err
		}
		if _, err := b.Guest(ctx, testbed.GuestConfig{Name: "a", Disks: []testbed.DiskConfig{{}}}); err != nil {
			return err
		}
		if err := b.StartGuest(ctx, "a"); err != nil {
			return err
		}
		fmt.Println(filepath.Dir(b.Images()))
		select {}
	}()
	fmt.Println(err)
	os.Exit(1)
}

// limit is a context that ends before the tests as a whole do. It is good in a
// clean-up too.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// need skips a test without what a bed needs, or fails it if OBSKEEP_REQUIRE_ALL is 1.
func need(t *testing.T) {
	t.Helper()
	if err := testbed.Check(); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func start(t *testing.T) *testbed.Bed {
	t.Helper()
	need(t)
	b, err := testbed.Start(limit(t), "", slog.New(slog.NewTextHandler(t.Output(), nil)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// boot makes a guest and waits until it has come up.
func boot(t *testing.T, b *testbed.Bed, cfg testbed.GuestConfig) *testbed.Guest {
	t.Helper()
	g, err := b.Guest(limit(t), cfg)
	require.NoError(t, err)
	require.NoError(t, b.StartGuest(limit(t), cfg.Name))
	require.NoError(t, g.WaitReady(limit(t), 1))
	return g
}

func requireState(t *testing.T, b *testbed.Bed, name, want string) {
	t.Helper()
	got, err := b.State(limit(t), name)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// below are the processes that have to do with a folder.
func below(t *testing.T, dir string) (processes []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, f := range files {
		env, err := os.ReadFile(f)
		if err == nil && bytes.Contains(env, []byte(dir+"/")) {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "comm"))
			processes = append(processes, strings.TrimSpace(string(name)))
		}
	}
	return processes
}

// Close returns once no process of the bed is left.
func TestBed_CloseLeavesNoProcess(t *testing.T) {
	t.Parallel()
	b := start(t)
	boot(t, b, testbed.GuestConfig{Name: "a", Disks: []testbed.DiskConfig{{}}})
	dir := filepath.Dir(b.Images())
	require.Subset(t, below(t, dir), []string{"tini", "libvirtd", "qemu-system-x86"})
	require.NoError(t, b.Close())
	require.Empty(t, below(t, dir))
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, fs.ErrNotExist, "a temporary bed")
	require.NoError(t, b.Close(), "a second time")
}

// If this process dies, however, its libvirtd and machines end too.
func TestBed_EndsWithItsProcess(t *testing.T) {
	t.Parallel()
	need(t)
	cmd := exec.CommandContext(limit(t), os.Args[0])
	cmd.Env = append(os.Environ(), "TESTBED_CHILD=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	dir := strings.TrimSpace(line)
	require.DirExists(t, dir)
	require.Subset(t, below(t, dir), []string{"tini", "libvirtd", "qemu-system-x86"})
	require.NoError(t, cmd.Process.Kill())
	_, killed := errors.AsType[*exec.ExitError](cmd.Wait())
	require.True(t, killed)
	require.Eventually(t, func() bool { return len(below(t, dir)) == 0 }, time.Minute, 20*time.Millisecond)
	require.NoDirExists(t, dir, "a temporary bed")
}

// A folder that was given to Start stays, and a bed can be started on it again: the
// machines are there.
func TestBed_CanBeStartedAgain(t *testing.T) {
	t.Parallel()
	need(t)
	dir, err := os.MkdirTemp("", "bed")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	for i := range 2 {
		b, err := testbed.Start(limit(t), dir, nil)
		require.NoError(t, err)
		if i == 0 {
			_, err := b.Guest(limit(t), testbed.GuestConfig{Name: "a", Disks: []testbed.DiskConfig{{Format: "raw"}}})
			require.NoError(t, err)
		}
		requireState(t, b, "a", "shut off")
		require.NoError(t, b.Close())
	}
}

// A power cut loses nothing that a guest had synced, and a machine that was killed
// is off.
func TestBed_APowerCutLosesNothingSynced(t *testing.T) {
	t.Parallel()
	b := start(t)
	g := boot(t, b, testbed.GuestConfig{Name: "a", Disks: []testbed.DiskConfig{{}, {Format: "raw", Size: 8 << 20}}, Data: 1 << 20})
	_, err := g.Run(limit(t), "echo kept >/data/note; sync; printf kept >/dev/vdb; sync")
	require.NoError(t, err)
	require.NoError(t, b.PowerLoss(limit(t)))
	requireState(t, b, "a", "shut off")
	require.NoError(t, b.StartGuest(limit(t), "a"))
	require.NoError(t, g.WaitReady(limit(t), 2))
	out, err := g.Run(limit(t), "cat /data/note; cat /data/boots; stat -c %s /data/data; head -c 4 /dev/vdb")
	require.NoError(t, err)
	require.Equal(t, "kept\nboot\nboot\n1048576\nkept", out)
	_, err = g.Run(limit(t), "ls /none")
	require.Error(t, err, "a status other than zero")
	require.NoError(t, b.KillGuest("a"))
	require.Eventually(t, func() bool {
		state, err := b.State(limit(t), "a")
		return err == nil && state == "shut off"
	}, time.Minute, 20*time.Millisecond)
}

// A guest heeds its power button as its words say.
func TestGuest_HeedsItsWords(t *testing.T) {
	t.Parallel()
	b := start(t)
	boot(t, b, testbed.GuestConfig{Name: "deaf", Disks: []testbed.DiskConfig{{}}, Words: []string{"vm.acpi=0"}})
	boot(t, b, testbed.GuestConfig{Name: "slow", Disks: []testbed.DiskConfig{{}}, Words: []string{"vm.slowoff=2", "vm.load=16"}})
	for _, name := range []string{"deaf", "slow"} {
		require.NoError(t, b.PressPower(limit(t), name))
	}
	began := time.Now()
	require.Eventually(t, func() bool {
		state, err := b.State(limit(t), "slow")
		return err == nil && state == "shut off"
	}, time.Minute, 20*time.Millisecond)
	require.Greater(t, time.Since(began), 1500*time.Millisecond)
	requireState(t, b, "deaf", "running")
}

// The guest is built once, by whichever process comes first.
func TestStart_BuildsTheGuestOnce(t *testing.T) {
	need(t)
	cache := t.TempDir()
	t.Setenv("OBSKEEP_GUEST_CACHE", cache)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil)) // its handler writes one line at a time
	var starts sync.WaitGroup
	for range 3 {
		starts.Go(func() {
			b, err := testbed.Start(limit(t), "", logger)
			if err != nil {
				t.Error(err)
				return
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	require.Equal(t, 1, strings.Count(log.String(), "guest built"))
	built, err := filepath.Glob(filepath.Join(cache, "*"))
	require.NoError(t, err)
	require.Len(t, built, 1)
}
