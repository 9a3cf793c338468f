package token_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/token"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

const (
	seed     = 7
	blockLen = 700
)

// A server is a running rsync --server, after the handshake.
type server struct {
	r *wire.Reader
	w *wire.Writer
}

// serve starts the rsync of this machine in dir. With --checksum-choice and
// --compress-choice nothing is negotiated.
func serve(t *testing.T, dir, method string, args ...string) server {
	t.Helper()
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	args = append([]string{"--server"}, args...)
	args = append(args, "--checksum-choice=md5", "--compress-choice="+method, fmt.Sprintf("--checksum-seed=%d", seed), fmt.Sprintf("--block-size=%d", blockLen), ".", "./")
	// Not the context of t, which is done before the cleanup.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, rsync, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		defer cancel()
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("%v: %v\n%s", cmd.Args, err, stderr.Bytes())
		}
	})
	s := server{wire.NewReader(out), wire.NewWriter(in)}
	s.w.Int(32)
	require.NoError(t, s.w.Flush())
	require.Equal(t, int32(32), s.r.Int())
	require.EqualValues(t, 0x80, s.r.Varint()&0x81) // varints, no incremental recursion
	require.Equal(t, int32(seed), s.r.Int())
	s.w.Multiplex()
	s.r.Multiplex(func(m wire.Message) error { return fmt.Errorf("message %d: %q", m.Type, m.Data) })
	return s
}

func weak(p []byte) int32 {
	var a, b uint32
	for _, x := range p {
		a += uint32(int8(x))
		b += a
	}
	return int32(a&0xffff | b<<16)
}

func blockSum(p []byte) []byte {
	sum := md5.Sum(append(binary.LittleEndian.AppendUint32(nil, seed), p...))
	return sum[:]
}

// files are pairs of an old and a new file whose difference is literals and
// blocks of every form: runs, steps back and forth, data of every kind. Last
// comes one of blocks alone.
func files() (bases, news [][]byte) {
	for i := range uint64(3) {
		base := random(10+i, 300*blockLen)
		noise, text := random(20+i, 200_000), bytes.Repeat([]byte("2026 268 21:04:17 "), 20_000)
		block := func(i, n int) []byte { return base[i*blockLen : (i+n)*blockLen] }
		var b []byte
		for _, p := range [][]byte{
			block(0, 1), block(40, 3), noise, block(41, 1), block(41, 1), text, block(290, 10), text[5:], block(1, 60),
			block(130, 1), make([]byte, 300_000), block(3, 1), noise[:100], text[:65], block(200, 2), noise[:1],
		} {
			b = append(b, p...)
		}
		bases, news = append(bases, base), append(news, b)
	}
	return append(bases, bases[0]), append(news, bases[0][:100*blockLen])
}

// What rsync's sender writes is read: the rsync of this machine sends files
// against basis files, and they come out.
func TestReader_ReadsWhatRsyncSends(t *testing.T) {
	t.Parallel()
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			bases, news := files()
			for i, b := range news {
				require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), b, 0o600))
			}
			s := serve(t, dir, method, "--sender", "-re.LsfxCIvu")
			s.w.Int(0) // no filters
			require.NoError(t, s.w.Flush())
			for s.readEntry() {
			}
			require.Zero(t, s.r.Varint())

			for i, base := range bases {
				s.w.Index(int32(i + 1)) // "." is 0
				s.w.Short(0x8000)
				for _, v := range []int{len(base) / blockLen, blockLen, md5.Size, 0} {
					s.w.Int(int32(v))
				}
				for ; len(base) > 0; base = base[blockLen:] {
					s.w.Int(weak(base[:blockLen]))
					_, _ = s.w.Write(blockSum(base[:blockLen]))
				}
			}
			s.w.Index(wire.Done)
			require.NoError(t, s.w.Flush())

			tokens, err := token.NewReader(s.r, method)
			require.NoError(t, err)
			for i, base := range bases {
				require.Equal(t, int32(i+1), s.r.Index())
				require.Equal(t, uint16(0x8000), s.r.Short())
				s.r.Skip(16)
				file, err := readFile(tokens)
				require.NoError(t, err)
				var got []byte
				matched := 0
				for _, o := range file {
					got = append(got, o.Literal...)
					got = append(got, base[o.Block*blockLen:(o.Block+o.Count)*blockLen]...)
					matched += int(o.Count)
				}
				require.True(t, bytes.Equal(news[i], got), "file %d", i)
				require.GreaterOrEqual(t, matched, 80)
				sum := md5.Sum(got)
				require.Equal(t, sum[:], s.r.Bytes(md5.Size))
			}
			s.endPull(t)
		})
	}
}

