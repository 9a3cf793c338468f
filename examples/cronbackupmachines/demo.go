package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/report/mailer/smtpsink"
	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// demoMachines are the machines of the demonstration, which run when it begins.
var demoMachines = []string{"db01", "web01"}

// demonstrate does the job on machines of its own.
func (j *job) demonstrate(ctx context.Context) (code int, err error) {
	dir, err := os.MkdirTemp("", "obskeep-demo-")
	if err != nil {
		return 0, err
	}
	for _, sub := range []string{"images", "disks"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return 0, err
		}
	}
	what := "a real libvirt and QEMU, with machines made for it"
	if missing := testbed.Check(); missing == nil {
		fmt.Fprintln(j.stderr, "two tiny machines are started under QEMU's own emulation; the first time that takes a minute")
		bed, err := testbed.Start(ctx, "", j.logger)
		if err != nil {
			return 0, fmt.Errorf("demonstration: %w", err)
		}
		defer func() { err = errors.Join(err, bed.Close()) }()
		host, err := realMachines(ctx, bed)
		if err != nil {
			return 0, fmt.Errorf("demonstration: %w", err)
		}
		defer host.Close()
		j.host = host
	} else {
		fmt.Fprintln(j.stderr, "the machines of this demonstration are in memory, since there are no real ones here:", missing)
		what = "machines in memory"
		j.host = machinesInMemory(filepath.Join(dir, "disks"))
	}
	mail, err := smtpsink.New("127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer mail.Close()
	file := filepath.Join(dir, "machines.toml")
	if err := os.WriteFile(file, []byte(demoConfig(dir, mail.Addr())), 0o644); err != nil {
		return 0, err
	}
	if j.config, err = readConfig(file); err != nil {
		return 0, err
	}
	j.demo = !j.json && !j.dryRun
	if code, err = j.run(ctx); !j.demo {
		return code, errors.Join(err, os.RemoveAll(dir))
	}
	for _, m := range mail.Messages() {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "mail.eml"), m.Data, 0o644))
	}
	fmt.Fprintf(j.stdout, `
That was the real job, on %s:
  the images            %s
  the mail              %s
  the configuration     %s
Each image can be verified without us, and restored with qemu-img or dd:
  cd %s && sha256sum -c SHA256SUMS
The folder is yours to look at and to remove.
`, what, filepath.Join(dir, "images"), filepath.Join(dir, "mail.eml"), file, filepath.Join(dir, "images", demoMachines[0], "*"))
	return code, err
}

func demoConfig(dir, smtp string) string {
	return fmt.Sprintf(`state = %q

[[machine]]
name = "web01"
after = ["db01"]

[[machine]]
name = "db01"
shutdown = "2m"

[target]
path = %q
reserve = "1 MiB"
keep_last = 2
keep_weekly = 4

[report]
to = ["ops@example.org"]
from = "obskeep@example.org"
smtp = %q
spool = %q
when = "always"
`, filepath.Join(dir, "state"), filepath.Join(dir, "images"), smtp, filepath.Join(dir, "spool"))
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
