package sum_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
	"golang.org/x/crypto/md4" //lint:ignore SA1019 version 29 of the protocol has no other sum
)

func TestNewFile_HasTheKnownSums(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, algorithm, file, want string
	}{
		{"xxh128, low half first, as rsync 3.5.0 sends it", "xxh128", "hello, world\n", "b82c42cceffac42f631aa16433d7f7ae"},
		{"md5, RFC 1321, A.5", "md5", "", "d41d8cd98f00b204e9800998ecf8427e"},
		{"md5, RFC 1321, A.5", "md5", "message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
		{"md4, RFC 1320, A.5", "md4", "", "31d6cfe0d16ae931b73c59d7e0c089c0"},
		{"md4, RFC 1320, A.5", "md4", "message digest", "d9130a8164549fe818874806e1c7014b"},
		{"sha1, RFC 3174, 7.3", "sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
		{"xxh64 of nothing is 0xef46db3751d8e999, low byte first", "xxh64", "", "99e9d85137db46ef"},
		{"xxh3 of nothing is 0x2d06800538d394c2, low byte first", "xxh3", "", "c294d3380580062d"},
	}
	for _, tt := range tests {
		s := sum.Session{Algorithm: algorithm(t, tt.algorithm), Seed: 1}
		for name, h := range map[string]interface {
			Write([]byte) (int, error)
			Sum([]byte) []byte
			Size() int
			Reset()
		}{"file": s.NewFile(), "list": s.NewList()} {
			for range 2 {
				h.Write([]byte(tt.file))
				require.Equal(t, tt.want, hex.EncodeToString(h.Sum(nil)), "%s: %s of %q", tt.rule, name, tt.file)
				require.Equal(t, s.Algorithm.Size(), h.Size())
				h.Reset()
			}
		}
	}
}

// Seeds are sign-extended for the xxh family, come before the data in md5 and
// sha1, and after it in md4 and in the old order of md5.
func TestBlockHasher_PutsTheSeedWhereTheAlgorithmWantsIt(t *testing.T) {
	t.Parallel()
	block := bytes.Repeat([]byte("a block of the basis\x80\xff"), 40)
	seed := []byte{0xfe, 0xff, 0xff, 0xff}
	const extended = 0xffff_ffff_ffff_fffe
	wide := xxh3.Hash128Seed(block, extended)
	xxh := xxhash.NewWithSeed(extended)
	xxh.Write(block)
	le := binary.LittleEndian
	md5First := md5.Sum(append(bytes.Clone(seed), block...))
	md5Last := md5.Sum(append(bytes.Clone(block), seed...))
	md5None := md5.Sum(block)
	sha1First := sha1.Sum(append(bytes.Clone(seed), block...))
	sha1None := sha1.Sum(block)
	md4Last := md4.New()
	md4Last.Write(block)
	md4Last.Write(seed)

	tests := []struct {
		rule, algorithm string
		session         sum.Session
		want            []byte
	}{
		{"xxh128: sign-extended, low half first", "xxh128", sum.Session{Seed: -2}, le.AppendUint64(le.AppendUint64(nil, wide.Lo), wide.Hi)},
		{"xxh3: sign-extended", "xxh3", sum.Session{Seed: -2}, le.AppendUint64(nil, xxh3.HashSeed(block, extended))},
		{"xxh64: sign-extended", "xxh64", sum.Session{Seed: -2}, le.AppendUint64(nil, xxh.Sum64())},
		{"xxh64: no seed", "xxh64", sum.Session{}, le.AppendUint64(nil, xxhash.Sum64(block))},
		{"md5: before the block", "md5", sum.Session{Seed: -2}, md5First[:]},
		{"md5, old order: after it", "md5", sum.Session{Seed: -2, SeedLast: true}, md5Last[:]},
		{"md5: zero is left out", "md5", sum.Session{}, md5None[:]},
		{"sha1: before the block", "sha1", sum.Session{Seed: -2, SeedLast: true}, sha1First[:]},
		{"sha1: zero is left out", "sha1", sum.Session{}, sha1None[:]},
		{"md4: after the block", "md4", sum.Session{Seed: -2, Version: 29}, md4Last.Sum(nil)},
	}
	for _, tt := range tests {
		tt.session.Algorithm = algorithm(t, tt.algorithm)
		hasher := tt.session.NewBlock()
		for range 2 {
			require.Equal(t, append([]byte("dst"), tt.want...), hasher.Sum([]byte("dst"), block), tt.rule)
		}
		require.Len(t, tt.want, tt.session.Algorithm.Size(), tt.rule)
	}
}

// The file sum of md4 in version 29 begins with the seed, and no other does.
func TestNewFile_BeginsWithTheSeedInVersion29(t *testing.T) {
	t.Parallel()
	s := sum.Session{Algorithm: algorithm(t, "md4"), Seed: -2, Version: 29}
	want := md4.New()
	want.Write([]byte("\xfe\xff\xff\xfffile"))
	h := s.NewFile()
	for range 2 {
		h.Write([]byte("file"))
		require.Equal(t, want.Sum(nil), h.Sum(nil))
		h.Reset()
	}
	want.Reset()
	want.Write([]byte("file"))
	list := s.NewList()
	list.Write([]byte("file"))
	require.Equal(t, want.Sum(nil), list.Sum(nil))
}

func TestBlockHasher_AllocatesNothing(t *testing.T) {
	for _, name := range sum.Names() {
		hasher := sum.Session{Algorithm: algorithm(t, name), Seed: 7}.NewBlock()
		dst, block := make([]byte, 0, 32), make([]byte, 5000)
		require.Zero(t, testing.AllocsPerRun(10, func() { hasher.Sum(dst, block) }), name)
	}
}

func ExampleSession_NewFile() {
	a, _ := sum.ByName("xxh128")
	h := sum.Session{Algorithm: a, Seed: 1}.NewFile()
	h.Write([]byte("hello, world\n"))
	fmt.Printf("%x\n", h.Sum(nil))
	// Output: b82c42cceffac42f631aa16433d7f7ae
}
