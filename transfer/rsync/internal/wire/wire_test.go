package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// unhex returns the bytes of a golden text: hex digits, blanks, and quoted text.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var b []byte
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			b = append(b, part...)
			continue
		}
		p, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
		require.NoError(t, err)
		b = append(b, p...)
	}
	return b
}

func frame(kind byte, payload []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(kind)<<24|uint32(len(payload))), payload...)
}

// An item is one value in one of the forms.
type item struct {
	Form string
	V    int64
	S    string
}

func (it item) write(w *wire.Writer) {
	switch it.Form {
	case "byte":
		w.Byte(byte(it.V))
	case "short":
		w.Short(uint16(it.V))
	case "int":
		w.Int(int32(it.V))
	case "varint":
		w.Varint(int32(it.V))
	case "varlong3":
		w.Varlong(it.V, 3)
	case "varlong4":
		w.Varlong(it.V, 4)
	case "vstring":
		w.Vstring(it.S)
	case "index":
		w.Index(int32(it.V))
	default: // full, bytes, read
		_, _ = w.Write([]byte(it.S))
	}
}

// read returns what stands where it was written.
func (it item) read(r *wire.Reader) item {
	got := item{Form: it.Form}
	switch it.Form {
	case "byte":
		got.V = int64(r.Byte())
	case "short":
		got.V = int64(r.Short())
	case "int":
		got.V = int64(r.Int())
	case "varint":
		got.V = int64(r.Varint())
	case "varlong3":
		got.V = r.Varlong(3)
	case "varlong4":
		got.V = r.Varlong(4)
	case "vstring":
		got.S = r.Vstring(wire.MaxVstring)
	case "index":
		got.V = int64(r.Index())
	case "full":
		p := make([]byte, len(it.S))
		r.Full(p)
		got.S = string(p)
	case "bytes":
		got.S = string(r.Bytes(len(it.S)))
	case "skip":
		r.Skip(int64(len(it.S)))
		got.S = it.S
	case "read":
		p, err := io.ReadAll(io.LimitReader(r, int64(len(it.S))))
		if err == nil {
			got.S = string(p)
		}
	}
	return got
}

// numbers are of every length, and the borders between them.
func numbers() *rapid.Generator[int64] {
	return rapid.Custom(func(t *rapid.T) int64 {
		v := rapid.Int64().Draw(t, "v") >> rapid.IntRange(0, 63).Draw(t, "shift")
		return v + rapid.Int64Range(-1, 1).Draw(t, "near")
	})
}

func items(longest int) *rapid.Generator[[]item] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) item {
		it := item{Form: rapid.SampledFrom([]string{
			"byte", "short", "int", "varint", "varlong3", "varlong4", "vstring", "index", "full", "bytes", "skip", "read",
		}).Draw(t, "form")}
		switch it.Form {
		case "byte":
			it.V = int64(byte(numbers().Draw(t, "byte")))
		case "short":
			it.V = int64(uint16(numbers().Draw(t, "short")))
		case "int", "varint":
			it.V = int64(int32(numbers().Draw(t, "int")))
		case "varlong3", "varlong4":
			it.V = numbers().Draw(t, "long")
		case "index":
			it.V = max(int64(int32(numbers().Draw(t, "index"))), -math.MaxInt32)
		default:
			n := rapid.IntRange(0, longest).Draw(t, "length")
			if it.Form == "vstring" {
				n = min(n, wire.MaxVstring)
			}
			it.S = strings.Repeat(rapid.StringN(1, 4, 4).Draw(t, "text")+"\x00x", n)[:n]
		}
		return it
	}), 1, 30)
}

// reframe cuts the data of frames anew, at the lengths that next gives, and puts
// what beside gives before each frame.
func reframe(data []byte, next func() int, beside func() []byte) []byte {
	var out []byte
	for len(data) > 0 {
		out = append(out, beside()...)
		n := min(next(), len(data))
		out = append(out, frame(7, data[:n])...)
		data = data[n:]
	}
	return append(out, beside()...)
}

