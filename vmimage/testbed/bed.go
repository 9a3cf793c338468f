package testbed

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bed is a private libvirtd and its machines. It is safe for concurrent use.
type Bed struct {
	dir       string
	temporary bool // dir is to go with the bed
	log       *slog.Logger
	owner     int // uid that the daemon runs as

	lifeline io.Closer     // the supervisor ends all when it is closed
	ended    chan struct{} // closed when no process is left
	close    func() error
}

//go:embed supervise.sh
var supervise string

// Start starts a libvirtd below dir and waits until it answers. If dir is "" the bed is
// a new folder in /tmp, which goes with it, wherever TMPDIR is. Everybody must be able to enter the parents of
// dir, and its path must be short, at most 48 bytes, since those of sockets are. log may
// be nil. The bed stays after ctx has ended, until Close.
func Start(ctx context.Context, dir string, log *slog.Logger) (*Bed, error) {
	b, err := start(ctx, dir, log)
	if err != nil {
		return nil, fmt.Errorf("testbed: start: %w", err)
	}
	return b, nil
}

func start(ctx context.Context, dir string, log *slog.Logger) (_ *Bed, err error) {
	if err := Check(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Bed{dir: dir, log: log, owner: daemonUID(), ended: make(chan struct{})}
	if dir == "" {
		if b.dir, err = os.MkdirTemp("/tmp", "bed"); err != nil {
			return nil, err
		}
		b.temporary = true
		defer func() {
			if err != nil {
				err = errors.Join(err, os.RemoveAll(b.dir))
			}
		}()
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return nil, err
	}
	if len(b.dir) > 48 {
		return nil, fmt.Errorf("%s: too long a path for the sockets below it", b.dir)
	}
	if err := b.lay(ctx); err != nil {
		return nil, err
	}
	if err := b.run(); err != nil {
		return nil, err
	}
	b.close = sync.OnceValue(b.end)
	if err := b.answers(ctx); err != nil {
		tail, e := os.ReadFile(b.path("libvirtd.log"))
		tail = tail[max(0, len(tail)-2000):]
		return nil, errors.Join(fmt.Errorf("%w; its log ends: %s", err, bytes.TrimSpace(tail)), e, b.Close())
	}
	log.Info("libvirtd started", "dir", b.dir)
	return b, nil
}

// lay makes the folders and files of the bed.
func (b *Bed) lay(ctx context.Context) error {
	folders := []string{".", "run", "config", "config/libvirt", "cache", "data", "home", "img", "guest"}
	for _, f := range folders {
		if err := os.MkdirAll(b.path(f), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // a temporary folder is closed to others
		return err
	}
	for _, stale := range []string{"stop", "hold"} {
		if err := os.Remove(b.path(stale)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	kernel, initrd, err := buildGuest(ctx, b.log)
	if err != nil {
		return err
	}
	// The cache may be closed to the daemon's user.
	for name, from := range map[string]string{"guest/vmlinuz": kernel, "guest/initrd.gz": initrd} {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.path(name), data, 0o644); err != nil {
			return err
		}
	}
	// "file": no virtlogd. "none": no AppArmor or SELinux labels.
	conf := "stdio_handler = \"file\"\nsecurity_driver = \"none\"\n"
	if err := os.WriteFile(b.path("config/libvirt/qemu.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	for _, f := range folders {
		if err := b.give(b.path(f)); err != nil {
			return err
		}
	}
	return nil
}

// give makes a file the daemon's.
func (b *Bed) give(path string) error {
	if b.owner == os.Geteuid() {
		return nil
	}
	return os.Chown(path, b.owner, b.owner)
}

// run starts the supervisor.
func (b *Bed) run() error {
	keep := "kept"
	if b.temporary {
		keep = "temporary"
	}
	cmd := exec.Command(program("tini"), "-s", "--", "/bin/sh", "-c", supervise, "supervise", b.dir, keep)
	cmd.Dir = b.dir
	cmd.Env = b.environ()
	asDaemon(cmd, b.owner)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, in.Close())
	}
	b.lifeline = in
	go func() {
		if err := cmd.Wait(); err != nil {
			b.log.Warn("supervisor of libvirtd ended", "err", err)
		}
		close(b.ended)
	}()
	return nil
}

// environ lets nothing of the caller's session in.
func (b *Bed) environ() []string {
	return []string{
		"PATH=" + searchPath,
		"HOME=" + b.path("home"),
		"XDG_RUNTIME_DIR=" + b.path("run"),
		"XDG_CONFIG_HOME=" + b.path("config"),
		"XDG_CACHE_HOME=" + b.path("cache"),
		"XDG_DATA_HOME=" + b.path("data"),
		"LC_ALL=C",
	}
}

func (b *Bed) path(name string) string { return filepath.Join(b.dir, name) }

// Socket is the path of the daemon's socket, URI what to give to a client.
func (b *Bed) Socket() string { return b.path("run/libvirt/libvirt-sock") }
func (b *Bed) URI() string    { return "qemu:///session?socket=" + b.Socket() }

// Images is the folder of the images of the machines. The daemon's user may write in it.
func (b *Bed) Images() string { return b.path("img") }

// KillDaemon kills libvirtd as by kill -9. Machines and their jobs go on. It is
// started again at once, or, if hold is true, by Release.
func (b *Bed) KillDaemon(hold bool) error {
	if hold {
		if err := os.WriteFile(b.path("hold"), nil, 0o644); err != nil {
			return fmt.Errorf("testbed: hold libvirtd: %w", err)
		}
	}
	return b.kill(b.daemonPID())
}

// Release lets a killed libvirtd start again, and waits until it answers.
func (b *Bed) Release(ctx context.Context) error {
	if err := os.Remove(b.path("hold")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("testbed: release libvirtd: %w", err)
	}
	return b.answers(ctx)
}

// StopDaemon makes libvirtd hang, ContinueDaemon lets it go on.
func (b *Bed) StopDaemon() error     { return b.hang(true) }
func (b *Bed) ContinueDaemon() error { return b.hang(false) }

// KillGuest kills the QEMU process of a machine that is on, as by kill -9.
func (b *Bed) KillGuest(name string) error { return b.kill(b.guestPID(name)) }

// PowerLoss kills libvirtd and all machines at once, and waits until libvirtd is back:
// it then takes the machines for crashed.
func (b *Bed) PowerLoss(ctx context.Context) error {
	if err := os.WriteFile(b.path("hold"), nil, 0o644); err != nil {
		return fmt.Errorf("testbed: hold libvirtd: %w", err)
	}
	machines, err := filepath.Glob(b.guestPID("*"))
	machines = slices.DeleteFunc(machines, func(file string) bool {
		_, e := b.pid(file)
		return errors.Is(e, fs.ErrNotExist) || filepath.Base(file) == "driver.pid" // which is libvirtd's own
	})
	return errors.Join(err, b.kill(append(machines, b.daemonPID())...), b.Release(ctx))
}

func (b *Bed) daemonPID() string { return b.path("run/libvirt/libvirtd.pid") }

func (b *Bed) guestPID(name string) string {
	return b.path("run/libvirt/qemu/run/" + name + ".pid")
}

// kill kills the processes of pid files, and waits until all are gone.
func (b *Bed) kill(pidFiles ...string) error {
	var pids []int
	var errs []error
	for _, f := range pidFiles {
		pid, err := b.pid(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		pids = append(pids, pid)
	}
	if err := errors.Join(append(errs, killAndWait(pids))...); err != nil {
		return fmt.Errorf("testbed: kill: %w", err)
	}
	return nil
}

func (b *Bed) hang(stop bool) error {
	pid, err := b.pid(b.daemonPID())
	if err == nil {
		err = stopOrContinue(pid, stop)
	}
	if err != nil {
		return fmt.Errorf("testbed: stop or continue libvirtd: %w", err)
	}
	return nil
}

// pid is the process that a pid file names. It is fs.ErrNotExist if there is none
// of this bed: the number may be another process's by now.
func (b *Bed) pid(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(env, []byte(b.dir+"/")) {
		return 0, fmt.Errorf("process of %s: %w", file, errors.Join(err, fs.ErrNotExist))
	}
	return pid, nil
}

// answers waits until the daemon answers.
func (b *Bed) answers(ctx context.Context) error {
	for {
		_, err := b.virsh(ctx, "list", "--all")
		if err == nil {
			return nil
		}
		select {
		case <-b.ended:
			return fmt.Errorf("libvirtd ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("libvirtd does not answer: %w", errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// virsh runs libvirt's own client, independently of what may be under test.
func (b *Bed) virsh(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program("virsh"), append([]string{"-q", "-c", b.URI()}, args...)...)
	cmd.Env = b.environ()
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("virsh %s: %w: %s", args[0], err, bytes.TrimSpace(trouble.Bytes()))
	}
	return out.String(), nil
}

// Close ends the machines and the daemon, at once, and waits until no process of them
// is left. A folder that was given to Start stays, and a bed can be started on it again.
func (b *Bed) Close() error { return b.close() }

func (b *Bed) end() error {
	err := b.lifeline.Close()
	<-b.ended
	if b.temporary {
		err = errors.Join(err, os.RemoveAll(b.dir))
	}
	if err != nil {
		return fmt.Errorf("testbed: close: %w", err)
	}
	return nil
}
