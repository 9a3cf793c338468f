package testbed

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// searchPath is where programs are: an ordinary user's PATH need not name the folders
// of those of root.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// needs are the files that a bed needs, and their Debian packages.
var needs = []struct{ file, pkg string }{
	{"libvirtd", "libvirt-daemon"},
	{"/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so", "libvirt-daemon-driver-qemu"},
	{"virsh", "libvirt-clients"},
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"qemu-img", "qemu-utils"},
	{"tini", "tini"},
	{"busybox", "busybox-static"},
	{"mkfs.ext4", "e2fsprogs"},
}

// Check is nil if a bed can be had on this machine. Its error says what is missing, and
// how that is installed.
func Check() error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("testbed: machines of its own are to be had on Linux on amd64, not on %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	var missing, pkgs []string
	for _, n := range needs {
		if program(n.file) == "" {
			missing = append(missing, filepath.Base(n.file))
			pkgs = append(pkgs, n.pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("testbed: %s not installed: apt-get install --no-install-recommends %s", strings.Join(missing, ", "), strings.Join(pkgs, " "))
	}
	return nil
}

// program is the path of a program, or of a file given as a pattern; "" if there is none.
func program(name string) string {
	if filepath.IsAbs(name) {
		found, _ := filepath.Glob(name) // the pattern is one of ours
		return strings.Join(found[:min(1, len(found))], "")
	}
	for dir := range slices.Values(filepath.SplitList(searchPath)) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}
