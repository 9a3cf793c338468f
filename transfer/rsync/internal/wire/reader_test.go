package wire_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// The end of the stream is io.EOF where an item would begin, and
// io.ErrUnexpectedEOF anywhere else.
func TestReader_TellsTheEndFromACut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		framed bool
		stream string
		read   func(*wire.Reader)
		want   error
	}{
		{"no byte", false, "", func(r *wire.Reader) { r.Byte() }, io.EOF},
		{"no index", false, "", func(r *wire.Reader) { r.Index() }, io.EOF},
		{"no varint", false, "", func(r *wire.Reader) { r.Varint() }, io.EOF},
		{"no bytes", false, "", func(r *wire.Reader) { r.Bytes(3) }, io.EOF},
		{"no data to skip", false, "", func(r *wire.Reader) { r.Skip(3) }, io.EOF},
		{"no bytes, more than a buffer", false, "", func(r *wire.Reader) { r.Bytes(1 << 20) }, io.EOF},
		{"no data, more than a buffer", false, "", func(r *wire.Reader) { r.Full(make([]byte, 1<<20)) }, io.EOF},
		{"no frame", true, "", func(r *wire.Reader) { r.Byte() }, io.EOF},
		{"no frame after a message", true, "00 00 00 31", func(r *wire.Reader) { r.Byte() }, io.EOF},
		{"no frame after an empty one", true, "00 00 00 07", func(r *wire.Reader) { r.Byte() }, io.EOF},
		{"inside an int", false, "01 02 03", func(r *wire.Reader) { r.Int() }, io.ErrUnexpectedEOF},
		{"inside a short", false, "01", func(r *wire.Reader) { r.Short() }, io.ErrUnexpectedEOF},
		{"inside a varint", false, "f0 01", func(r *wire.Reader) { r.Varint() }, io.ErrUnexpectedEOF},
		{"after the first byte of a varint", false, "f0", func(r *wire.Reader) { r.Varint() }, io.ErrUnexpectedEOF},
		{"after the first byte of a varlong", false, "00", func(r *wire.Reader) { r.Varlong(3) }, io.ErrUnexpectedEOF},
		{"inside the length of a vstring", false, "81", func(r *wire.Reader) { r.Vstring(9000) }, io.ErrUnexpectedEOF},
		{"inside a vstring", false, "03 41", func(r *wire.Reader) { r.Vstring(9000) }, io.ErrUnexpectedEOF},
		{"before the text of a vstring", false, "03", func(r *wire.Reader) { r.Vstring(9000) }, io.ErrUnexpectedEOF},
		{"after the sign of an index", false, "ff", func(r *wire.Reader) { r.Index() }, io.ErrUnexpectedEOF},
		{"inside a long index", false, "fe 80 01", func(r *wire.Reader) { r.Index() }, io.ErrUnexpectedEOF},
		{"inside bytes", false, "01 02", func(r *wire.Reader) { r.Bytes(3) }, io.ErrUnexpectedEOF},
		{"inside bytes, more than a buffer", false, "01 02", func(r *wire.Reader) { r.Bytes(1 << 20) }, io.ErrUnexpectedEOF},
		{"inside what is skipped", false, "01 02", func(r *wire.Reader) { r.Skip(3) }, io.ErrUnexpectedEOF},
		{"inside data, more than a buffer", false, "01 02", func(r *wire.Reader) { r.Full(make([]byte, 1<<20)) }, io.ErrUnexpectedEOF},
		{"between frames, inside bytes", true, "01 00 00 07 05", func(r *wire.Reader) { r.Bytes(2) }, io.ErrUnexpectedEOF},
		{"between frames, inside an int", true, "01 00 00 07 05", func(r *wire.Reader) { r.Int() }, io.ErrUnexpectedEOF},
		{"inside a header", true, "01 00", func(r *wire.Reader) { r.Byte() }, io.ErrUnexpectedEOF},
		{"after a header", true, "01 00 00 07", func(r *wire.Reader) { r.Byte() }, io.ErrUnexpectedEOF},
		{"after a header, bytes", true, "09 00 00 07", func(r *wire.Reader) { r.Byte(); r.Bytes(2) }, io.ErrUnexpectedEOF},
		{"after a header, much data", true, "00 00 40 07", func(r *wire.Reader) { r.Full(make([]byte, 1<<20)) }, io.ErrUnexpectedEOF},
		{"inside a message", true, "03 00 00 09 41", func(r *wire.Reader) { r.Byte() }, io.ErrUnexpectedEOF},
		{"after the header of a message", true, "03 00 00 09", func(r *wire.Reader) { r.Byte() }, io.ErrUnexpectedEOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := wire.NewReader(iotest.DataErrReader(bytes.NewReader(unhex(t, test.stream))))
			if test.framed {
				r.Multiplex(nil)
			}
			test.read(r)
			require.Equal(t, test.want, r.Err())
		})
	}
}

