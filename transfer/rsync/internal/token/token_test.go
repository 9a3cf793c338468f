package token_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/transfer/rsync/internal/token"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

var methods = []string{"none", "zstd", "lz4", "zlibx"}

// An op is what a Writer is given: literal data, or Count blocks from Block on.
type op struct {
	Literal      []byte
	Block, Count int32
}

func write(t testing.TB, method string, files [][]op) []byte {
	t.Helper()
	var stream bytes.Buffer
	w := wire.NewWriter(&stream)
	tokens, err := token.NewWriter(w, method)
	require.NoError(t, err)
	for _, file := range files {
		writeFile(tokens, file)
		w.Int(-7) // what stands between files
	}
	require.NoError(t, w.Flush())
	return stream.Bytes()
}

func writeFile(w *token.Writer, file []op) {
	for _, o := range file {
		if o.Count == 0 {
			w.Literal(o.Literal)
		}
		for i := range o.Count {
			w.Block(o.Block + i)
		}
	}
	w.End()
}

func readFile(r *token.Reader) (file []op, err error) {
	for {
		literal, block, count, err := r.Next()
		if err != nil || literal == nil && count == 0 {
			return file, err
		}
		if len(literal) > 64<<10 || literal != nil && (len(literal) == 0 || count != 0) || count < 0 || block < 0 || int64(block)+int64(count) > math.MaxInt32+1 {
			panic("Next breaks its word")
		}
		file = append(file, op{bytes.Clone(literal), block, count})
	}
}

// joined puts together what may be cut or grouped in different ways.
func joined(file []op) (all []op) {
	for _, o := range file {
		last := len(all) - 1
		switch {
		case o.Count == 0 && len(o.Literal) == 0:
		case last >= 0 && all[last].Count == 0 && o.Count == 0:
			all[last].Literal = append(all[last].Literal, o.Literal...)
		case last >= 0 && all[last].Count > 0 && o.Count > 0 && int64(o.Block) == int64(all[last].Block)+int64(all[last].Count):
			all[last].Count += o.Count
		default:
			all = append(all, op{bytes.Clone(o.Literal), o.Block, o.Count})
		}
	}
	return all
}

func random(seed uint64, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p)
	return p
}

func literals(longest int) *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		n := rapid.IntRange(0, longest).Draw(t, "length") >> rapid.IntRange(0, 20).Draw(t, "shift")
		noise := random(uint64(rapid.Uint16().Draw(t, "seed")), n)
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			clear(noise)
		case 1:
			copy(noise, bytes.Repeat([]byte("2026 268 21 "), n/12))
		case 2:
			for i := range noise {
				noise[i] &= 7
			}
		}
		return noise
	})
}

func ops(longest int) *rapid.Generator[[]op] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
		if rapid.Bool().Draw(t, "literal") {
			return op{Literal: literals(longest).Draw(t, "data")}
		}
		block := rapid.Int32Range(0, math.MaxInt32).Draw(t, "block") >> rapid.IntRange(0, 31).Draw(t, "shift")
		count := rapid.SampledFrom([]int32{1, 1, 2, 3, 100}).Draw(t, "count")
		return op{Block: block, Count: min(count, math.MaxInt32-block) + int32(block>>30&1)}
	}), 0, 8)
}

// What a Writer is given a Reader returns, whatever the method and the frames.
func TestReader_ReturnsWhatAWriterWasGiven(t *testing.T) {
	t.Parallel()
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				files := rapid.SliceOfN(ops(150_000), 1, 3).Draw(t, "files")
				var stream bytes.Buffer
				w := wire.NewWriter(&stream)
				framed := rapid.Bool().Draw(t, "framed")
				if framed {
					w.Multiplex()
				}
				tw, err := token.NewWriter(w, method)
				require.NoError(t, err)
				for _, file := range files {
					writeFile(tw, file)
					if rapid.Bool().Draw(t, "flush") {
						require.NoError(t, w.Flush())
					}
					w.Int(-7)
				}
				require.NoError(t, w.Flush())

				r := wire.NewReader(&stream)
				if framed {
					r.Multiplex(nil)
				}
				tr, err := token.NewReader(r, method)
				require.NoError(t, err)
				for i, file := range files {
					got, err := readFile(tr)
					require.NoError(t, err)
					if want, got := joined(file), joined(got); !reflect.DeepEqual(want, got) { // cmp.Diff is slow
						t.Fatalf("file %d (-want +got):\n%s", i, cmp.Diff(want, got))
					}
					require.Equal(t, int32(-7), r.Int(), "a Reader takes nothing after the end of a file")
				}
				_, _, _, err = tr.Next()
				require.Equal(t, io.ErrUnexpectedEOF, err)
			})
		})
	}
}

