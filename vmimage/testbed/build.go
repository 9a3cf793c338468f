package testbed

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/elf"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/obskeep/obskeep/internal/filelock"
)

//go:embed guest
var guestFiles embed.FS

// recipe is to be raised when what is built changes otherwise than by guestFiles.
const recipe = "1"

// modules are those of the kernel that the guest needs, in the order in which it
// loads them.
var modules = []string{
	"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
	"virtio_blk", "virtio_console", "button", "evdev",
}

// applets are the programs of busybox in the guest.
const applets = `sh mount umount insmod acpid dd sync sleep poweroff cat echo dmesg fstrim fsfreeze
	sha256sum md5sum blkdiscard rm ls mkdir date stat df setsid kill grep cut tail head wc seq stty ln
	test true false hexdump od cp mv truncate blockdev reboot killall ps cmp touch`

// buildGuest returns the kernel and the initial file system of the guest, from the
// cache: OBSKEEP_GUEST_CACHE, or a folder of the user's own.
func buildGuest(ctx context.Context, log *slog.Logger) (kernel, initrd string, err error) {
	cache := os.Getenv("OBSKEEP_GUEST_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", "", err
		}
		cache = filepath.Join(user, "obskeep", "guest")
	}
	sum := sha256.New()
	fmt.Fprintln(sum, recipe, modules, applets)
	err = fs.WalkDir(guestFiles, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := guestFiles.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
		return err
	})
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(cache, fmt.Sprintf("%x", sum.Sum(nil)[:8]))
	kernel, initrd = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd.gz")
	built := func() bool { _, err := os.Stat(dir); return err == nil } // it appears complete
	if built() {
		return kernel, initrd, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", "", err
	}
	unlock, err := lock(ctx, cache)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if built() {
		return kernel, initrd, nil
	}
	began := time.Now()
	if err := build(ctx, dir); err != nil {
		return "", "", fmt.Errorf("build the guest: %w", err)
	}
	log.Info("guest built", "dir", dir, "took", time.Since(began))
	return kernel, initrd, nil
}

// lock waits for the lock of a folder.
func lock(ctx context.Context, dir string) (unlock func() error, err error) {
	f, err := filelock.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := filelock.TryLock(f)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, filelock.ErrLocked) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, ctx.Err()), f.Close())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// build makes the guest beside dir and renames it.
func build(ctx context.Context, dir string) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(dir), "building")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	debs := filepath.Join(work, "debs")
	out := filepath.Join(work, "out")
	if err := errors.Join(os.Mkdir(debs, 0o755), os.Mkdir(out, 0o755)); err != nil {
		return err
	}
	kernel, err := kernelPackage(ctx)
	if err != nil {
		return err
	}
	if err := unpack(ctx, debs, kernel, "qemu-guest-agent"); err != nil {
		return err
	}
	root := filepath.Join(debs, "root")
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%s: kernels: %v: %w", kernel, images, errors.Join(err, fs.ErrNotExist))
	}
	if err := os.Rename(images[0], filepath.Join(out, "vmlinuz")); err != nil {
		return err
	}
	archive, err := initial(root)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "initrd.gz"), archive, 0o644); err != nil {
		return err
	}
	return os.Rename(out, dir)
}

// kernelPackage is Debian's kernel of the cloud flavour, the smallest.
func kernelPackage(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "linux-image-cloud-amd64").Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends linux-image-cloud-amd64: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok {
			return "linux-image-" + name, nil
		}
	}
	return "", errors.New("no package linux-image-cloud-amd64 is known: apt-get update")
}

// unpack downloads packages into dir and unpacks them below dir/root. Nothing is installed.
func unpack(ctx context.Context, dir string, packages ...string) error {
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
		return nil
	}
	if err := run("apt-get", append([]string{"download", "-q"}, packages...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := run("dpkg-deb", "-x", deb, "root"); err != nil {
			return err
		}
	}
	return nil
}

// initial is the compressed initial file system of the guest, from what the packages below
// root hold and from this machine.
func initial(root string) ([]byte, error) {
	var a archive
	for dir := range strings.FieldsSeq("bin sbin dev proc sys data mod run tmp lib lib64 etc etc/acpi etc/acpi/PWRF var var/run") {
		a.dir(dir)
	}
	for name, to := range map[string]string{"guest/init": "init", "guest/powerbtn": "etc/acpi/PWRF/00000080"} {
		data, err := guestFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		a.file(to, data)
	}
	// guest-shutdown runs /sbin/shutdown.
	a.file("sbin/shutdown", []byte("#!/bin/sh\nexec /bin/poweroff -f\n"))
	if err := a.copy("bin/busybox", program("busybox")); err != nil {
		return nil, err
	}
	for applet := range strings.FieldsSeq(applets) {
		a.link("bin/"+applet, "busybox")
	}
	for i, name := range modules {
		from, err := filepath.Glob(filepath.Join(root, "lib/modules/*/kernel/drivers", "*", name+".ko"))
		if deeper, e := filepath.Glob(filepath.Join(root, "lib/modules/*/kernel/drivers/*", "*", name+".ko")); e == nil {
			from = append(from, deeper...)
		}
		if err != nil || len(from) != 1 {
			return nil, fmt.Errorf("module %s: %v: %w", name, from, errors.Join(err, fs.ErrNotExist))
		}
		if err := a.copy(fmt.Sprintf("mod/%02d-%s.ko", i, name), from[0]); err != nil {
			return nil, err
		}
	}
	agent := filepath.Join(root, "usr/sbin/qemu-ga")
	if err := a.copy("bin/qemu-ga", agent); err != nil {
		return nil, err
	}
	libs, err := libraries(agent)
	if err != nil {
		return nil, err
	}
	for _, path := range libs {
		to := "lib/" + filepath.Base(path)
		if strings.HasPrefix(filepath.Base(path), "ld-linux") {
			to = "lib64/" + filepath.Base(path)
		}
		if err := a.copy(to, path); err != nil {
			return nil, err
		}
	}
	a.end()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(a.Bytes())
	err = errors.Join(err, z.Close())
	return packed.Bytes(), err
}

// libraries are the paths, on this machine, of all that a program is linked to: QEMU
// is, too, so they are here.
func libraries(program string) ([]string, error) {
	var found []string
	seen := map[string]bool{}
	queue := []string{program}
	for len(queue) > 0 {
		f, err := elf.Open(queue[0])
		if err != nil {
			return nil, err
		}
		names, err := f.ImportedLibraries()
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", queue[0], err)
		}
		queue = queue[1:]
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			paths, err := filepath.Glob("/lib/x86_64-linux-gnu/" + name)
			if err != nil || len(paths) == 0 {
				return nil, fmt.Errorf("library %s: %w", name, errors.Join(err, fs.ErrNotExist))
			}
			found = append(found, paths[0])
			queue = append(queue, paths[0])
		}
	}
	return found, nil
}
