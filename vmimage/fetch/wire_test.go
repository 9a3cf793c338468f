package fetch_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// Of an image that differs little from the newest here little is sent, if the server has
// rsync; over SFTP alone all of it is.
func TestRun_SendsLittleOfWhatDiffersLittle(t *testing.T) {
	t.Parallel()
	for _, rsync := range []bool{true, false} {
		t.Run(map[bool]string{true: "rsync", false: "SFTP alone"}[rsync], func(t *testing.T) {
			t.Parallel()
			var lines []string
			if !rsync {
				lines = append(lines, sshtest.Instead(t, "rsync", "exit 127"))
			}
			sshd := sshtest.Start(t, lines...)
			proxy := sshtest.NewProxy(t, sshd.Addr)
			w := newWorld(t)
			w.over(t, sshd.Via(t, proxy))
			disk := guest(1, 32*mib)
			w.both(t, at("web01", 0), disk)
			image := put(t, w.there, at("web01", 7), changed(2, disk, 0.01))
			images, stats := w.fetched(t)
			require.Len(t, images, 1)
			received, sent := proxy.Bytes()
			wire := received + sent
			t.Logf("1 %% of %d bytes changed: %d literal, %d matched, %d on the wire; %d allocated there, %d here",
				stats.Size, stats.Literal, stats.Matched, wire, image.Allocated(), images[0].Allocated())
			if rsync {
				require.Less(t, wire, stats.Size/20)
				require.Less(t, stats.Literal, stats.Size/25)
			} else {
				require.Less(t, wire, stats.Size+stats.Size/20)
			}
			require.InDelta(t, float64(image.Allocated()), float64(images[0].Allocated()), 0.07*float64(image.Allocated()))
		})
	}
}

// Holes are not sent, if the server has rsync, also when nothing of the disk is here yet.
func TestRun_SendsNoHoles(t *testing.T) {
	t.Parallel()
	const size, data = 64 * mib, 8 * mib
	disk := make([]byte, size)
	for i := range 4 {
		copy(disk[i*size/4:], noise(uint64(i), data/4))
	}
	sshd := sshtest.Start(t)
	proxy := sshtest.NewProxy(t, sshd.Addr)
	w := newWorld(t)
	w.over(t, sshd.Via(t, proxy))
	put(t, w.there, at("web01", 0), disk)
	images, _ := w.fetched(t)
	require.EqualValues(t, data, images[0].Files[0].Allocated)
	received, sent := proxy.Bytes()
	t.Logf("%d bytes, %d of them data: %d on the wire", size, data, received+sent)
	require.Less(t, received+sent, int64(data+data/10))
}