// Bytes that no Writer writes are refused.
func TestReader_RefusesWhatIsNotTheProtocol(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		framed bool
		stream string
		read   func(*wire.Reader)
	}{
		{"a varint of six bytes", false, "f8 00 00 00 00 00", func(r *wire.Reader) { r.Varint() }},
		{"a varlong of more than 64 bits", false, "fc 00 00 00 00 00 00 00 00 00 00 00", func(r *wire.Reader) { r.Varlong(4) }},
		{"a vstring that is longer than the caller takes", false, "04 41 41 41 41", func(r *wire.Reader) { r.Vstring(3) }},
		{"a negative index without a difference", false, "ff 00", func(r *wire.Reader) { r.Index() }},
		{"a negative index with two signs", false, "ff ff 01", func(r *wire.Reader) { r.Index() }},
		{"done in its long form", false, "ff fe 00 00", func(r *wire.Reader) { r.Index() }},
		{"a negative zero", false, "ff fe 80 00 00 00", func(r *wire.Reader) { r.Index() }},
		{"an index before the first", false, "fe 00 00", func(r *wire.Reader) { r.Index() }},
		{"an index beyond 31 bits", false, "fe ff ff ff ff 01", func(r *wire.Reader) { r.Index(); r.Index() }},
		{"a negative length of bytes", false, "00", func(r *wire.Reader) { r.Bytes(-1) }},
		{"a negative length to skip", false, "00", func(r *wire.Reader) { r.Skip(-1) }},
		{"a frame of a type below data", true, "01 00 00 06 00", func(r *wire.Reader) { r.Byte() }},
		{"a message of more than 64 KiB", true, "01 00 01 09", func(r *wire.Reader) { r.Byte() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := wire.NewReader(bytes.NewReader(unhex(t, test.stream)))
			if test.framed {
				r.Multiplex(nil)
			}
			test.read(r)
			require.ErrorIs(t, r.Err(), wire.ErrInvalid)
		})
	}
}

// The first error sticks: after it reads return zero values.
func TestReader_FirstErrorSticks(t *testing.T) {
	t.Parallel()
	first := errors.New("first")
	r := wire.NewReader(strings.NewReader(strings.Repeat("\x01", 1000)))
	require.Equal(t, byte(1), r.Byte())
	r.Fail(nil)
	require.NoError(t, r.Err())
	r.Fail(first)
	r.Fail(errors.New("second"))
	for _, it := range []item{{Form: "byte"}, {Form: "short"}, {Form: "int"}, {Form: "varint"}, {Form: "varlong3"}, {Form: "vstring"}, {Form: "index"}} {
		require.Equal(t, it, it.read(r))
	}
	p := []byte("old")
	r.Full(p)
	require.Equal(t, make([]byte, 3), p)
	require.Nil(t, r.Bytes(1))
	require.False(t, r.Buffered())
	n, err := r.Read(p)
	require.Zero(t, n)
	require.Equal(t, first, err)
	r.Skip(3)
	require.Equal(t, first, r.Err())
}

// What a message's function returns, or makes of the Reader by Fail, sticks.
func TestReader_ErrorOfTheMessageFunctionSticks(t *testing.T) {
	t.Parallel()
	first := errors.New("first")
	stream := slices.Concat(frame(7, []byte{1}), frame(8, nil), frame(8, nil), frame(7, []byte{2}))
	for _, fail := range []bool{false, true} {
		r := wire.NewReader(bytes.NewReader(stream))
		calls := 0
		r.Multiplex(func(wire.Message) error {
			calls++
			if fail {
				r.Fail(first)
				return nil
			}
			return first
		})
		require.Equal(t, byte(1), r.Byte())
		require.Zero(t, r.Byte())
		require.Equal(t, first, r.Err())
		require.Equal(t, 1, calls)
	}
}

