package vmtest_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt/virttest"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// A Host passes TestHost.
func TestHost_KeepsTheContract(t *testing.T) {
	t.Parallel()
	virttest.TestHost(t, func(t *testing.T) virttest.Fixture {
		host := vmtest.New(t.TempDir())
		uuid := host.Add(vmtest.Config{Name: "web01", Disks: [][]byte{make([]byte, 32<<10), make([]byte, 8<<10)}})
		sectors := make(map[string]int64)
		return virttest.Fixture{
			Host: host, UUID: uuid, Dir: t.TempDir(),
			Ready: func(t *testing.T) { require.NoError(t, host.Other().Ping(t.Context(), uuid)) },
			Write: func(t *testing.T, name, data string) {
				if _, ok := sectors[name]; !ok {
					sectors[name] = int64(len(sectors))
				}
				require.NoError(t, host.GuestWrite(uuid, "vda", sectors[name]*512, append([]byte(data), 0)))
			},
			Read: func(t *testing.T, name string) string {
				content, err := host.Read(uuid, "vda")
				require.NoError(t, err)
				data, _, _ := bytes.Cut(content[sectors[name]*512:], []byte{0})
				return strings.TrimSpace(string(data))
			},
		}
	})
}