// What a Writer writes a Reader reads back, whatever the borders of frames and
// wherever messages stand between them.
func TestReader_ReadsBackWhatAWriterWrote(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := items(rapid.SampledFrom([]int{10, 200, 200, 5000, 300_000}).Draw(t, "longest")).Draw(t, "items")
		version := rapid.IntRange(29, 32).Draw(t, "version")
		var stream bytes.Buffer
		w := wire.NewWriter(&stream)
		w.SetVersion(version)
		for _, it := range want {
			it.write(w)
		}
		require.NoError(t, w.Flush())
		data := stream.Bytes()

		var sent, heard []wire.Message
		framed := rapid.Bool().Draw(t, "framed")
		if framed {
			lengths := rapid.SampledFrom([]int{0, 1, 3, 40, 70_000, 1 << 20})
			least := len(data)/40 + 1 // else short frames take all the time
			data = reframe(data, func() int { return max(least, lengths.Draw(t, "frame")) }, func() []byte {
				switch rapid.IntRange(0, 3).Draw(t, "beside") {
				case 0:
					m := wire.Message{Type: wire.MessageType(rapid.IntRange(1, 248).Draw(t, "type")), Data: bytes.Repeat([]byte("m"), rapid.SampledFrom([]int{0, 4, 4000, 65536}).Draw(t, "message"))}
					sent = append(sent, m)
					return frame(7+byte(m.Type), m.Data)
				case 1:
					return frame(7, nil)
				}
				return nil
			})
		}
		r := wire.NewReader(&drip{data, func(n int) int { return rapid.IntRange(1, n).Draw(t, "read") }})
		r.SetVersion(version)
		if framed {
			r.Multiplex(func(m wire.Message) error {
				heard = append(heard, wire.Message{Type: m.Type, Data: append([]byte{}, m.Data...)})
				return nil
			})
		}
		for i, it := range want {
			if got := it.read(r); got != it { // cmp.Diff is slow
				t.Fatalf("item %d (-want +got):\n%s\nerror: %v", i, cmp.Diff(it, got), r.Err())
			}
		}
		require.NoError(t, r.Err())
		r.Byte()
		require.Equal(t, io.EOF, r.Err())
		if !reflect.DeepEqual(sent, heard) {
			t.Fatalf("messages (-want +got):\n%s", cmp.Diff(sent, heard))
		}
	})
}

// drip gives its data in reads of the lengths that next says.
type drip struct {
	data []byte
	next func(n int) int
}

func (d *drip) Read(p []byte) (int, error) {
	if len(d.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:d.next(len(p))], d.data)
	d.data = d.data[n:]
	return n, nil
}

// Every item is read back when each of its bytes comes in a frame of its own,
// with a message before it.
func TestReader_ReadsFramesOfOneByte(t *testing.T) {
	t.Parallel()
	for _, version := range []int{29, 32} {
		rapid.Check(t, func(t *rapid.T) {
			want := items(300).Draw(t, "items")
			var stream bytes.Buffer
			w := wire.NewWriter(&stream)
			w.SetVersion(version)
			for _, it := range want {
				it.write(w)
			}
			require.NoError(t, w.Flush())
			n := 0
			r := wire.NewReader(bytes.NewReader(reframe(stream.Bytes(), func() int { return 1 }, func() []byte { return frame(9, []byte("info\n")) })))
			r.SetVersion(version)
			r.Multiplex(func(wire.Message) error { n++; return nil })
			for _, it := range want {
				require.Equal(t, it, it.read(r))
			}
			r.Byte()
			require.Equal(t, io.EOF, r.Err())
			require.Equal(t, stream.Len()+1, n)
		})
	}
}

