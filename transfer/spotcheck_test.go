package transfer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// Before a signature is believed, some blocks of what the destination has are
// compared with it. If they differ, the file goes the next way: here that of rsync.
func TestMirror_LooksAtWhatASignatureDescribes(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "rsync")
	for _, row := range []struct {
		rule  string
		spoil func(far []byte)
	}{
		{"the first block differs", func(far []byte) { far[0] ^= 1 }},
		{"the last block differs", func(far []byte) { far[len(far)-1] ^= 1 }},
		{"all others do", func(far []byte) {
			for i := 4096; i < len(far)-8192; i += 4096 {
				far[i] ^= 1
			}
		}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			image := newImage(t, "")
			there := filepath.Join(image.there, "image")
			was := tree(t, image.there)["image"].Time
			far, err := os.ReadFile(there)
			require.NoError(t, err)
			row.spoil(far)
			require.NoError(t, os.WriteFile(there, far, 0o644))
			stamp(t, image.there, "image", was)
			signature, err := os.ReadFile(image.signature())
			require.NoError(t, err)
			image.data = bytes.Clone(far)
			changed := scatter(image.data, 10, 1)
			res, _ := image.push()
			require.Less(t, res.Literal, 100*changed)
			again, err := os.ReadFile(image.signature())
			require.NoError(t, err)
			require.False(t, bytes.Equal(signature, again))
		})
	}
}

// A connection that is lost while a signature is compared says nothing about it.
func TestPush_LooksAgainAfterALostConnection(t *testing.T) {
	t.Parallel()
	dst := new(storetest.Mem)
	data := randomBytes(1, 16<<20)
	o := &transfer.Options{Signatures: filepath.Join(t.TempDir(), "signatures"), Pause: 1}
	for _, when := range []time.Time{noon, later} {
		stats, err := transfer.Push(t.Context(), dst, transfer.Info{Name: "x", Size: 16 << 20, ModTime: when, Mode: 0o600}, bytes.NewReader(data), o)
		require.NoError(t, err)
		if when == later {
			require.Equal(t, int64(4096), stats.Literal)
		}
		data[5] ^= 1
		var opened atomic.Int32
		dst.Fault = func(op, _ string) error {
			if op == "open" && opened.Add(1) == 3 {
				return transfer.ErrLost
			}
			return nil
		}
	}
}
