package vmtest_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
	"github.com/obskeep/obskeep/vmimage/vmtest"
)

// A machine is as it was made, by what the host says of it and by its XML.
func TestConfig_IsWhatTheHostTells(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{
		Disks:   [][]byte{[]byte("system"), []byte("data")},
		Devices: "<disk type='network'><source name='pool/a'/><target dev='vdc'/></disk>",
		NVRAM:   true, NoAgent: true, Autostart: true, Saved: true,
	})
	m, err := host.Machine(t.Context(), uuid)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(virt.Machine{UUID: uuid, Name: "web01", Persistent: true, Autostart: true, Saved: true}, m), "-want +got")
	xml, err := host.XML(t.Context(), uuid, false)
	require.NoError(t, err)
	d, err := virt.Parse(xml)
	require.NoError(t, err)
	require.Len(t, d.Disks, 3)
	require.Equal(t, "network disk", d.Disks[2].Refusal())
	require.False(t, d.Agent)
	for path, want := range map[string]string{d.Disks[0].Path: "system", d.Disks[1].Path: "data", d.NVRAM: "variables of web01"} {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, string(content))
	}
	require.NoError(t, host.Start(t.Context(), uuid, false))
	m, err = host.Machine(t.Context(), uuid)
	require.NoError(t, err)
	require.False(t, m.Saved)
	require.ErrorIs(t, host.Ping(t.Context(), uuid), virt.ErrAgent)
}

// Metadata is part of the XML: defined by it, it is there again, and without it it is gone.
func TestDefine_TakesMetadataFromTheXML(t *testing.T) {
	t.Parallel()
	host, uuid := newHost(t, vmtest.Config{})
	bare, err := host.XML(t.Context(), uuid, true)
	require.NoError(t, err)
	elements := map[string]string{"urn:a": "<job id='1'><step>a</step></job>", "urn:b": "<job/>"}
	for namespace, element := range elements {
		require.NoError(t, host.SetMetadata(t.Context(), uuid, namespace[4:], namespace, element))
	}
	host.Mark()
	with, err := host.XML(t.Context(), uuid, true)
	require.NoError(t, err)
	_, err = virt.Parse(with)
	require.NoError(t, err)
	for _, row := range []struct {
		xml  []byte
		want map[string]string
	}{{bare, map[string]string{}}, {with, elements}} {
		_, err = host.Define(t.Context(), row.xml)
		require.NoError(t, err)
		again, err := host.XML(t.Context(), uuid, true)
		require.NoError(t, err)
		require.Equal(t, string(row.xml), string(again))
		for namespace := range elements {
			got, err := host.Metadata(t.Context(), uuid, namespace)
			require.NoError(t, err)
			require.Equal(t, row.want[namespace], got)
		}
	}
	require.Empty(t, host.Check())
}

// What makes no sense is a panic.
func TestSet_PanicsForAMachineThatIsNotThere(t *testing.T) {
	t.Parallel()
	host := vmtest.New(t.TempDir())
	require.Panics(t, func() { host.Set("nobody", vmtest.Behaviour{}) })
}
