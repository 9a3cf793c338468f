package libvirt_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/testbed"
	"github.com/obskeep/obskeep/vmimage/virt/libvirt"
	"github.com/obskeep/obskeep/vmimage/virt/virttest"
)

// The driver keeps the contract of virt.Host, with real machines.
func TestHost_KeepsTheContract(t *testing.T) {
	h := open(t)
	g := guest(t, h, testbed.GuestConfig{
		Name:  "suite",
		Disks: []testbed.DiskConfig{{}, {Format: "raw", Size: 32 << 20}},
		Agent: true,
	}, true)
	virttest.TestHost(t, func(t *testing.T) virttest.Fixture {
		own, err := libvirt.Open(limit(t), bed.URI(), nil)
		require.NoError(t, err)
		boots := 0
		return virttest.Fixture{
			Host: own,
			UUID: g.UUID,
			Dir:  bed.Images(),
			Ready: func(t *testing.T) {
				boots++
				require.NoError(t, g.WaitReady(limit(t), boots))
				eventually(t, "the agent answers", func() bool { return own.Ping(limit(t), g.UUID) == nil })
			},
			Write: func(t *testing.T, name, data string) {
				_, err := g.Run(limit(t), fmt.Sprintf("printf %%s '%s' >/data/%s && sync", data, name))
				require.NoError(t, err)
			},
			Read: func(t *testing.T, name string) string {
				out, err := g.Run(limit(t), "cat /data/"+name)
				require.NoError(t, err)
				return out
			},
		}
	})
}
