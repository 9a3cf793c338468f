package testbed

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// GuestConfig describes a guest. The zero value but for a name and one disk will do.
type GuestConfig struct {
	Name  string // short: letters, digits and dashes
	Disks []DiskConfig

	// Data is how many random bytes the file "data" of the first disk holds.
	Data int64

	// Words change how the guest behaves:
	//
	//	vm.acpi=0     it does not heed its power button
	//	vm.slowoff=N  it powers off N seconds after its power button
	//	vm.load=N     it writes N KiB each second, synced
	Words []string

	// Agent gives it a channel to the agent that runs in it.
	Agent bool
}

// DiskConfig describes a disk. The first of a guest holds an ext4 file system,
// mounted in the guest at /data; others are blank.
type DiskConfig struct {
	Format string // "raw" or "qcow2"; "" means qcow2
	Size   int64  // in bytes; zero means 256 MiB
}

// Guest is a machine of a bed. It is safe for concurrent use.
type Guest struct {
	Name, UUID string
	Disks      []string // paths of its images: vda, vdb, ...

	bed     *Bed
	console sync.Mutex // one command at a time
}

// Guest makes the disks of a machine, and the machine known to libvirt. It is not started.
// In it, /data/boots has a line for each time that it booted.
func (b *Bed) Guest(ctx context.Context, cfg GuestConfig) (*Guest, error) {
	g, err := b.guest(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("testbed: guest %s: %w", cfg.Name, err)
	}
	return g, nil
}

func (b *Bed) guest(ctx context.Context, cfg GuestConfig) (*Guest, error) {
	id := make([]byte, 16)
	rand.Read(id)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, version 4
	g := &Guest{
		Name: cfg.Name,
		UUID: fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		bed:  b,
	}
	formats := make([]string, 0, len(cfg.Disks))
	for i, disk := range cfg.Disks {
		if disk.Format == "" {
			disk.Format = "qcow2"
		}
		if disk.Size == 0 {
			disk.Size = 256 << 20
		}
		path := filepath.Join(b.Images(), fmt.Sprintf("%s-vd%c.%s", cfg.Name, 'a'+i, disk.Format))
		if err := b.makeDisk(ctx, path, disk, i == 0, cfg.Data); err != nil {
			return nil, err
		}
		g.Disks = append(g.Disks, path)
		formats = append(formats, disk.Format)
	}
	// A console log of an earlier machine of that name would tell of its boots.
	if err := os.Remove(g.log()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	def := b.path(cfg.Name + ".xml")
	if err := os.WriteFile(def, g.domain(cfg, formats), 0o644); err != nil {
		return nil, err
	}
	if _, err := b.virsh(ctx, "define", def); err != nil {
		return nil, err
	}
	return g, os.Remove(def)
}

// makeDisk makes a disk image without a mount, a loop device or root.
func (b *Bed) makeDisk(ctx context.Context, path string, disk DiskConfig, first bool, data int64) (err error) {
	work, err := os.MkdirTemp(b.Images(), ".making-") // where it is renamed to
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	raw := filepath.Join(work, "raw")
	f, err := os.Create(raw)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(disk.Size), f.Close()); err != nil {
		return err
	}
	if first {
		root := filepath.Join(work, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			return err
		}
		if data > 0 {
			if err := writeRandom(filepath.Join(root, "data"), data); err != nil {
				return err
			}
		}
		// ext4, with its journal: a machine that is killed must find what it synced.
		err := b.tool(ctx, "mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-d", root, raw)
		if err != nil {
			return err
		}
	}
	made := raw
	if disk.Format == "qcow2" {
		made = filepath.Join(work, "qcow2")
		if err := b.tool(ctx, "qemu-img", "convert", "-q", "-O", "qcow2", raw, made); err != nil {
			return err
		}
	}
	if err := os.Chmod(made, 0o644); err != nil {
		return err
	}
	if err := b.give(made); err != nil {
		return err
	}
	return os.Rename(made, path)
}

