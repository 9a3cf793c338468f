package durable_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/internal/durable"
)

func openRoot(t testing.TB) *os.Root {
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

func names(t *testing.T, root *os.Root) []string {
	var found []string
	err := fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if name != "." {
			found = append(found, name)
		}
		return err
	})
	require.NoError(t, err)
	return found
}

// When WriteFile returns nil, the name holds the new content.
func TestWriteFile_ReplacesTheContent(t *testing.T) {
	t.Parallel()
	root := openRoot(t)
	require.NoError(t, root.Mkdir("kept", 0o755))
	for _, content := range []string{"first and longer", "second", ""} {
		require.NoError(t, durable.WriteFile(root, "kept/day", []byte(content), 0o600))
		got, err := root.ReadFile("kept/day")
		require.NoError(t, err)
		require.Equal(t, content, string(got))
	}
	require.Empty(t, cmp.Diff([]string{"kept", "kept/day"}, names(t, root)))
}

// The file gets the mode that was asked for, not the one it had.
func TestWriteFile_SetsTheMode(t *testing.T) {
	t.Parallel()
	root := openRoot(t)
	for _, perm := range []fs.FileMode{0o644, 0o600} {
		require.NoError(t, durable.WriteFile(root, "secret", nil, perm))
		info, err := root.Stat("secret")
		require.NoError(t, err)
		require.Equal(t, perm, info.Mode().Perm())
	}
}

// The longest name a file system takes leaves room for the temporary one.
func TestWriteFile_TakesTheLongestName(t *testing.T) {
	t.Parallel()
	require.NoError(t, durable.WriteFile(openRoot(t), strings.Repeat("n", 255), nil, 0o600))
}

// At every moment the name holds all of the old content or all of the new.
func TestWriteFile_ReadersSeeTheOldOrTheNewContent(t *testing.T) {
	t.Parallel()
	root := openRoot(t)
	contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
	require.NoError(t, durable.WriteFile(root, "day", contents[0], 0o600))

	var writers sync.WaitGroup
	for _, content := range contents {
		writers.Go(func() {
			for range 20 {
				if err := durable.WriteFile(root, "day", content, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	written := make(chan struct{})
	go func() { writers.Wait(); close(written) }()
	for done := false; !done; {
		select {
		case <-written:
			done = true
		default:
		}
		got, err := root.ReadFile("day")
		require.NoError(t, err)
		require.True(t, bytes.Equal(got, contents[0]) || bytes.Equal(got, contents[1]),
			"%d bytes that nobody wrote", len(got))
	}
}

// When WriteFile fails before the name is replaced, the old content is
// untouched and no temporary file is left.
func TestWriteFile_AFailureLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ rule, name string }{
		{"a folder stands under the name", "folder"},
		{"the folder does not exist", "absent/day"},
		{"the folder is a file", "file/day"},
		{"the name leads out of the root", "../day"},
		{"the name leads out of the root through a link", "out/day"},
		{"the name is too long", strings.Repeat("n", 256)},
		{"there is no name", ""},
	} {
		t.Run(row.rule, func(t *testing.T) {
			root := openRoot(t)
			require.NoError(t, root.MkdirAll("folder/full", 0o755))
			require.NoError(t, root.WriteFile("file", []byte("old"), 0o600))
			require.NoError(t, root.Symlink(t.TempDir(), "out"))
			before := names(t, root)

			require.Error(t, durable.WriteFile(root, row.name, []byte("new"), 0o600))
			require.Empty(t, cmp.Diff(before, names(t, root)))
			got, err := root.ReadFile("file")
			require.NoError(t, err)
			require.Equal(t, "old", string(got))
		})
	}
}

func TestIsTemp(t *testing.T) {
	t.Parallel()
	require.True(t, durable.IsTemp(durable.TempPrefix+"X"))
	require.True(t, durable.IsTemp(filepath.Join("kept", durable.TempPrefix+"X")))
	require.False(t, durable.IsTemp("day"))
}

// SyncDir of a folder that is not there says so.
func TestSyncDir_ReportsAnAbsentFolder(t *testing.T) {
	t.Parallel()
	root := openRoot(t)
	require.NoError(t, durable.SyncDir(root, "."))
	require.ErrorIs(t, durable.SyncDir(root, "absent"), fs.ErrNotExist)
}

func ExampleWriteFile() {
	dir, err := os.MkdirTemp("", "durable")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer root.Close()

	err = durable.WriteFile(root, "last-kept", []byte("2026-268\n"), 0o644)
	content, _ := root.ReadFile("last-kept")
	fmt.Printf("%s%v\n", content, err)
	// Output:
	// 2026-268
	// <nil>
}
