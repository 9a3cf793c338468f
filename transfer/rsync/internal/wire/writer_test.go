package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// pieces keeps each Write for itself, and fails from the one that has number
// fail on.
type pieces struct {
	got  [][]byte
	fail int
	err  error
}

func (p *pieces) Write(b []byte) (int, error) {
	if p.err != nil && len(p.got) >= p.fail {
		return 0, p.err
	}
	p.got = append(p.got, bytes.Clone(b))
	return len(b), nil
}

func (p *pieces) hex() (s []string) {
	for _, b := range p.got {
		s = append(s, hex.EncodeToString(b))
	}
	return s
}

// Nothing goes out before Flush unless a buffer is full.
func TestWriter_HoldsBackUntilFlush(t *testing.T) {
	t.Parallel()
	var out pieces
	w := wire.NewWriter(&out)
	w.Int(32)
	require.Empty(t, out.got)
	w.Multiplex()
	require.Equal(t, []string{"20000000"}, out.hex())
	w.Byte(1)
	w.Byte(2)
	require.Len(t, out.got, 1)
	require.NoError(t, w.Flush())
	require.NoError(t, w.Flush())
	require.Equal(t, []string{"20000000", "020000070102"}, out.hex())
}

// A message stands after the data that was written before it, and goes out at once.
func TestWriter_MessageStandsInItsPlace(t *testing.T) {
	t.Parallel()
	var out pieces
	w := wire.NewWriter(&out)
	require.NoError(t, w.Message(wire.MsgInfo, []byte("lost")))
	w.Multiplex()
	w.Byte(1)
	require.NoError(t, w.Message(wire.MsgNoSend, []byte{5, 0, 0, 0}))
	w.Byte(2)
	require.NoError(t, w.Message(wire.MsgErrorExit, nil))
	require.NoError(t, w.Message(wire.MsgErrorExit, nil))
	require.Equal(t, []string{"0100000701" + "0400006d05000000", "0100000702" + "0000005d", "0000005d"}, out.hex())
}

// Real programs end the session at a text of 5,000 bytes.
func TestWriter_CutsLongText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := wire.NewWriter(&out)
	w.Multiplex()
	text := strings.Repeat("error ", 2000)
	require.NoError(t, w.Message(wire.MsgError, []byte(text)))
	r := wire.NewReader(&out)
	var got string
	r.Multiplex(func(m wire.Message) error {
		require.Equal(t, wire.MsgError, m.Type)
		require.Less(t, len(m.Data), 5000)
		got += string(m.Data)
		return nil
	})
	r.Byte()
	require.Equal(t, text, got)
}

// Messages of any goroutine go between frames, never into one.
func TestWriter_MessagesOfOtherGoroutinesAreWhole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := wire.NewWriter(&out)
	w.Multiplex()
	const n = 2000
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range n {
				_ = w.Message(wire.MsgInfo, fmt.Appendf(nil, "%d %d", g, i))
				_ = w.KeepAlive()
			}
		})
	}
	for i := range int32(n) {
		w.Index(i * 1000)
		w.Varlong(int64(i), 3)
		_, _ = w.Write(bytes.Repeat([]byte{byte(i)}, int(i)))
	}
	wg.Wait()
	require.NoError(t, w.Flush())

	r := wire.NewReader(&out)
	var next [3]int
	r.Multiplex(func(m wire.Message) error {
		var g, i int
		_, err := fmt.Sscanf(string(m.Data), "%d %d", &g, &i)
		require.NoError(t, err)
		require.Equal(t, next[g], i)
		next[g]++
		return nil
	})
	for i := range int32(n) {
		require.Equal(t, i*1000, r.Index())
		require.Equal(t, int64(i), r.Varlong(3))
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, int(i)), r.Bytes(int(i)))
	}
	r.Byte()
	require.Equal(t, io.EOF, r.Err())
	require.Equal(t, [3]int{n, n, n}, next)
}

