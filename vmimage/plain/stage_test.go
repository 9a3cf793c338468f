package plain_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// elsewhere makes a verified image in a folder of its own, and returns that of the image.
func elsewhere(t *testing.T, image vmimage.Image, disks ...[]byte) (vmimage.Image, string) {
	t.Helper()
	dir := t.TempDir()
	image = verified(t, open(t, dir), image, content(disks...))
	return image, filepath.Join(dir, "web01", image.ID)
}

// bring transfers an image into its stage.
func bring(t *testing.T, target *plain.Target, image vmimage.Image, from string) string {
	t.Helper()
	dir, err := target.Stage(image)
	require.NoError(t, err)
	mirror(t, dir, from)
	return dir
}

func mirror(t *testing.T, to, from string) {
	t.Helper()
	dst, err := dirstore.Open(to)
	require.NoError(t, err)
	defer dst.Close()
	src, err := dirstore.Open(from)
	require.NoError(t, err)
	defer src.Close()
	_, err = transfer.Mirror(t.Context(), dst, src, nil)
	require.NoError(t, err)
}

// states are the modes, times and contents of the files in a folder.
func states(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, name := range tree(t, dir) {
		info, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		all[name] = info.Mode().String() + info.ModTime().String() + string(data)
	}
	return all
}

// A stage begins with the disks of the newest verified image, which take no room, and when a
// transfer has brought others in their place that image is byte for byte what it was, its
// times too.
func TestStage_LeavesWhatItLinksAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	verified(t, target, first, content(guest(1, mib)))
	verified(t, target, next, content(guest(2, 2*mib), guest(3, mib)))
	store(t, target, later, content(guest(9, mib))) // is not verified
	image, from := elsewhere(t, at(taken.Add(4*time.Hour)), guest(4, 2*mib), guest(5, mib))
	before := states(t, filepath.Join(dir, "web01", next.ID))

	stage, err := target.Stage(image)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "web01", ".partial-"+image.ID), stage)
	for _, name := range []string{"vda.img", "vdb.img"} {
		linked, err := os.Stat(filepath.Join(stage, name))
		require.NoError(t, err)
		of, err := os.Stat(filepath.Join(dir, "web01", next.ID, name))
		require.NoError(t, err)
		require.True(t, os.SameFile(of, linked), name)
	}
	names, err := target.Linked(image)
	require.NoError(t, err)
	require.Equal(t, []string{"vda.img", "vdb.img"}, names)
	n, err := target.Staged(image)
	require.NoError(t, err)
	require.Zero(t, n)

	again := bring(t, target, image, from)
	require.Equal(t, stage, again)
	n, err = target.Staged(image)
	require.NoError(t, err)
	require.Greater(t, n, int64(mib))
	adopted, err := target.Adopt(t.Context(), image)
	require.NoError(t, err)
	require.NotZero(t, adopted.Verified)
	require.Empty(t, cmp.Diff(before, states(t, filepath.Join(dir, "web01", next.ID))))
	_, err = target.Verify(t.Context(), adopted)
	require.NoError(t, err)
	_, err = target.Stage(image)
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = target.Adopt(t.Context(), image)
	require.Error(t, err)
}

var later = at(taken.Add(3 * time.Hour))

// Adopt writes into no file that is another image's too, whatever it finds in the stage.
func TestAdopt_WritesIntoNoLinkedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	data := make([]byte, mib)
	copy(data[mib/2:], "data")
	verified(t, target, first, content(data))
	image, from := elsewhere(t, next, data)
	old := filepath.Join(dir, "web01", first.ID)
	require.NoError(t, os.WriteFile(filepath.Join(old, "vda.img"), data, 0o640)) // without holes
	before := states(t, old)
	stage, err := target.Stage(image)
	require.NoError(t, err)
	for _, name := range []string{"domain.xml", "nvram", "SHA256SUMS", "image.json"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(stage, name), b, 0o640))
	}
	adopted, err := target.Adopt(t.Context(), image)
	require.NoError(t, err)
	require.Equal(t, int64(mib), adopted.Files[0].Allocated)
	require.Empty(t, cmp.Diff(before, states(t, old)))
}

