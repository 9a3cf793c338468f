package sum

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"hash"

	"github.com/cespare/xxhash/v2"
	"github.com/zeebo/xxh3"
	"golang.org/x/crypto/md4" //lint:ignore SA1019 version 29 of the protocol has no other sum
)

// Session is what the two sides of a session agreed on. It may be copied and
// used by several goroutines at once.
type Session struct {
	// Algorithm is the checksum of blocks, files and lists. Its methods below
	// must not be called while it is the zero Algorithm.
	Algorithm Algorithm
	// Seed is the number the server drew.
	Seed int32
	// SeedLast puts the seed after the block in md5, as before version 3.1.2
	// (compatibility bits 5 and 7 not set; rsync 3.5.0 puts it first if either
	// is). Other algorithms are not touched.
	SeedLast bool
	// Version is that of the protocol. Zero means the newest.
	Version int
}

// BlockHasher computes strong sums of blocks. It is for one goroutine.
type BlockHasher struct {
	id            uint8
	seed          uint64 // sign-extended
	before, after []byte // the seed, where it is hashed with the block
	xxh           *xxhash.Digest
	hash          hash.Hash
}

// NewBlock returns a hasher of blocks. Each goroutine needs its own.
func (s Session) NewBlock() *BlockHasher {
	b := &BlockHasher{id: s.Algorithm.id, seed: uint64(int64(s.Seed))}
	var seed []byte
	if s.Seed != 0 {
		seed = binary.LittleEndian.AppendUint32(nil, uint32(s.Seed))
	}
	switch s.Algorithm.id {
	case idXXH64:
		b.xxh = xxhash.NewWithSeed(b.seed)
	case idMD5:
		b.hash, b.before = md5.New(), seed
		if s.SeedLast {
			b.before, b.after = nil, seed
		}
	case idMD4:
		b.hash, b.after = md4.New(), seed
	case idSHA1:
		b.hash, b.before = sha1.New(), seed
	}
	return b
}

// Sum appends the full strong sum of block to dst, in the order of the wire.
// It allocates nothing if dst has room for it.
func (b *BlockHasher) Sum(dst, block []byte) []byte {
	switch b.id {
	case idXXH128:
		return append128(dst, xxh3.Hash128Seed(block, b.seed))
	case idXXH3:
		return binary.LittleEndian.AppendUint64(dst, xxh3.HashSeed(block, b.seed))
	case idXXH64:
		b.xxh.ResetWithSeed(b.seed)
		b.xxh.Write(block)
		return binary.LittleEndian.AppendUint64(dst, b.xxh.Sum64())
	}
	b.hash.Reset()
	b.hash.Write(b.before)
	b.hash.Write(block)
	b.hash.Write(b.after)
	return b.hash.Sum(dst)
}

// NewFile returns a hash of a whole file, as it ends an answer. Its Sum is in
// the order of the wire. Reset takes it back to its beginning.
//
// The seed has no part in it, except in md4 of version 29, which begins with it.
func (s Session) NewFile() hash.Hash {
	h := s.NewList()
	if s.Algorithm.id == idMD4 && s.Version != 0 && s.Version <= 29 {
		return newSeeded(h, s.Seed)
	}
	return h
}

// NewList returns a hash of a whole file, as it stands in a file list. Its Sum
// is in the order of the wire; the seed has no part in it.
func (s Session) NewList() hash.Hash {
	switch s.Algorithm.id {
	case idXXH128:
		return low128{xxh3.New()}
	case idXXH3:
		return low64{xxh3.New()}
	case idXXH64:
		return low64{xxhash.New()}
	case idMD5:
		return md5.New()
	case idMD4:
		return md4.New()
	case idSHA1:
		return sha1.New()
	}
	panic("sum: session without an algorithm")
}

// low64 writes its sum with the low byte first.
type low64 struct{ hash.Hash64 }

func (h low64) Sum(b []byte) []byte { return binary.LittleEndian.AppendUint64(b, h.Sum64()) }

// low128 is the 128-bit sum of XXH3, low half first.
type low128 struct{ *xxh3.Hasher }

func (h low128) Sum(b []byte) []byte { return append128(b, h.Sum128()) }

func (h low128) Size() int { return 16 }

func append128(b []byte, sum xxh3.Uint128) []byte {
	b = binary.LittleEndian.AppendUint64(b, sum.Lo)
	return binary.LittleEndian.AppendUint64(b, sum.Hi)
}

// seeded begins with a seed, also after Reset.
type seeded struct {
	hash.Hash
	seed [4]byte
}

func newSeeded(h hash.Hash, seed int32) *seeded {
	s := &seeded{Hash: h}
	binary.LittleEndian.PutUint32(s.seed[:], uint32(seed))
	s.Reset()
	return s
}

func (s *seeded) Reset() {
	s.Hash.Reset()
	s.Write(s.seed[:])
}