// The bytes of each form.
func TestWriter_Forms(t *testing.T) {
	t.Parallel()
	index := func(v ...int64) (its []item) {
		for _, v := range v {
			its = append(its, item{Form: "index", V: v})
		}
		return its
	}
	one := func(form string, v int64) []item { return []item{{Form: form, V: v}} }
	tests := []struct {
		name    string
		version int
		items   []item
		bytes   string
	}{
		{"a short is low first", 32, one("short", 0xa000), "00 a0"},
		{"an int is low first", 32, one("int", 0x41ed), "ed 41 00 00"},
		{"an int is in two's complement", 32, one("int", -2), "fe ff ff ff"},
		{"varint 0 is a byte", 32, one("varint", 0), "00"},
		{"varint 127 is a byte", 32, one("varint", 127), "7f"},
		{"varint 128 has one more, since the first counts", 32, one("varint", 128), "80 80"},
		{"the top of a varint is in the first byte", 32, one("varint", 0x2098), "a0 98"},
		{"varint 0x1fe", 32, one("varint", 0x1fe), "81 fe"},
		{"a varint whose top finds no room", 32, one("varint", 500000000), "f0 00 65 cd 1d"},
		{"a negative varint has five bytes", 32, one("varint", -1), "f0 ff ff ff ff"},
		{"varlong 4096 of at least 3", 32, one("varlong3", 4096), "00 00 10"},
		{"varlong 13 of at least 3", 32, one("varlong3", 13), "00 0d 00"},
		{"varlong of the mtime of 2024-01-02", 32, one("varlong4", 1704164645), "65 25 7d 93"},
		{"a negative varlong of at least 4 has nine bytes", 32, one("varlong4", -1), "f8 ff ff ff ff ff ff ff ff"},
		{"a negative varlong of at least 3 has nine bytes", 32, one("varlong3", -1), "fc ff ff ff ff ff ff ff ff"},
		{"a vstring of 127 has a length of one byte", 32, []item{{Form: "vstring", S: strings.Repeat("v", 127)}}, `7f "` + strings.Repeat("v", 127) + `"`},
		{"a vstring of 300 has a length of two bytes, high first", 32, []item{{Form: "vstring", S: strings.Repeat("v", 300)}}, `81 2c "` + strings.Repeat("v", 300) + `"`},
		{"done is a zero byte", 32, index(-1), "00"},
		{"done changes no state", 32, index(1, -1, 2), "02 00 01"},
		{"a small step is a byte", 32, index(0, 1, 254), "01 01 fd"},
		{"a step of 254 has two bytes, high first", 32, index(253), "fe 00 fe"},
		{"no step has two bytes", 32, index(5, 5), "06 fe 00 00"},
		{"a step of 32767 has two bytes", 32, index(32766), "fe 7f ff"},
		{"a longer step is the value, top first and then low first", 32, index(0x12345678), "fe 92 78 56 34"},
		{"a step back is the value", 32, index(7, 3), "08 fe 80 03 00 00"},
		{"a negative index has a state of its own", 32, index(9, -2, 10, -3, -101), "0a ff 01 01 ff 01 ff 62"},
		{"29: a varint is an int", 29, one("varint", 127), "7f 00 00 00"},
		{"29: a varlong that fits is an int", 29, one("varlong3", math.MaxInt32), "ff ff ff 7f"},
		{"29: a longer varlong is -1 and eight bytes", 29, one("varlong3", 1<<31), "ff ff ff ff 00 00 00 80 00 00 00 00"},
		{"29: an index is an int", 29, index(1, -1), "01 00 00 00 ff ff ff ff"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var stream bytes.Buffer
			w := wire.NewWriter(&stream)
			w.SetVersion(test.version)
			for _, it := range test.items {
				it.write(w)
			}
			require.NoError(t, w.Flush())
			require.Equal(t, hex.EncodeToString(unhex(t, test.bytes)), hex.EncodeToString(stream.Bytes()))
			r := wire.NewReader(&stream)
			r.SetVersion(test.version)
			for _, it := range test.items {
				require.Equal(t, it, it.read(r))
			}
			require.NoError(t, r.Err())
		})
	}
}