// A literal of some MiB, compressible and not, comes back.
func TestReader_ReturnsLongLiterals(t *testing.T) {
	t.Parallel()
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			for _, data := range [][]byte{random(1, 2<<20+17), make([]byte, 2<<20+17), bytes.Repeat(random(2, 300_001), 7)} {
				stream := write(t, method, [][]op{{{Literal: data}}})
				tr, err := token.NewReader(wire.NewReader(bytes.NewReader(stream)), method)
				require.NoError(t, err)
				file, err := readFile(tr)
				require.NoError(t, err)
				file = joined(file)
				require.Len(t, file, 1)
				require.True(t, bytes.Equal(data, file[0].Literal))
			}
		})
	}
}

// The bytes of each form.
func TestWriter_Forms(t *testing.T) {
	t.Parallel()
	blocks := func(b ...int32) (file []op) {
		for _, b := range b {
			file = append(file, op{Block: b, Count: 1})
		}
		return file
	}
	tests := []struct {
		name   string
		method string
		file   []op
		want   string
	}{
		{"plain: a literal", "none", []op{{Literal: []byte("hello")}}, "05000000 68656c6c6f 00000000"},
		{"plain: an empty literal is nothing, not the end", "none", []op{{Literal: []byte{}}}, "00000000"},
		{"plain: a block", "none", blocks(0, 1, math.MaxInt32), "ffffffff feffffff 00000080 00000000"},
		{"an empty file", "lz4", nil, "00"},
		{"the first block is relative to 0", "lz4", blocks(0), "80 00"},
		{"a block after 63 others is relative", "lz4", blocks(63), "bf 00"},
		{"a block after 64 others is absolute", "lz4", blocks(64), "2040000000 00"},
		{"a step back is absolute", "lz4", blocks(5, 3), "85 2003000000 00"},
		{"the same block again is relative", "lz4", blocks(5, 5), "85 80 00"},
		{"the greatest number", "lz4", blocks(math.MaxInt32), "20ffffff7f 00"},
		{"a run", "lz4", []op{{Block: 2, Count: 3}}, "c2 0200 00"},
		{"a run far off", "lz4", []op{{Block: 1000, Count: 2}}, "21e8030000 0100 00"},
		{"after a run the last of it counts", "lz4", append([]op{{Block: 2, Count: 3}}, blocks(6)...), "c2 0200 82 00"},
		{"the longest run", "lz4", []op{{Block: 0, Count: 65536}}, "c0 ffff 00"},
		{"a longer run is two", "lz4", []op{{Block: 0, Count: 65538}}, "c0 ffff c1 0100 00"},
		{"lz4: data is an LZ4 block", "lz4", []op{{Literal: []byte("hello")}, {Block: 1, Count: 1}}, "4006 5068656c6c6f 81 00"},
		{"zlibx: data without the tail of the flush", "zlibx", []op{{Literal: []byte("hello")}, {Block: 1, Count: 1}}, "400b 00 0500 faff 68656c6c6f 00 81 00"},
		{"zlibx: a second stretch is of the same stream", "zlibx", []op{{Literal: []byte("hello hello")}, {Block: 1, Count: 1}, {Literal: []byte("hello")}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := write(t, test.method, [][]op{test.file})
			if test.want != "" {
				require.Equal(t, strings.ReplaceAll(test.want, " ", "")+"f9ffffff", hex.EncodeToString(got))
			}
			tr, err := token.NewReader(wire.NewReader(bytes.NewReader(got)), test.method)
			require.NoError(t, err)
			file, err := readFile(tr)
			require.NoError(t, err)
			if diff := cmp.Diff(joined(test.file), joined(file)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A Writer writes literals of at most 32768 bytes without compression, and an
// LZ4 block that decodes to at most 16383.
func TestWriter_KeepsLiteralsShort(t *testing.T) {
	t.Parallel()
	for b := write(t, "none", [][]op{{{Literal: random(3, 100_000)}}}); len(b) > 4; {
		n := int32(binary.LittleEndian.Uint32(b))
		require.LessOrEqual(t, n, int32(32768))
		b = b[4+max(0, n):]
	}
	for _, data := range [][]byte{random(3, 100_000), make([]byte, 100_000)} {
		out := make([]byte, 16383)
		for b := write(t, "lz4", [][]op{{{Literal: data}}}); b[0] != 0; {
			n := int(b[0]&0x3f)<<8 | int(b[1])
			_, err := lz4.UncompressBlock(b[2:2+n], out)
			require.NoError(t, err)
			b = b[2+n:]
		}
	}
}

func item(p []byte) []byte {
	var b []byte
	for len(p) > 0 {
		n := min(len(p), 16383)
		b = append(append(b, 0x40|byte(n>>8), byte(n)), p[:n]...)
		p = p[n:]
	}
	return b
}

func deflated(t testing.TB, p []byte, end bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	require.NoError(t, err)
	_, err = w.Write(p)
	require.NoError(t, err)
	if end {
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	require.NoError(t, w.Flush())
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// deflatedAfter is the second stretch of a stream, which may refer to the first.
func deflatedAfter(t testing.TB, first, second []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 9)
	require.NoError(t, err)
	for _, p := range [][]byte{first, second} {
		b.Reset()
		_, err = w.Write(p)
		require.NoError(t, err)
		require.NoError(t, w.Flush())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

func zstandard(t testing.TB, p []byte, end bool, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append(opts, zstd.WithEncoderConcurrency(1))...)
	require.NoError(t, err)
	_, err = w.Write(p)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	if end {
		require.NoError(t, w.Close())
	}
	return b.Bytes()
}

// What is not of the method is an error that wraps wire.ErrInvalid, and sticks.
func TestReader_RefusesWhatIsNotOfTheMethod(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("The sum of the window. "), 50)
	first := deflated(t, random(1, 3000), false)
	second := deflatedAfter(t, random(1, 3000), random(1, 3000))
	tests := []struct {
		name   string
		method string
		stream []byte
	}{
		{"an item of an unknown kind", "lz4", []byte{0x01, 0, 0, 0}},
		{"an item between runs and data", "lz4", []byte{0x22, 0, 0, 0, 0, 0}},
		{"a negative block", "lz4", []byte{0x20, 0, 0, 0, 0x80}},
		{"a run beyond the greatest number", "lz4", []byte{0x21, 0xff, 0xff, 0xff, 0x7f, 1, 0}},
		{"a step beyond the greatest number", "lz4", []byte{0x20, 0xff, 0xff, 0xff, 0x7f, 0x81}},
		{"lz4: garbage", "lz4", append(item([]byte{0xff, 0xff, 0xff, 1}), 0)},
		{"lz4: more than 64 KiB from one item", "lz4", append(item(lz4Zeros(t, 70_000)), 0)},
		{"zlibx: garbage", "zlibx", append(item([]byte{7, 7, 7}), 0)},
		{"zlibx: cut", "zlibx", append(item(deflated(t, text, false)[:20]), 0)},
		{"zlibx: a stream that ends", "zlibx", append(item(deflated(t, text, true)), 0)},
		{"zlibx: data after the end of the stream", "zlibx", append(item(append(deflated(t, text, true), text...)), 0)},
		{"zlibx: a distance beyond the beginning of the file", "zlibx", append(item([]byte{0x03, 0x02, 0, 0}), 0)},
		{"zlibx: a distance into the file before", "zlibx", append(append(item(first), 0), append(item(second), 0)...)},
		{"zstd: garbage", "zstd", append(item(text), 0)},
		{"zstd: cut", "zstd", append(item(zstandard(t, text, false)[:20]), 0)},
		{"zstd: cut in the header", "zstd", append(item(zstandard(t, text, false)[:5]), 0)},
		{"zstd: a frame that ends", "zstd", append(item(zstandard(t, text, true)), 0)},
		{"zstd: a last block", "zstd", append(item([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 1<<3 | 1, 0, 0, 'x'}), 0)},
		{"zstd: a window of more than 8 MiB", "zstd", append(item(zstandard(t, text, false, zstd.WithWindowSize(16<<20))), 0)},
		{"zstd: a block of 2 MiB", "zstd", append(item(append(zstandard(t, nil, false), 0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0xf8, 0xff, 0xff)), 0)},
		{"zstd: a frame of one segment of 1 GiB", "zstd", append(item([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40, 0x08, 0, 0, 'x'}), 0)},
		{"zstd: a corrupt block", "zstd", append(item(append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0x54, 0, 0}, text[:10]...)), 0)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := wire.NewReader(bytes.NewReader(append(test.stream, make([]byte, 20)...)))
			tr, err := token.NewReader(r, test.method)
			require.NoError(t, err)
			for err == nil {
				_, err = readFile(tr)
			}
			require.ErrorIs(t, err, wire.ErrInvalid)
			require.Equal(t, err, r.Err())
			_, _, _, again := tr.Next()
			require.Equal(t, err, again)
		})
	}
}

func lz4Zeros(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, lz4.CompressBlockBound(n))
	var c lz4.Compressor
	k, err := c.CompressBlock(make([]byte, n), b)
	require.NoError(t, err)
	return b[:k]
}

// A deflate stream goes on over the blocks of a file: what comes after them may
// refer to what came before.
func TestReader_KeepsTheWindowOfAFile(t *testing.T) {
	t.Parallel()
	data := random(9, 30_000)
	var deflate, stream bytes.Buffer
	w, err := flate.NewWriter(&deflate, 9)
	require.NoError(t, err)
	const n = 10
	for range n {
		_, err := w.Write(data)
		require.NoError(t, err)
		require.NoError(t, w.Flush())
		stream.Write(item(bytes.TrimSuffix(deflate.Bytes(), []byte{0, 0, 0xff, 0xff})))
		stream.WriteByte(0x80)
		deflate.Reset()
	}
	stream.WriteByte(0)
	require.Less(t, stream.Len(), 2*len(data))
	tr, err := token.NewReader(wire.NewReader(&stream), "zlibx")
	require.NoError(t, err)
	file, err := readFile(tr)
	require.NoError(t, err)
	file = joined(file)
	require.Len(t, file, 2*n)
	for i, o := range file {
		require.Equal(t, int32(i%2), o.Count)
		require.True(t, o.Count == 1 || bytes.Equal(data, o.Literal))
	}
}

// A block without content, as some flushes leave it, is passed over wherever it stands.
func TestReader_PassesOverEmptyZstdBlocks(t *testing.T) {
	t.Parallel()
	empty, full := []byte{0, 0, 0}, []byte{1 << 3, 0, 0, 'x'}
	stream := slices.Concat(
		item([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}), item(empty), item(full), item(empty), []byte{0x80},
		item(empty), []byte{0x80}, item(empty), item(full), []byte{0},
	)
	tr, err := token.NewReader(wire.NewReader(bytes.NewReader(stream)), "zstd")
	require.NoError(t, err)
	file, err := readFile(tr)
	require.NoError(t, err)
	want := []op{{Literal: []byte("x")}, {Count: 1}, {Count: 1}, {Literal: []byte("x")}}
	require.Empty(t, cmp.Diff(want, file))
}

// A method that is not known here is refused by name, before anything is written.
func TestNewReader_RefusesUnknownMethods(t *testing.T) {
	t.Parallel()
	_, err := token.NewReader(wire.NewReader(nil), "zlib")
	require.EqualError(t, err, `unsupported compression "zlib"`)
	_, err = token.NewWriter(wire.NewWriter(nil), "zlib")
	require.EqualError(t, err, `unsupported compression "zlib"`)
}

// Every cut of a stream is an error, and none is taken for the end of a file.
func TestReader_NoticesEveryCut(t *testing.T) {
	t.Parallel()
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			file := []op{{Literal: random(4, 60)}, {Block: 70, Count: 3}, {Literal: make([]byte, 300)}, {Block: 2, Count: 1}, {Block: 9, Count: 2}}
			stream := bytes.TrimSuffix(write(t, method, [][]op{file}), []byte{0xf9, 0xff, 0xff, 0xff})
			for n := range stream {
				tr, err := token.NewReader(wire.NewReader(bytes.NewReader(stream[:n])), method)
				require.NoError(t, err)
				_, err = readFile(tr)
				require.Equal(t, io.ErrUnexpectedEOF, err, "cut at %d", n)
			}
		})
	}
}

