package libvirt_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
)

func TestOpen(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", filepath.FromSlash("/run/user/7"))
	for _, row := range []struct {
		rule, uri string
		sockets   []string // asked, in this order
	}{
		{"the system's daemon, or the one for QEMU alone", "qemu:///system", []string{"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"}},
		{"the session's is in the runtime folder of the user", "qemu:///session", []string{"/run/user/7/libvirt/libvirt-sock", "/run/user/7/libvirt/virtqemud-sock"}},
		{"a socket that is named is the only one", "qemu+unix:///session?socket=/tmp/s", []string{"/tmp/s"}},
		{"the socket of a system on another host is where it is here", "qemu+ssh://backup@far/system", []string{"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			var asked []string
			_, err := libvirt.Open(t.Context(), row.uri, &libvirt.Options{
				Dial: func(_ context.Context, network, address string) (net.Conn, error) {
					require.Equal(t, "unix", network)
					asked = append(asked, address)
					return nil, os.ErrPermission
				},
			})
			require.ErrorIs(t, err, virt.ErrLost)
			require.ErrorIs(t, err, os.ErrPermission)
			require.Equal(t, row.sockets, asked)
		})
	}
}

func TestOpen_RefusesWhatItCannotReach(t *testing.T) {
	t.Parallel()
	for rule, uri := range map[string]string{
		"another hypervisor":                   "xen:///system",
		"another path":                         "qemu:///embed",
		"another transport":                    "qemu+tls://far/system",
		"a host without a transport":           "qemu://far/system",
		"a session elsewhere without a socket": "qemu+ssh://far/session",
		"SSH without a Dial":                   "qemu+ssh://far/system",
		"no URI":                               "://",
	} {
		_, err := libvirt.Open(t.Context(), uri, nil)
		require.Error(t, err, rule)
		require.NotErrorIs(t, err, virt.ErrLost, rule)
	}
}