// A stream below that gives nothing, again and again, ends in an error.
func TestReader_GivesUpWhenNothingComes(t *testing.T) {
	t.Parallel()
	r := wire.NewReader(idle{})
	r.Byte()
	require.Equal(t, io.ErrNoProgress, r.Err())
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// Buffered says whether the next read begins without a Read below.
func TestReader_BufferedMeansNoReadBelow(t *testing.T) {
	t.Parallel()
	stream := slices.Concat(frame(7, []byte("ab")), frame(9, []byte("hi")), frame(7, nil), frame(7, []byte("c")), frame(9, []byte("ho")))
	for cut := range stream {
		below := 0
		r := wire.NewReader(io.MultiReader(
			&counted{bytes.NewReader(stream[:cut]), &below},
			&counted{bytes.NewReader(stream[cut:]), &below},
		))
		r.Multiplex(nil)
		require.False(t, r.Buffered())
		for _, want := range "abc" {
			buffered, before := r.Buffered(), below
			require.Equal(t, byte(want), r.Byte())
			require.Equal(t, buffered, below == before, "cut at %d, before %c", cut, want)
		}
	}
}

type counted struct {
	io.Reader
	n *int
}

func (c *counted) Read(p []byte) (int, error) {
	*c.n++
	return c.Reader.Read(p)
}

// A Reader does not wait for more than the items that were asked for.
func TestReader_AsksForNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	stream := slices.Concat(unhex(t, "20 00 00 00"), frame(9, []byte("hi")), frame(7, []byte("abcd")))
	r := wire.NewReader(iotest.OneByteReader(io.MultiReader(bytes.NewReader(stream), iotest.ErrReader(errors.New("too far")))))
	require.Equal(t, int32(32), r.Int())
	r.Multiplex(nil)
	require.Equal(t, "abc", string(r.Bytes(3)))
	require.Equal(t, byte('d'), r.Byte())
	require.NoError(t, r.Err())
}

// A length that the peer claims costs nothing until its bytes come.
func TestReader_AllocatesAsDataArrives(t *testing.T) {
	allocated := func(f func()) uint64 {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		f()
		runtime.ReadMemStats(&b)
		return b.TotalAlloc - a.TotalAlloc
	}
	r := wire.NewReader(bytes.NewReader(append(unhex(t, "ff ff ff 07"), 1, 2, 3)))
	r.Multiplex(nil)
	require.Less(t, allocated(func() { r.Bytes(math.MaxInt32) }), uint64(1<<20))
	require.Equal(t, io.ErrUnexpectedEOF, r.Err())
}

// No peer makes a Reader panic or go on for ever.
func FuzzReader_SurvivesAnyPeer(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, unhex(f, pull), uint8(32), false)
	f.Add([]byte{3, 4, 7, 4}, unhex(f, pull)[41:], uint8(31), true)
	f.Add([]byte{9, 9, 9}, bytes.Repeat([]byte{0xfe, 0xff}, 100), uint8(30), false)
	f.Add([]byte{2, 5, 6, 7}, bytes.Repeat([]byte{0xff}, 100), uint8(29), true)
	f.Fuzz(func(t *testing.T, program, stream []byte, version uint8, framed bool) {
		r := wire.NewReader(bytes.NewReader(stream))
		r.SetVersion(int(version))
		messages := 0
		if framed {
			r.Multiplex(func(wire.Message) error { messages++; return nil })
		}
		forms := []string{"byte", "short", "int", "varint", "varlong3", "varlong4", "vstring", "index", "full", "bytes", "skip", "read"}
		for _, op := range program {
			it := item{Form: forms[int(op)%len(forms)], S: strings.Repeat("x", int(op))}
			was := r.Err()
			buffered := r.Buffered()
			got := it.read(r)
			if was != nil {
				require.Equal(t, was, r.Err())
				require.Zero(t, got.V)
			}
			if buffered && it.Form != "read" { // which reads on after the first bytes
				require.NotEqual(t, io.EOF, r.Err())
			}
		}
		require.LessOrEqual(t, messages, len(stream)/4)
	})
}
