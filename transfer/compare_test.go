package transfer_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// Two trees are told apart entry by entry.
func TestCompare_TellsSameDifferingMissingAndExtra(t *testing.T) {
	t.Parallel()
	want, got := new(storetest.Mem), new(storetest.Mem)
	put := func(m *storetest.Mem, name, data string) {
		m.Put(transfer.Info{Name: name, ModTime: noon}, []byte(data))
	}
	link := func(m *storetest.Mem, name, target string) {
		require.NoError(t, m.Symlink(t.Context(), transfer.Info{Name: name, Target: target}))
	}
	put(want, "same", "same")
	put(got, "same", "same")
	put(want, "rotten", "good")
	put(got, "rotten", "goad")
	put(want, "longer", "1")
	put(got, "longer", "22")
	put(want, "missing/x", "x")
	put(got, "extra/x", "x")
	link(want, "link", "same")
	link(got, "link", "same")
	link(want, "other link", "same")
	link(got, "other link", "rotten")
	put(want, "kind", "")
	require.NoError(t, got.Mkdir(t.Context(), transfer.Info{Name: "kind"}))
	want.Put(transfer.Info{Name: "touched", ModTime: noon}, []byte("x"))
	got.Put(transfer.Info{Name: "touched", ModTime: later}, []byte("x"))

	c, err := transfer.Compare(t.Context(), want, got, nil)
	require.NoError(t, err)
	require.False(t, c.Equal())
	require.Empty(t, cmp.Diff(&transfer.Comparison{
		Same:      []string{".", "link", "rotten", "same"},
		Differing: []string{"kind", "longer", "other link", "touched"},
		Missing:   []string{"missing", "missing/x"},
		Extra:     []string{"extra", "extra/x"},
	}, c), "by size and time (-want +got)")

	c, err = transfer.Compare(t.Context(), want, got, &transfer.Options{Verify: transfer.VerifyAll})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&transfer.Comparison{
		Same:      []string{".", "link", "same", "touched"},
		Differing: []string{"kind", "longer", "other link", "rotten"},
		Missing:   []string{"missing", "missing/x"},
		Extra:     []string{"extra", "extra/x"},
	}, c), "by their bytes (-want +got)")
}

// What cannot be read is neither same nor differing.
func TestCompare_NamesWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	want := &storetest.Mem{Fault: failing("open", "x", fs.ErrPermission)}
	got := &storetest.Mem{Fault: failing("list", "d", fs.ErrPermission)}
	for _, m := range []*storetest.Mem{want, got} {
		m.Put(transfer.Info{Name: "x", ModTime: noon}, []byte("x"))
		m.Put(transfer.Info{Name: "y", ModTime: noon}, []byte("y"))
		require.NoError(t, m.Mkdir(t.Context(), transfer.Info{Name: "d"}))
	}
	c, err := transfer.Compare(t.Context(), want, got, &transfer.Options{Verify: transfer.VerifyAll})
	require.NoError(t, err)
	require.False(t, c.Equal())
	var failed []string
	for _, f := range c.Failed {
		failed = append(failed, f.Op+" "+f.Name)
	}
	require.Equal(t, []string{"list d", "read x"}, failed)
	require.Equal(t, []string{".", "d", "y"}, c.Same)
}

// The sums of a tree with any names are accepted by the tools of coreutils.
func TestSumTree_IsAcceptedByCoreutils(t *testing.T) {
	t.Parallel()
	dir, names := writeOddFiles(t)
	require.NoError(t, os.Symlink("no such", filepath.Join(dir, "link")))
	s := local(t, dir)
	for _, row := range []struct {
		tool string
		hash func() hash.Hash
	}{{"sha256sum", sha256.New}, {"md5sum", md5.New}} {
		var text bytes.Buffer
		require.NoError(t, transfer.WriteSums(&text, transfer.SumTree(t.Context(), s, row.hash, nil)))
		cmd := tool(t, dir, row.tool, "--check", "--strict", "--quiet", "-")
		cmd.Stdin = bytes.NewReader(text.Bytes())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		sums, err := readSums(&text)
		require.NoError(t, err)
		require.Len(t, sums, len(names))
		c, err := transfer.CheckSums(t.Context(), s, sums, nil)
		require.NoError(t, err)
		require.True(t, c.Equal())
		require.Len(t, c.Same, len(names))
	}
}

// A sum of a file that has rotted, or gone, or cannot be read, is told.
func TestCheckSums_TellsDifferingMissingAndUnreadable(t *testing.T) {
	t.Parallel()
	m := new(storetest.Mem)
	var sums []transfer.Sum
	for _, name := range []string{"closed", "gone", "rotten", "same"} {
		sum := sha256.Sum256([]byte(name))
		sums = append(sums, transfer.Sum{Name: name, Hash: sum[:]})
		if name != "gone" {
			m.Put(transfer.Info{Name: "top/" + name}, []byte(name))
		}
	}
	m.Put(transfer.Info{Name: "top/rotten"}, []byte("Rotten"))
	m.Put(transfer.Info{Name: "top/extra"}, nil)
	m.Fault = failing("read", "top/closed", fs.ErrPermission)
	c, err := transfer.CheckSums(t.Context(), m, sums, &transfer.Options{From: "top"})
	require.NoError(t, err)
	require.Equal(t, []string{"same"}, c.Same)
	require.Equal(t, []string{"rotten"}, c.Differing)
	require.Equal(t, []string{"gone"}, c.Missing)
	require.Empty(t, c.Extra)
	require.Len(t, c.Failed, 1)
	require.Equal(t, "closed", c.Failed[0].Name)

	_, err = transfer.CheckSums(t.Context(), m, []transfer.Sum{{Name: "x", Hash: []byte("odd")}}, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// The first file that cannot be read ends a sum of a tree: there is no
// checksum file that lacks one.
func TestSumTree_EndsAtAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	m := &storetest.Mem{Fault: failing("open", "x", fs.ErrPermission)}
	m.Put(transfer.Info{Name: "a"}, nil)
	m.Put(transfer.Info{Name: "x"}, nil)
	err := transfer.WriteSums(new(bytes.Buffer), transfer.SumTree(t.Context(), m, sha256.New, nil))
	require.ErrorIs(t, err, fs.ErrPermission)
	var file *transfer.FileError
	require.ErrorAs(t, err, &file)
	require.Equal(t, "x", file.Name)
}

// A directory goes with all that is in it; what is gone is no error.
func TestRemoveAll_RemovesATree(t *testing.T) {
	t.Parallel()
	for _, s := range []transfer.Store{new(storetest.Mem), local(t, t.TempDir())} {
		_, err := transfer.Mirror(t.Context(), s, local(t, day(t)), &transfer.Options{To: "a/b"})
		require.NoError(t, err)
		require.NoError(t, transfer.RemoveAll(t.Context(), s, "a/b"))
		require.Equal(t, []string{".", "a"}, walk(t, s, nil))
		require.NoError(t, transfer.RemoveAll(t.Context(), s, "a/b"))
		require.NoError(t, transfer.RemoveAll(t.Context(), s, "no/such"))
	}
}