// An error of the Writer is that of the stream below, or of a block with no number.
func TestWriter_ErrorsAreThoseOfTheStream(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	for _, method := range methods {
		pr, pw := io.Pipe()
		require.NoError(t, pr.CloseWithError(broken))
		w := wire.NewWriter(pw)
		tw, err := token.NewWriter(w, method)
		require.NoError(t, err)
		writeFile(tw, []op{{Literal: random(5, 1<<20)}, {Block: 3, Count: 2}})
		require.ErrorIs(t, w.Flush(), broken)

		w = wire.NewWriter(io.Discard)
		tw, err = token.NewWriter(w, method)
		require.NoError(t, err)
		tw.Block(-1)
		require.EqualError(t, w.Err(), "a block with the number -1")
	}
}

// A bomb is delivered in pieces, and does not fill the memory on the way.
func TestReader_DeliversABombInPieces(t *testing.T) {
	const size = 16 << 20
	zeros := make([]byte, size)
	bombs := map[string][]byte{
		"zlibx": deflated(t, zeros, false),
		"zstd":  zstandard(t, zeros, false, zstd.WithWindowSize(8<<20)),
	}
	zeros = nil
	for method, bomb := range bombs {
		stream := append(item(bomb), 0)
		require.Less(t, len(stream), size/200)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tr, err := token.NewReader(wire.NewReader(bytes.NewReader(stream)), method)
		require.NoError(t, err)
		n := 0
		for {
			literal, _, _, err := tr.Next()
			require.NoError(t, err)
			if literal == nil {
				break
			}
			require.LessOrEqual(t, len(literal), 64<<10)
			n += len(literal)
		}
		runtime.ReadMemStats(&after)
		require.Equal(t, size, n)
		t.Logf("%s: %d bytes allocated in all", method, after.TotalAlloc-before.TotalAlloc)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(10<<20), method)
	}
}