func writeRandom(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	var seed [32]byte
	rand.Read(seed[:])
	_, err = io.CopyN(f, mathrand.NewChaCha8(seed), size)
	return errors.Join(err, f.Close())
}

// tool runs a program of the host.
func (b *Bed) tool(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, program(name), args...)
	cmd.Env = b.environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// domain describes the machine to libvirt.
func (g *Guest) domain(cfg GuestConfig, formats []string) []byte {
	text := func(s string) string {
		var b strings.Builder
		xml.EscapeText(&b, []byte(s)) // a Builder returns no error
		return b.String()
	}
	var disks strings.Builder
	for i, path := range g.Disks {
		fmt.Fprintf(&disks, `
    <disk type='file' device='disk'>
      <driver name='qemu' type='%s' discard='unmap'/>
      <source file='%s'/>
      <target dev='vd%c' bus='virtio'/>
    </disk>`, formats[i], text(path), 'a'+i)
	}
	channel := ""
	if cfg.Agent {
		channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
	}
	return fmt.Appendf(nil, `<domain type='qemu'>
  <name>%s</name>
  <uuid>%s</uuid>
  <memory unit='MiB'>160</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>%s</kernel>
    <initrd>%s</initrd>
    <cmdline>console=ttyS0 quiet %s</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>%s</emulator>%s
    <serial type='unix'>
      <source mode='bind' path='%s'/>
      <log file='%s' append='on'/>
      <target port='0'/>
    </serial>
    %s
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <video><model type='none'/></video>
  </devices>
</domain>
`, text(g.Name), g.UUID, text(g.bed.path("guest/vmlinuz")), text(g.bed.path("guest/initrd.gz")),
		text(strings.Join(cfg.Words, " ")), text(program("qemu-system-x86_64")), disks.String(),
		text(g.serial()), text(g.log()), channel)
}

func (g *Guest) serial() string { return filepath.Join(g.bed.Images(), g.Name+".serial") }
func (g *Guest) log() string    { return filepath.Join(g.bed.Images(), g.Name+".console.log") }

// Boots is how often the guest has come up, so that it takes commands.
func (g *Guest) Boots() (int, error) {
	text, err := os.ReadFile(g.log())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("testbed: boots of %s: %w", g.Name, err)
	}
	return bytes.Count(text, []byte("TINYGUEST READY")), nil
}

// WaitReady waits until the guest has come up for the nth time.
func (g *Guest) WaitReady(ctx context.Context, n int) error {
	for {
		boots, err := g.Boots()
		if err != nil || boots >= n {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("testbed: guest %s has come up %d times, not %d: %w", g.Name, boots, n, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Run runs a line of shell in the guest and returns what it prints. A status other than zero
// is an error. The guest must have come up.
func (g *Guest) Run(ctx context.Context, line string) (string, error) {
	g.console.Lock()
	defer g.console.Unlock()
	out, err := g.run(ctx, line)
	if err != nil {
		return out, fmt.Errorf("testbed: run in %s: %s: %w", g.Name, line, err)
	}
	return out, nil
}

func (g *Guest) run(ctx context.Context, line string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", g.serial())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	id := rand.Text()
	if _, err := fmt.Fprintf(conn, "%s %s\n", id, line); err != nil {
		return "", errors.Join(ctx.Err(), err)
	}
	var out strings.Builder
	begun := false
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		text := strings.TrimRight(lines.Text(), "\r")
		if text == "BEGIN "+id {
			begun = true
			continue
		}
		// The output of a command need not end its last line.
		if last, status, ok := strings.Cut(text, "END "+id+" "); ok {
			out.WriteString(last)
			if code, err := strconv.Atoi(status); err != nil || code != 0 {
				return out.String(), fmt.Errorf("status %s", status)
			}
			return out.String(), nil
		}
		if begun {
			out.WriteString(text + "\n")
		}
	}
	return out.String(), errors.Join(ctx.Err(), lines.Err(), io.ErrUnexpectedEOF)
}
