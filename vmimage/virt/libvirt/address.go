package libvirt

import (
	"errors"
	"net/url"
	"os"
	"path"
	"strings"
)

// address is where a libvirtd is, and what it is asked for.
type address struct {
	name    string   // the URI as the daemon knows it: qemu:///system
	sockets []string // of which the first that answers is taken
	far     bool     // on another host
}

// parse reads a URI as libvirt does (libvirt, "Connection URIs" and "Remote support").
func parse(uri string) (address, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return address{}, err
	}
	driver, transport, _ := strings.Cut(u.Scheme, "+")
	a := address{name: driver + "://" + u.Path}
	switch {
	case driver != "qemu" || u.Path != "/system" && u.Path != "/session":
		return address{}, errors.New("neither qemu:///system nor qemu:///session")
	case transport == "ssh" && u.Host != "":
		a.far = true
	case transport != "" && transport != "unix" || u.Host != "":
		return address{}, errors.New("neither local nor qemu+ssh")
	}
	switch socket := u.Query().Get("socket"); {
	case socket != "":
		a.sockets = []string{socket}
	case u.Path == "/system":
		a.sockets = below("/run")
	case a.far:
		return address{}, errors.New("the socket of a session on another host is not known: ?socket=PATH")
	default:
		// Where there is no runtime folder libvirt falls back to the cache, as GLib does.
		runtime := os.Getenv("XDG_RUNTIME_DIR")
		if runtime == "" {
			if runtime, err = os.UserCacheDir(); err != nil {
				return address{}, err
			}
		}
		a.sockets = below(runtime)
	}
	return a, nil
}

// below are the sockets of libvirtd, and of the daemon for QEMU alone that replaces it.
func below(runtime string) []string {
	dir := path.Join(runtime, "libvirt")
	return []string{path.Join(dir, "libvirt-sock"), path.Join(dir, "virtqemud-sock")}
}
