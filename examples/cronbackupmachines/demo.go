package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/obskeep/obskeep/examples/internal/demo"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// demoMachines are the machines of the demonstration, which run when it begins.
var demoMachines = []string{"db01", "web01"}

// demonstrate does the job on machines of its own.
func (j *job) demonstrate(ctx context.Context) (code int, err error) {
	w, err := demo.New("images", "disks")
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	defer w.Close()
	host, what, stop, err := j.machinesForIt(ctx, w.Path("disks"))
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	j.host = host
	file, err := w.WriteConfig("machines.toml", `state = "DIR/state"

[[machine]]
name = "web01"
after = ["db01"]

[[machine]]
name = "db01"
shutdown = "2m"

[target]
path = "DIR/images"
reserve = "1 MiB"
keep_last = 2
keep_weekly = 4
`)
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	if err := script.ReadConfig(file, &j.config); err != nil {
		return 0, err
	}
	j.demo = !j.flags.JSON && !j.flags.DryRun
	if code, err = j.run(ctx); !j.demo {
		return code, errors.Join(err, w.Remove())
	}
	mails, mailErr := w.Mails()
	fmt.Fprintf(j.stdout, `
That was the real job, on %s:
  the images            %s
  the mail              %s
  the configuration     %s
Each image can be verified without us, and restored with qemu-img or dd:
  cd %s && sha256sum -c SHA256SUMS
The folder is yours to look at and to remove.
`, what, w.Path("images"), mails, file, w.Path("images", demoMachines[0], "*"))
	return code, errors.Join(err, mailErr)
}

// machinesForIt makes the machines of the demonstration, real ones if that can be, and
// says what they are.
func (j *job) machinesForIt(ctx context.Context, dir string) (host virt.Host, what string, stop func() error, err error) {
	if missing := testbed.Check(); missing != nil {
		fmt.Fprintln(j.stderr, "the machines of this demonstration are in memory, since there are no real ones here:", missing)
		return machinesInMemory(dir), "machines in memory", func() error { return nil }, nil
	}
	fmt.Fprintln(j.stderr, "two tiny machines are started under QEMU's own emulation; the first time that takes a minute")
	bed, err := testbed.Start(ctx, "", j.logger)
	if err != nil {
		return nil, "", nil, err
	}
	real, err := realMachines(ctx, bed)
	if err != nil {
		return nil, "", nil, errors.Join(err, bed.Close())
	}
	stop = func() error { return errors.Join(real.Close(), bed.Close()) }
	return real, "a real libvirt and QEMU, with machines made for it", stop, nil
}

// realMachines makes and starts machines, and waits until they have booted.
func realMachines(ctx context.Context, bed *testbed.Bed) (_ *libvirt.Host, err error) {
	host, err := libvirt.Open(ctx, bed.URI(), nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			host.Close()
		}
	}()
	var guests []*testbed.Guest
	for _, name := range demoMachines {
		g, err := bed.Guest(ctx, testbed.GuestConfig{
			Name: name, Agent: true, Data: 32 << 20, Disks: []testbed.DiskConfig{{}, {Format: "raw", Size: 16 << 20}},
		})
		if err != nil {
			return nil, err
		}
		if err := host.Start(ctx, g.UUID, false); err != nil {
			return nil, err
		}
		guests = append(guests, g)
	}
	for _, g := range guests {
		if err := g.WaitReady(ctx, 1); err != nil {
			return nil, err
		}
	}
	return host, nil
}

func machinesInMemory(dir string) virt.Host {
	host := vmtest.New(dir)
	for _, name := range demoMachines {
		content := make([]byte, 64<<20)
		rand.Read(content[:32<<20])
		host.Add(vmtest.Config{
			Name: name, State: virt.Running, Disks: [][]byte{content},
			Behaviour: vmtest.Behaviour{Off: time.Second, Boot: 2 * time.Second},
		})
	}
	return host
}