// A staged image is not listed before every byte of it was read back, and then it is, complete
// and verified, also after a crash before any step.
func TestAdopt_ListsNothingBeforeItIsVerified(t *testing.T) {
	t.Parallel()
	image, from := elsewhere(t, next, guest(3, mib), guest(4, mib))
	crashed := 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		target := open(t, dir)
		older := verified(t, target, first, content(guest(1, mib), guest(2, mib)))
		done := func() (done bool) {
			defer func() { done = recover() == nil }()
			left := n
			target.OnStep(func(string) {
				if left--; left == 0 {
					panic("crash")
				}
			})
			bring(t, target, image, from)
			_, err := target.Adopt(t.Context(), image)
			require.NoError(t, err)
			return true
		}()
		target.OnStep(nil)
		listed := images(t, target)
		require.Empty(t, cmp.Diff(older, listed[0]))
		for _, i := range listed {
			require.NotZero(t, i.Verified)
			require.False(t, i.Verified.Equal(image.Verified), "it was verified elsewhere")
			_, err := target.Verify(t.Context(), i)
			require.NoError(t, err)
		}
		if len(listed) == 1 {
			bring(t, target, image, from)
			_, err := target.Adopt(t.Context(), image)
			require.NoError(t, err)
		}
		require.Len(t, images(t, target), 2)
		names, err := target.Clean(t.Context(), "web01")
		require.NoError(t, err)
		require.Empty(t, names)
		if done {
			break
		}
		crashed++
	}
	require.Greater(t, crashed, 12)
}

// A file that is wrong is named and removed from the stage, it alone, so that it is sent anew.
func TestAdopt_RemovesTheDamagedFileAlone(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string) error{
		"another byte": func(path string) error {
			data, err := os.ReadFile(path)
			if err == nil {
				data[len(data)/2] ^= 1
				err = os.WriteFile(path, data, 0o600)
			}
			return err
		},
		"cut":     func(path string) error { return os.Truncate(path, 3) },
		"missing": os.Remove,
		"a link":  func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
		"a folder": func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "x"), nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, from := elsewhere(t, next, guest(3, mib), guest(4, mib))
			for _, file := range []string{"vda.img", "vdb.img", "domain.xml", "SHA256SUMS", "image.json"} {
				dir := t.TempDir()
				target := open(t, dir)
				stage := bring(t, target, image, from)
				before := tree(t, stage)
				require.NoError(t, damage(filepath.Join(stage, file)))
				_, err := target.Adopt(t.Context(), image)
				rot, ok := errors.AsType[*vmimage.RotError](err)
				require.True(t, ok, "%s: %v", file, err)
				require.Equal(t, []string{"web01", image.ID, file}, []string{rot.Machine, rot.ID, rot.File})
				require.Empty(t, images(t, target))
				require.NoFileExists(t, filepath.Join(stage, file))
				require.Len(t, tree(t, stage), len(before)-1)
				mirror(t, stage, from)
				adopted, err := target.Adopt(t.Context(), image)
				require.NoError(t, err)
				require.Empty(t, cmp.Diff([]vmimage.Image{adopted}, images(t, target)))
			}
		})
	}
}