// The peer hears something between two calls of KeepAlive.
func TestWriter_KeepAliveSpeaksOnlyIntoSilence(t *testing.T) {
	t.Parallel()
	var out pieces
	w := wire.NewWriter(&out)
	require.NoError(t, w.KeepAlive())
	require.Empty(t, out.got)
	w.Multiplex()
	require.NoError(t, w.KeepAlive())
	require.Equal(t, []string{"00000007"}, out.hex())
	require.NoError(t, w.KeepAlive())
	require.Len(t, out.got, 2)
	w.Byte(1)
	require.NoError(t, w.Flush())
	w.Byte(2)
	require.NoError(t, w.KeepAlive())
	require.Len(t, out.got, 3, "data has gone out since")
	require.NoError(t, w.KeepAlive())
	require.Equal(t, "0100000702", out.hex()[3], "what is held back serves")
	require.NoError(t, w.KeepAlive())
	require.Equal(t, "00000007", out.hex()[4])
}

// A frame holds at most 64 KiB of data.
func TestWriter_KeepsFramesShort(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 32 << 10, 64 << 10, 64<<10 + 1, 1 << 20} {
		var out bytes.Buffer
		w := wire.NewWriter(&out)
		w.Multiplex()
		data := bytes.Repeat([]byte("0123456789"), n)[:n]
		w.Byte('x')
		_, err := w.Write(data)
		require.NoError(t, err)
		require.NoError(t, w.Flush())
		var got []byte
		for b := out.Bytes(); len(b) > 0; {
			k := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
			require.Equal(t, byte(7), b[3])
			require.LessOrEqual(t, k, 64<<10)
			got = append(got, b[4:4+k]...)
			b = b[4+k:]
		}
		require.True(t, string(got) == "x"+string(data))
	}
}

// The first error sticks: after it writes do nothing.
func TestWriter_FirstErrorSticks(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	tests := []struct {
		name string
		fail func(w *wire.Writer, out *pieces)
		want string
	}{
		{"of the stream below", func(w *wire.Writer, out *pieces) { out.err = broken; _ = w.Flush() }, "broken pipe"},
		{"of a write that filled the buffer", func(w *wire.Writer, out *pieces) { out.err = broken; _, _ = w.Write(make([]byte, 1<<20)) }, "broken pipe"},
		{"of a message", func(w *wire.Writer, out *pieces) { out.err = broken; _ = w.Message(wire.MsgNoop, nil) }, "broken pipe"},
		{"of Fail", func(w *wire.Writer, _ *pieces) { w.Fail(broken); w.Fail(io.EOF) }, "broken pipe"},
		{"of a string that has no form", func(w *wire.Writer, _ *pieces) { w.Vstring(strings.Repeat("s", 1<<15)) }, "a string of 32768 bytes"},
		{"of an index that has no form", func(w *wire.Writer, _ *pieces) { w.Index(math.MinInt32) }, "an index of -2147483648"},
		{"of data as a message", func(w *wire.Writer, _ *pieces) { _ = w.Message(0, nil) }, "a message of type 0"},
		{"of a message that no peer takes", func(w *wire.Writer, _ *pieces) { _ = w.Message(wire.MsgDeleted, make([]byte, 1<<17)) }, "a message of 131072 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out pieces
			w := wire.NewWriter(&out)
			w.Multiplex()
			w.Byte(1)
			test.fail(w, &out)
			out.err = nil
			before := len(out.got)
			for _, form := range []string{"byte", "short", "int", "varint", "varlong3", "vstring", "index"} {
				item{Form: form}.write(w)
			}
			n, err := w.Write(make([]byte, 1<<18))
			require.Zero(t, n)
			require.EqualError(t, err, test.want)
			require.Equal(t, err, w.Flush())
			require.Equal(t, err, w.Message(wire.MsgNoop, nil))
			require.Equal(t, err, w.KeepAlive())
			require.Equal(t, err, w.Err())
			require.Len(t, out.got, before)
		})
	}
}

type short struct{}

func (short) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestWriter_NoticesAShortWrite(t *testing.T) {
	t.Parallel()
	w := wire.NewWriter(short{})
	w.Int(1)
	require.Equal(t, io.ErrShortWrite, w.Flush())
}
