//go:build !linux

package testbed

import (
	"errors"
	"os/exec"
)

// Check lets nobody come here.

func daemonUID() int                 { return 0 }
func asDaemon(*exec.Cmd, int)        {}
func stopOrContinue(int, bool) error { return errors.ErrUnsupported }
func killAndWait([]int) error        { return errors.ErrUnsupported }
