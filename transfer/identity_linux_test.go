package transfer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// A source is not read for its signature while it is the file whose signature
// is kept, by size, time, ctime and inode.
func TestMirror_DoesNotReadWhatIsAsItWas(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule          string
		change        func(i *image)
		literal, read int64
	}{
		{"nothing has changed", func(*image) {}, 0, 0},
		{"the far file has another time", func(i *image) { stamp(i.T, i.there, "image", noon) }, 0, 0},
		{"the far file is gone", func(i *image) { require.NoError(i, os.Remove(filepath.Join(i.there, "image"))) }, imageSize, imageSize},
		{"the far file is of another time and has other bytes", func(i *image) {
			i.rot(1)
			stamp(i.T, i.there, "image", noon)
		}, imageSize, imageSize},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
			row.change(image)
			res, _ := image.mirror()
			require.Equal(t, row.literal, res.Literal)
			require.Equal(t, row.read, image.src.read.Load())
			_, wire := image.mirror()
			require.Zero(t, image.src.read.Load())
			require.Less(t, wire, int64(4<<10))
			changed := scatter(image.data, 10, 2)
			res, _ = image.push()
			require.Equal(t, changed, res.Literal, "a good signature was not kept")
		})
	}
}

// A source of equal size and time whose signature is kept, but which is another
// file by ctime or inode, is read here, and sent if it differs.
func TestMirror_NoticesATimeThatWasSetBack(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		change func(i *image) (changed int64)
	}{
		{"written to", func(i *image) int64 {
			changed := scatter(i.data, 10, 1)
			i.write()
			return changed
		}},
		{"replaced", func(i *image) int64 {
			changed := scatter(i.data, 10, 1)
			require.NoError(i, os.Rename(filepath.Join(i.here, "image"), filepath.Join(i.here, "was")))
			i.write()
			require.NoError(i, os.Remove(filepath.Join(i.here, "was")))
			return changed
		}},
		{"written with the same bytes", func(i *image) int64 { i.write(); return 0 }},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
			changed := row.change(image)
			stamp(t, image.here, ".", noon)
			stamp(t, image.there, ".", noon)
			res, wire := image.mirror()
			require.Equal(t, noon.Truncate(time.Second), tree(t, image.there)["."].Time.Truncate(time.Second), "time of the directory")
			require.Equal(t, changed, res.Literal)
			require.Equal(t, int64(imageSize), res.Literal+res.Matched)
			require.Equal(t, imageSize+changed, image.src.read.Load())
			require.Less(t, wire, changed*11/10+64<<10)
			image.mirror()
			require.Zero(t, image.src.read.Load(), "it has been noticed already")
		})
	}
}

// What was changed just now may change again without showing it: its identity is
// not kept before it has settled.
func TestMirror_KeepsNoIdentityThatHasNotSettled(t *testing.T) {
	t.Parallel()
	image := newImage(t, sshtest.Instead(t, "rsync", "exit 127"))
	image.src.young = true
	image.push()
	image.mirror()
	require.Equal(t, int64(imageSize), image.src.read.Load())
	image.src.young = false
	image.mirror()
	require.Equal(t, int64(imageSize), image.src.read.Load())
	image.mirror()
	require.Zero(t, image.src.read.Load())
}

// A file of this machine that is pushed by itself has an identity, too.
func TestPush_NoticesATimeThatWasSetBack(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "image")
	data := randomBytes(1, 16<<20)
	dst := new(storetest.Mem)
	o := &transfer.Options{Signatures: t.TempDir()}
	for range 2 {
		require.NoError(t, os.WriteFile(name, data, 0o600))
		require.NoError(t, os.Chtimes(name, noon, noon))
		f, err := os.Open(name)
		require.NoError(t, err)
		info := transfer.Info{Name: "image", Size: 16 << 20, ModTime: noon, Mode: 0o600}
		_, err = transfer.Push(t.Context(), dst, info, f, o)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.True(t, bytes.Equal(data, dst.Data("image")))
		data[5] ^= 1
	}
}

func TestIdentityOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	identify := func(name string) transfer.Identity {
		id, err := local(t, dir).Identify(t.Context(), name)
		require.NoError(t, err)
		fi, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, transfer.IdentityOf(fi), id)
		require.WithinDuration(t, time.Now(), id.Changed, time.Minute)
		return id
	}
	write(t, dir, "x", []byte("x"))
	write(t, dir, "y", []byte("x"))
	x, y := identify("x"), identify("y")
	require.Equal(t, x.Device, y.Device)
	require.NotEqual(t, x.Inode, y.Inode)
	require.Equal(t, x, identify("x"))
	require.Eventually(t, func() bool { // the file system's clock ticks
		stamp(t, dir, "x", noon)
		now := identify("x")
		return now.Inode == x.Inode && now.Changed.After(x.Changed)
	}, time.Minute, time.Millisecond)
	_, err := local(t, dir).Identify(t.Context(), "../x")
	require.ErrorIs(t, err, transfer.ErrName)
}