// pull is what an rsync 3.5.0 server says when a client with the capabilities
// LsfxCIvu pulls a directory with one file "f", which holds "hello, world\n".
const pull = `
	20 00 00 00  81 fe  23 "xxh128 xxh3 xxh64 md5 md4 sha1 none"  01 00 00 00
	20 00 00 07  19 01 2e  00 00 10  65 25 7d 93  ed 41 00 00
	             a0 98 01 66  00 0d 00  f0 00 65 cd 1d  a4 81 00 00  00 00
	39 00 00 07  02 00 a0  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
	             0d 00 00 00 "hello, world` + "\n" + `"  00 00 00 00
	             b8 2c 42 cc ef fa c4 2f 63 1a a1 64 33 d7 f7 ae  00
	02 00 00 07  00 00
	10 00 00 07  00 27 00  00 67 00  00 0d 00  00 01 00  00 00 00  00`

// values reads or writes the items of pull: what do does with each value.
func values(do func(form string, v int64, s string), multiplex, flush func()) {
	i := func(form string, vs ...int64) {
		for _, v := range vs {
			do(form, v, "")
		}
	}
	i("int", 32)
	i("varint", 0x1fe)
	do("vstring", 0, "xxh128 xxh3 xxh64 md5 md4 sha1 none")
	i("int", 1)
	multiplex()
	i("varint", 0x19)
	i("byte", 1, '.')
	i("varlong3", 4096)
	i("varlong4", 1704164645)
	i("int", 0o40755)
	i("varint", 0x2098)
	i("byte", 1, 'f')
	i("varlong3", 13)
	i("varint", 500000000)
	i("int", 0o100644)
	i("varint", 0, 0)
	flush()
	i("index", 1)
	i("short", 0xa000)
	i("int", 0, 0, 0, 0, 13)
	do("full", 0, "hello, world\n")
	i("int", 0)
	do("bytes", 0, "\xb8\x2c\x42\xcc\xef\xfa\xc4\x2f\x63\x1a\xa1\x64\x33\xd7\xf7\xae")
	i("index", wire.Done)
	flush()
	i("index", wire.Done, wire.Done)
	flush()
	i("varlong3", 0x27, 0x67, 13, 1, 0)
	i("index", wire.Done)
	flush()
}

// A whole session of a real server, written and read.
func TestWriter_WritesASessionAsRsyncDoes(t *testing.T) {
	t.Parallel()
	var stream bytes.Buffer
	w := wire.NewWriter(&stream)
	values(func(form string, v int64, s string) { item{form, v, s}.write(w) }, w.Multiplex, func() { require.NoError(t, w.Flush()) })
	require.Equal(t, hex.EncodeToString(unhex(t, pull)), hex.EncodeToString(stream.Bytes()))
}

func TestReader_ReadsASessionOfRsync(t *testing.T) {
	t.Parallel()
	r := wire.NewReader(bytes.NewReader(unhex(t, pull)))
	values(func(form string, v int64, s string) {
		want := item{form, v, s}
		require.Equal(t, want, want.read(r))
	}, func() { r.Multiplex(nil) }, func() {})
	require.NoError(t, r.Err())
	r.Byte()
	require.Equal(t, io.EOF, r.Err())
}

// A frame may be as long as its header can tell, and no data but that of frames
// is taken for data.
func TestReader_ReadsTheLongestFrame(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)[:1<<24-1]
	stream := slices.Concat(frame(7, data), frame(9, []byte("hi")), frame(7, []byte{5}))
	for _, step := range []int{1000, 32 << 10, 300 << 10, 1 << 24} {
		t.Run(fmt.Sprint("in steps of ", step), func(t *testing.T) {
			t.Parallel()
			for _, how := range []string{"full", "bytes", "read"} {
				r := wire.NewReader(bytes.NewReader(stream))
				var heard int
				r.Multiplex(func(wire.Message) error { heard++; return nil })
				for at := 0; at < len(data); at += step {
					want := item{how, 0, string(data[at:min(at+step, len(data))])}
					require.True(t, want == want.read(r), "at %d", at)
				}
				require.Zero(t, heard)
				require.Equal(t, byte(5), r.Byte())
				require.Equal(t, 1, heard)
			}
		})
	}
}
