package plain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/plain"
)

// Names that people give machines are folders of the same name; what could lead
// elsewhere, hide a folder or upset a command is written out.
func TestStore_FoldersHaveTheNamesOfMachines(t *testing.T) {
	t.Parallel()
	for machine, folder := range map[string]string{
		"web01":        "web01",
		"db.example_2": "db.example_2",
		"Tromsø-観測":    "Tromsø-観測",
		"a b":          "a%20b",
		"100%":         "100%25",
		"..":           "%2E.",
		".hidden":      "%2Ehidden",
		"-rf":          "%2Drf",
		"a/../b":       "a%2F..%2Fb",
		"a\nb":         "a%0Ab",
		"\xff":         "%FF",
		"e\u0301":      "e%CC%81",
	} {
		require.Equal(t, folder, plain.FolderOf(machine))
		got, ok := plain.MachineOf(folder)
		require.True(t, ok)
		require.Equal(t, machine, got)
	}
	for _, folder := range []string{"", ".", "..", "a%2", "a%2f", "a%41", "a b", "%G0", ".partial-x", "lost+found"} {
		_, ok := plain.MachineOf(folder)
		require.False(t, ok, folder)
	}
}

// Different machines have different folders: from the folder comes the name.
func FuzzStore_FoldersTellTheMachine(f *testing.F) {
	for _, machine := range []string{"web01", "a/b", "%2F", "\xc3", "é", "\ufffd", "..", "\x00"} {
		f.Add(machine)
	}
	f.Fuzz(func(t *testing.T, machine string) {
		if machine == "" {
			return
		}
		folder := plain.FolderOf(machine)
		got, ok := plain.MachineOf(folder)
		require.True(t, ok)
		require.Equal(t, machine, got)
		require.NotContains(t, folder, "/")
		require.NotEqual(t, byte('.'), folder[0])
	})
}
