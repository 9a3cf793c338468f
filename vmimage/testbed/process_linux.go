package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// nobody is who the daemon runs as when root starts it: libvirtd takes uid 0 for the
// daemon of the system.
const nobody = 65534

func daemonUID() int {
	if uid := os.Geteuid(); uid != 0 {
		return uid
	}
	return nobody
}

// asDaemon makes a command run as the daemon's user, apart from the terminal, whose
// interrupt is for this process alone.
func asDaemon(cmd *exec.Cmd, uid int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if uid != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
}

func stopOrContinue(pid int, stop bool) error {
	if stop {
		return syscall.Kill(pid, syscall.SIGSTOP)
	}
	return syscall.Kill(pid, syscall.SIGCONT)
}

// killAndWait returns once the processes are gone, and reaped.
func killAndWait(pids []int) (err error) {
	for _, pid := range pids {
		if e := syscall.Kill(pid, syscall.SIGKILL); !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, e)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for _, pid := range pids {
		for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if time.Now().After(deadline) {
				return errors.Join(err, fmt.Errorf("process %d does not die", pid))
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return err
}