// What is not of the image does not get into it.
func TestAdopt_TakesNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	image, from := elsewhere(t, next, guest(3, mib))
	stage := bring(t, target, image, from)
	for _, name := range []string{"vdz.img", ".obskeep-part-x", ".durable-x", "folder/x"} {
		path := filepath.Join(stage, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	_, err := target.Adopt(t.Context(), image)
	require.NoError(t, err)
	require.ElementsMatch(t, append(stored("web01/"+image.ID), "web01"), tree(t, dir))

	// Nor an image under the name of another.
	wrong := image
	wrong.ID = later.ID
	bring(t, target, wrong, from)
	_, err = target.Adopt(t.Context(), wrong)
	_, rotten := errors.AsType[*vmimage.RotError](err)
	require.True(t, rotten, "%v", err)
}

// Zeros that came as data become holes, and the image says what it takes here.
func TestAdopt_MakesHoles(t *testing.T) {
	t.Parallel()
	target := open(t, t.TempDir())
	data := make([]byte, 8*mib)
	copy(data[3*mib+4096:], guest(1, mib))
	image, from := elsewhere(t, next, data)
	stage := bring(t, target, image, from)
	path := filepath.Join(stage, "vda.img")
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, os.Chtimes(path, taken, taken))
	adopted, err := target.Adopt(t.Context(), image)
	require.NoError(t, err)
	require.LessOrEqual(t, adopted.Files[0].Allocated, image.Files[0].Allocated)
	path = filepath.Join(target.Dir(), "web01", image.ID, "vda.img")
	f, err := os.Open(path)
	require.NoError(t, err)
	source, err := disk.Raw(f)
	require.NoError(t, err)
	defer source.Close()
	var n int64
	for e, err := range source.Extents() {
		require.NoError(t, err)
		n += e.Len
	}
	require.Equal(t, adopted.Files[0].Allocated, n)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, info.ModTime().Equal(taken))
}

// CleanStages removes what is of no image, of all machines, but for the stages that are
// to be gone on with, and nothing of others.
func TestCleanStages_LeavesWhatIsToBeGoneOnWith(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := open(t, dir)
	verified(t, target, first, content(guest(1, mib)))
	db := at(taken)
	db.Machine = "db"
	for _, i := range []vmimage.Image{next, later, db} {
		_, err := target.Stage(i)
		require.NoError(t, err)
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "web01", ".partial-mine"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "lost+found", ".partial-"+next.ID), 0o700))
	removed, err := target.CleanStages(t.Context(), []vmimage.Image{later})
	require.NoError(t, err)
	require.Equal(t, []string{"db/.partial-" + db.ID, "web01/.partial-" + next.ID}, removed)
	require.DirExists(t, filepath.Join(dir, "web01", ".partial-"+later.ID))
	require.DirExists(t, filepath.Join(dir, "web01", ".partial-mine"))
	require.DirExists(t, filepath.Join(dir, "lost+found", ".partial-"+next.ID))
	require.Len(t, images(t, target), 1)
}

// Stage and Adopt stay within the folder, whatever the links in it and the names they are given.
func TestStage_NothingLeadsOut(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	target := open(t, dir)
	image, from := elsewhere(t, next, guest(3, mib))
	require.NoError(t, os.Mkdir(filepath.Join(outside, ".partial-"+image.ID), 0o700))
	mirror(t, filepath.Join(outside, ".partial-"+image.ID), from)
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "web01")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "db"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(outside, ".partial-"+image.ID), filepath.Join(dir, "db", ".partial-"+image.ID)))
	before := tree(t, outside)
	for _, i := range []vmimage.Image{
		{Machine: "web01", ID: image.ID}, {Machine: "db", ID: image.ID}, {Machine: "", ID: image.ID}, {Machine: "db", ID: "../x"}, {Machine: "db", ID: ".."},
	} {
		_, err := target.Stage(i)
		require.Error(t, err, "%s/%s", i.Machine, i.ID)
		_, err = target.Adopt(t.Context(), i)
		require.Error(t, err, "%s/%s", i.Machine, i.ID)
	}
	require.Empty(t, cmp.Diff(before, tree(t, outside)))
}

// The name of an image's folder tells its machine and ID, and no other folder does.
func TestParseName_IsTheInverseOfName(t *testing.T) {
	t.Parallel()
	for _, machine := range []string{"web01", "Ω/..", ".hidden", "a b"} {
		m, id, ok := plain.ParseName(plain.Name(machine, first.ID))
		require.True(t, ok)
		require.Equal(t, []string{machine, first.ID}, []string{m, id})
	}
	for _, name := range []string{"", "lost+found", ".hidden", "web01/", "web01/notes", "web01/.partial-" + first.ID, "web01/" + first.ID + "/x", "../" + first.ID} {
		_, _, ok := plain.ParseName(name)
		require.False(t, ok, name)
	}
}
