package transfer_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore"
)

var (
	noon  = time.Date(2026, 9, 25, 12, 0, 0, 123456789, time.UTC)
	later = noon.Add(time.Hour)
)

func local(t testing.TB, dir string) *dirstore.Store {
	t.Helper()
	s, err := dirstore.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func remote(t testing.TB, c sshstore.Config, dir string) *sshstore.Store {
	t.Helper()
	s, err := sshstore.Open(t.Context(), c, dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// write writes a file of noon and the directories above it.
func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, data, 0o644))
	stamp(t, dir, name, noon)
}

func stamp(t testing.TB, dir, name string, when time.Time) {
	t.Helper()
	require.NoError(t, os.Chtimes(filepath.Join(dir, name), when, when))
}

// day is a small day folder, with all that a mirror keeps.
func day(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, "empty", nil)
	write(t, dir, "268/0000.dat", randomBytes(1, 2000))
	write(t, dir, "268/0100.dat", randomBytes(2, 3<<20))
	write(t, dir, "268/deep/er/last.dat", []byte("last"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "void"), 0o750))
	require.NoError(t, os.Symlink("0000.dat", filepath.Join(dir, "268", "latest")))
	require.NoError(t, os.Chmod(filepath.Join(dir, "268", "0000.dat"), 0o440))
	for _, name := range []string{"268/deep/er", "268/deep", "268", "void", "."} {
		stamp(t, dir, name, later)
	}
	return dir
}

// entry is what lies under one name.
type entry struct {
	Mode fs.FileMode
	Time time.Time // of what is not a link
	Data string    // its hash, or where a link points to
}

// tree is all that lies in a directory, hidden names too.
func tree(t testing.TB, dir string) map[string]entry {
	t.Helper()
	entries := make(map[string]entry)
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{Mode: info.Mode(), Time: info.ModTime().UTC()}
		switch {
		case e.Mode.IsRegular():
			var data []byte
			data, err = os.ReadFile(name)
			e.Data = fmt.Sprintf("%d bytes %.8x", len(data), sha256.Sum256(data))
		case e.Mode&fs.ModeSymlink != 0:
			e.Time = time.Time{}
			e.Data, err = os.Readlink(name)
		}
		rel, _ := filepath.Rel(dir, name)
		entries[filepath.ToSlash(rel)] = e
		return err
	}))
	return entries
}

// hidden are the names in a tree that its stores do not show.
func hidden(entries map[string]entry) (names []string) {
	for name := range entries {
		if transfer.IsReserved(name) {
			names = append(names, name)
		}
	}
	return names
}

func requireSameTree(t testing.TB, want, got string) {
	t.Helper()
	if diff := cmp.Diff(tree(t, want), tree(t, got)); diff != "" {
		t.Fatalf("tree (-want +got):\n%s", diff)
	}
}

// failures are what an IncompleteError names: op and name.
func failures(t testing.TB, err error) (list []string) {
	t.Helper()
	var incomplete *transfer.IncompleteError
	require.ErrorAs(t, err, &incomplete)
	for _, f := range incomplete.Failed {
		list = append(list, f.Op+" "+f.Name)
	}
	require.NotContains(t, strings.TrimSpace(err.Error()), "\n", "an error is one line")
	return list
}
