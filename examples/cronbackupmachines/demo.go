package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/obskeep/obskeep/report/mailer/smtpsink"
	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

// demonstrate does the job on machines of its own.
func (j *job) demonstrate(ctx context.Context) (code int, err error) {
	if err := testbed.Check(); err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	dir, err := os.MkdirTemp("", "obskeep-demo-")
	if err != nil {
		return 0, err
	}
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o755); err != nil {
		return 0, err
	}
	mail, err := smtpsink.New("127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer mail.Close()
	fmt.Fprintln(j.stderr, "a libvirtd of its own is started, with two tiny machines under QEMU's emulation: a minute, the first time")
	bed, err := testbed.Start(ctx, "", j.logger)
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	host, err := libvirt.Open(ctx, bed.URI(), nil)
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	defer host.Close()
	j.host = host
	var guests []*testbed.Guest
	for _, name := range []string{"db01", "web01"} {
		g, err := bed.Guest(ctx, testbed.GuestConfig{Name: name, Agent: true, Data: 32 << 20, Disks: []testbed.DiskConfig{{}, {Format: "raw", Size: 16 << 20}}})
		if err != nil {
			return 0, fmt.Errorf("demonstration: %w", err)
		}
		if err := host.Start(ctx, g.UUID, false); err != nil {
			return 0, fmt.Errorf("demonstration: %w", err)
		}
		guests = append(guests, g)
	}
	for _, g := range guests {
		if err := g.WaitReady(ctx, 1); err != nil {
			return 0, fmt.Errorf("demonstration: %w", err)
		}
	}
	file := filepath.Join(dir, "machines.toml")
	text := fmt.Sprintf(`state = %q

[host]
uri = %q

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
`, filepath.Join(dir, "state"), bed.URI(), images, mail.Addr(), filepath.Join(dir, "spool"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return 0, err
	}
	if j.config, err = readConfig(file); err != nil {
		return 0, err
	}
	j.demo = !j.json && !j.dryRun
	if code, err = j.run(ctx); !j.demo {
		return code, errors.Join(err, os.RemoveAll(dir))
	}
	for i, m := range mail.Messages() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("mail-%d.eml", i+1)), m.Data, 0o644); err != nil {
			return code, err
		}
	}
	fmt.Fprintf(j.stdout, `
That was the real job, on a real libvirt and QEMU, with machines made for it:
  the images            %s
  the mail              %s
  the configuration     %s
Each image can be verified and restored without us:
  cd %s && sha256sum -c SHA256SUMS
The folder is yours to look at and to remove.
`, images, filepath.Join(dir, "mail-1.eml"), file, filepath.Join(images, "db01", "*"))
	return code, err
}
