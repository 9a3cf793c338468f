package transfer_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/obskeep/obskeep/transfer"
)

const benchSize = 64 << 20

func BenchmarkSign(b *testing.B) {
	basis := randomBytes(1, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := transfer.Sign(bytes.NewReader(basis), transfer.BlockSize(benchSize)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDelta(b *testing.B) {
	basis := randomBytes(1, benchSize)
	edited := slices.Clone(basis)
	rng := rand.New(rand.NewPCG(2, 0))
	for range benchSize / 100 / 4096 {
		off := rng.IntN(benchSize/4096) * 4096
		copy(edited[off:], randomBytes(rng.Uint64(), 4096))
	}
	for _, bm := range []struct {
		name      string
		source    []byte
		blockSize int
	}{
		{"Equal", basis, transfer.BlockSize(benchSize)},
		{"OnePercentOfPages", edited, 4096},
		{"NothingInCommon", randomBytes(3, benchSize), transfer.BlockSize(benchSize)},
		{"NothingInCommon/SmallBlocks", randomBytes(3, benchSize), 512},
		{"Zeros", make([]byte, benchSize), transfer.BlockSize(benchSize)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			sig := mustSign(b, basis, bm.blockSize)
			b.SetBytes(int64(len(bm.source)))
			for b.Loop() {
				for _, err := range transfer.Delta(sig, bytes.NewReader(bm.source)) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkPatch(b *testing.B) {
	basis := randomBytes(1, benchSize)
	sig := mustSign(b, basis, transfer.BlockSize(benchSize))
	moved := slices.Concat(basis[benchSize/2:], basis[:benchSize/2])
	ops := collect(b, sig, moved)
	b.SetBytes(benchSize)
	for b.Loop() {
		if err := transfer.Patch(io.Discard, bytes.NewReader(basis), sequence(ops)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadSignature(b *testing.B) {
	var file bytes.Buffer
	if _, err := mustSign(b, randomBytes(1, benchSize), 2048).WriteTo(&file); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		if _, err := transfer.ReadSignature(bytes.NewReader(file.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
