package plain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// Verify says when all bytes were right, and Images then do too.
func TestVerify_SaysWhenItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 9, 25, 3, 0, 0, 5, time.UTC)
	target, err := plain.Open(dir, &plain.Options{Now: func() time.Time { return now }})
	require.NoError(t, err)
	defer target.Close()
	image := verified(t, target, first, content(guest(1, 3*mib)))
	require.Equal(t, now, image.Verified)
	now = now.Add(time.Hour)
	image, err = target.Verify(t.Context(), image)
	require.NoError(t, err)
	require.Equal(t, now, image.Verified)
	require.Empty(t, cmp.Diff([]vmimage.Image{image}, images(t, open(t, dir))))

	data, err := os.ReadFile(filepath.Join(dir, "web01", image.ID, "image.json"))
	require.NoError(t, err)
	var told struct{ Schema string }
	require.NoError(t, json.Unmarshal(data, &told))
	require.Equal(t, "obskeep/image/v1", told.Schema)
}

// A stored image is not written to again, but for when it was verified.
func TestVerify_WritesNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	image := store(t, target, first, content(guest(1, mib)))
	folder := filepath.Join(dir, "web01", image.ID)
	before := make(map[string]fs.FileInfo)
	for _, f := range image.Files {
		info, err := os.Stat(filepath.Join(folder, f.Name))
		require.NoError(t, err)
		before[f.Name] = info
	}
	_, err := target.Verify(t.Context(), image)
	require.NoError(t, err)
	for name, info := range before {
		after, err := os.Stat(filepath.Join(folder, name))
		require.NoError(t, err)
		require.True(t, os.SameFile(info, after) && info.ModTime().Equal(after.ModTime()), name)
	}
	require.ElementsMatch(t, stored("web01/"+image.ID), append(prefixed("web01/"+image.ID+"/", tree(t, folder)), "web01/"+image.ID))
	absent := image
	absent.ID = next.ID
	_, err = target.Verify(t.Context(), absent)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func prefixed(prefix string, names []string) []string {
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}

// A byte that is not as it was stored is found, in any file, and the image is then no
// longer listed as verified. Restore finds it too, and leaves nothing.
func TestVerify_FindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	flip := func(name string, off int64) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
			require.NoError(t, err)
			defer f.Close()
			p := make([]byte, 1)
			_, err = f.ReadAt(p, off)
			require.NoError(t, err)
			p[0] ^= 1
			_, err = f.WriteAt(p, off)
			require.NoError(t, err)
		}
	}
	for _, row := range []struct {
		rule, file string
		restores   bool // what is wrong is not what is restored
		damage     func(t *testing.T, dir string)
		cause      error
	}{
		{"a byte of a disk", "vda.img", false, flip("vda.img", 2*mib+5), nil},
		{"the first byte of a disk", "vdb.img", false, flip("vdb.img", 0), nil},
		{"the last byte of a disk", "vda.img", false, flip("vda.img", 3*mib+511), nil},
		{"a byte in a hole", "vdc.img", false, flip("vdc.img", 5*mib+1), nil},
		{"a byte of a small file", "domain.xml", false, flip("domain.xml", 3), nil},
		{"a byte of a sum", "SHA256SUMS", true, flip("SHA256SUMS", 3), nil},
		{"a byte of a name in the sums", "SHA256SUMS", true, flip("SHA256SUMS", 67), nil},
		{"a disk cut short", "vda.img", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "vda.img"), 3*mib))
		}, nil},
		{"a disk that grew by zeros", "vda.img", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "vda.img"), 4*mib))
		}, nil},
		{"a disk emptied", "vda.img", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "vda.img"), 0))
			require.NoError(t, os.Truncate(filepath.Join(dir, "vda.img"), 3*mib+512))
		}, nil},
		{"a disk gone", "vdb.img", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "vdb.img")))
		}, fs.ErrNotExist},
		{"a folder in place of a file", "domain.xml", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "domain.xml")))
			require.NoError(t, os.Mkdir(filepath.Join(dir, "domain.xml"), 0o700))
		}, nil},
		{"the sums gone", "SHA256SUMS", true, func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "SHA256SUMS")))
		}, fs.ErrNotExist},
		{"a file more", "core", true, func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "core"), nil, 0o600))
		}, nil},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			target := open(t, dir)
			image := verified(t, target, first, content(bytes.Repeat([]byte("x"), 3*mib+512), guest(2, mib), make([]byte, 8*mib)))
			row.damage(t, filepath.Join(dir, "web01", image.ID))

			got, err := target.Verify(t.Context(), image)
			rot, ok := err.(*vmimage.RotError) // not wrapped
			require.True(t, ok, "%v", err)
			require.Equal(t, row.file, rot.File)
			require.Equal(t, image.ID, rot.ID)
			if row.cause != nil {
				require.ErrorIs(t, err, row.cause)
			}
			require.Zero(t, got.Verified)
			image.Verified = time.Time{}
			require.Empty(t, cmp.Diff([]vmimage.Image{image}, images(t, open(t, dir))))

			to := t.TempDir()
			err = target.Restore(t.Context(), image, to)
			if row.restores {
				require.NoError(t, err)
				return
			}
			rot, ok = err.(*vmimage.RotError)
			require.True(t, ok, "%v", err)
			require.Equal(t, row.file, rot.File)
			require.Empty(t, tree(t, to))
		})
	}
}

// An image whose description has a wrong byte, wherever it is, is told of by an error
// beside the others: no value in it is relied on.
func TestImages_TellOfADamagedDescription(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	other := store(t, target, next, content(guest(2, mib)))
	image := store(t, target, first, vmimage.Content{Files: []vmimage.Small{{Name: "domain.xml", Data: []byte("x")}}})
	path := filepath.Join(dir, "web01", image.ID, "image.json")
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	check := func(what string, deep bool) {
		t.Helper()
		all, err := target.Images(t.Context())
		rot, ok := errors.AsType[*vmimage.RotError](err)
		require.True(t, ok, "%s: %v", what, err)
		require.Equal(t, vmimage.RotError{Machine: "web01", ID: image.ID, File: "image.json", Err: rot.Err}, *rot)
		require.Equal(t, []vmimage.Image{other}, all, what)
		if !deep {
			return
		}
		_, err = target.Verify(t.Context(), image)
		_, ok = err.(*vmimage.RotError)
		require.True(t, ok, "%s: %v", what, err)
		_, ok = target.Restore(t.Context(), image, t.TempDir()).(*vmimage.RotError)
		require.True(t, ok, what)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		check(string(bad), i%97 == 0)
	}
	for _, bad := range []string{"", "{}", "null", string(good[:len(good)/2]), string(good) + " "} {
		require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
		check(bad, true)
	}
	require.NoError(t, os.Remove(path))
	check("gone", true)
	require.NoError(t, os.Rename(filepath.Join(dir, "web01", next.ID), filepath.Join(dir, "web01", "2026-269T0000Z")))
	_, err = target.Images(t.Context())
	require.Error(t, err, "a folder with another's name")
	require.NoError(t, target.Remove(t.Context(), image), "what is damaged can be removed")
}
