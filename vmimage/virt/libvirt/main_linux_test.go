package libvirt_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

// bed is the libvirtd of all tests; nil if none can be had.
var bed *testbed.Bed

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if testbed.Check() == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			var err error
			if bed, err = testbed.Start(ctx, "", slog.New(slog.DiscardHandler)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		status := m.Run()
		if bed != nil {
			if err := bed.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return status
	}())
}

// limit is a context that ends before the tests as a whole do. It is good in a
// clean-up too.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// open is a host on the test bed. Without one the test is skipped, or fails if
// OBSKEEP_REQUIRE_ALL is 1.
func open(t *testing.T) *libvirt.Host {
	t.Helper()
	if bed == nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal(testbed.Check())
		}
		t.Skip(testbed.Check())
	}
	h, err := libvirt.Open(limit(t), bed.URI(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// guest makes a machine of the test's own and, unless it is to stay off, boots it.
func guest(t *testing.T, h *libvirt.Host, cfg testbed.GuestConfig, off bool) *testbed.Guest {
	t.Helper()
	if len(cfg.Disks) == 0 {
		cfg.Disks = []testbed.DiskConfig{{}}
	}
	g, err := bed.Guest(limit(t), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		m, err := h.Machine(limit(t), g.UUID)
		require.NoError(t, err)
		if m.State != virt.Off {
			require.NoError(t, h.Destroy(limit(t), g.UUID))
		}
		require.NoError(t, h.Undefine(limit(t), g.UUID))
		for _, d := range g.Disks {
			require.NoError(t, os.Remove(d))
		}
	})
	if !off {
		require.NoError(t, h.Start(limit(t), g.UUID, false))
		require.NoError(t, g.WaitReady(limit(t), 1))
	}
	return g
}

// eventually asks until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, time.Minute, 20*time.Millisecond, what)
}

// overlay is a path for one.
func overlay(g *testbed.Guest, disk string) string {
	return filepath.Join(bed.Images(), g.Name+"-"+disk+".overlay")
}
