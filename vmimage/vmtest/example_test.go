package vmtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// restart is what is tested: it is to leave the machine running whatever happens, once
// it is run a second time.
func restart(ctx context.Context, h virt.Host, uuid string) error {
	if err := h.Shutdown(ctx, uuid, virt.ACPI); err != nil && !errors.Is(err, virt.ErrState) {
		return err
	}
	if err := h.Start(ctx, uuid, false); err != nil && !errors.Is(err, virt.ErrState) {
		return err
	}
	return nil
}

// A program is killed after each call that it makes, and run again.
func ExampleHost_Fail() {
	dir, err := os.MkdirTemp("", "vmtest")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	for n := 1; ; n++ {
		host := vmtest.New(dir) // of a test: New(t, t.TempDir())
		uuid := host.Add(vmtest.Config{Name: "web01", State: virt.Running})
		host.Fail(vmtest.Fault{N: n, Kind: vmtest.KillAfter})
		_ = restart(ctx, host, uuid)
		if !host.Failed() {
			break // call n was never reached: each call has had its fault
		}
		fmt.Println("killed after", host.Calls())
		host.Revive()
		_ = restart(ctx, host, uuid)
		for _, wrong := range host.Check() {
			fmt.Println(wrong)
		}
	}
	// Output:
	// killed after [Shutdown]
	// killed after [Shutdown Start]
}