// readEntry passes over an entry of the file list.
func (s server) readEntry() bool {
	flags := s.r.Varint()
	if flags == 0 {
		return false
	}
	if flags&0x20 != 0 {
		s.r.Byte()
	}
	s.r.Skip(int64(s.r.Byte()))
	s.r.Varlong(3)
	if flags&0x80 == 0 {
		s.r.Varlong(4)
	}
	if flags&0x2000 != 0 {
		s.r.Varint()
	}
	if flags&0x02 == 0 {
		s.r.Int()
	}
	return s.r.Err() == nil
}

func (s server) endPull(t *testing.T) {
	t.Helper()
	for range 3 {
		s.w.Index(wire.Done)
	}
	require.NoError(t, s.w.Flush())
	for range 3 {
		require.Equal(t, int32(wire.Done), s.r.Index())
	}
	for range 5 {
		s.r.Varlong(3)
	}
	require.Equal(t, int32(wire.Done), s.r.Index())
	s.w.Index(wire.Done)
	require.NoError(t, s.w.Flush())
}

// What a Writer writes rsync's receiver reads: the rsync of this machine makes
// the new files from its basis files.
func TestWriter_WritesWhatRsyncReceives(t *testing.T) {
	t.Parallel()
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			bases, news := files()
			for i, b := range bases {
				require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), b, 0o600))
			}
			s := serve(t, dir, method, "-rIe.LsfxCIvu")
			for i, b := range news {
				s.w.Varint(0x18)
				s.w.Byte(1)
				s.w.Byte('0' + byte(i))
				s.w.Varlong(int64(len(b)), 3)
				s.w.Varlong(1_700_000_000, 4)
				s.w.Int(0o100600)
			}
			s.w.Varint(0)
			s.w.Varint(0)
			require.NoError(t, s.w.Flush())

			tokens, err := token.NewWriter(s.w, method)
			require.NoError(t, err)
			for i, b := range news {
				require.Equal(t, int32(i), s.r.Index())
				flags := s.r.Short()
				require.NotZero(t, flags&0x8000)
				require.Zero(t, flags&0x1800)
				var head [4]int32
				for j := range head {
					head[j] = s.r.Int()
				}
				require.Equal(t, [4]int32{int32(len(bases[i]) / blockLen), blockLen, head[2], 0}, head)
				s.r.Skip(int64(head[0]) * int64(4+head[2]))

				s.w.Index(int32(i))
				s.w.Short(flags)
				for _, v := range head {
					s.w.Int(v)
				}
				sum := md5.Sum(b)
				writeFile(tokens, search(bases[i], b))
				_, _ = s.w.Write(sum[:])
			}
			require.NoError(t, s.w.Flush())
			s.endPush(t)
			for i, want := range news {
				got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got), "file %d", i)
			}
		})
	}
}

func (s server) endPush(t *testing.T) {
	t.Helper()
	for range 3 {
		require.Equal(t, int32(wire.Done), s.r.Index())
		s.w.Index(wire.Done)
		require.NoError(t, s.w.Flush())
	}
	require.Equal(t, int32(wire.Done), s.r.Index())
	s.w.Index(wire.Done)
	require.NoError(t, s.w.Flush())
	require.Equal(t, int32(wire.Done), s.r.Index())
}

// search finds the blocks of the basis in the file.
func search(basis, file []byte) (ops []op) {
	blocks := make(map[string]int32)
	for i := range len(basis) / blockLen {
		blocks[string(basis[i*blockLen:][:16])] = int32(i)
	}
	from := 0
	for at := 0; at+blockLen <= len(file); {
		i, ok := blocks[string(file[at:at+16])]
		if !ok || !bytes.Equal(file[at:at+blockLen], basis[int(i)*blockLen:][:blockLen]) {
			at++
			continue
		}
		ops = append(ops, op{Literal: file[from:at]}, op{Block: i, Count: 1})
		at += blockLen
		from = at
	}
	return append(ops, op{Literal: file[from:]})
}