// No peer makes a Reader panic, go on for ever, or break its word.
func FuzzReader_SurvivesAnyPeer(f *testing.F) {
	text := bytes.Repeat([]byte("The sum of the window. "), 50)
	for i, method := range methods {
		f.Add(uint8(i), write(f, method, [][]op{{{Literal: text}, {Block: 70, Count: 3}, {Literal: text}}, {{Literal: random(6, 300)}}}))
	}
	f.Add(uint8(1), item(zstandard(f, make([]byte, 300_000), true)))
	f.Add(uint8(3), item(deflated(f, text, true)))
	f.Fuzz(func(t *testing.T, method uint8, stream []byte) {
		r := wire.NewReader(bytes.NewReader(stream))
		tr, err := token.NewReader(r, methods[int(method)%len(methods)])
		require.NoError(t, err)
		for n := 0; err == nil; {
			var literal []byte
			var block, count int32
			literal, block, count, err = tr.Next()
			require.LessOrEqual(t, len(literal), 64<<10)
			require.True(t, literal == nil || len(literal) > 0 && count == 0)
			require.True(t, block >= 0 && count >= 0 && int64(block)+int64(count) <= math.MaxInt32+1)
			if n += len(literal); n > 4<<20 {
				return // a bomb goes on for long
			}
		}
		require.Equal(t, err == io.ErrUnexpectedEOF, r.Err() == io.EOF || r.Err() == io.ErrUnexpectedEOF)
	})
}
