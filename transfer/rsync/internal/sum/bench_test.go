package sum_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
)

func BenchmarkWeak(b *testing.B) {
	for _, n := range []int{700, 4096, 131072} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			block := random(1, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				sum.Weak(block)
			}
		})
	}
}

func BenchmarkBlock(b *testing.B) {
	for _, name := range sum.Names() {
		for _, n := range []int{4096, 65536} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				hasher := sum.Session{Algorithm: algorithm(b, name), Seed: 12345}.NewBlock()
				block, dst := random(1, n), make([]byte, 0, 32)
				b.SetBytes(int64(n))
				for b.Loop() {
					hasher.Sum(dst, block)
				}
			})
		}
	}
}

func BenchmarkFile(b *testing.B) {
	for _, name := range sum.Names() {
		b.Run(name, func(b *testing.B) {
			h, data := sum.Session{Algorithm: algorithm(b, name)}.NewFile(), random(1, 1<<20)
			b.SetBytes(1 << 20)
			for b.Loop() {
				h.Write(data)
			}
		})
	}
}

func BenchmarkCompute(b *testing.B) {
	basis := random(1, 256<<20)
	for _, name := range []string{"xxh128", "md5"} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", name, workers), func(b *testing.B) {
				s := sum.Session{Algorithm: algorithm(b, name), Seed: 12345}
				h := sum.NewHead(int64(len(basis)), 4096, 2)
				b.SetBytes(int64(len(basis)))
				for b.Loop() {
					if _, err := sum.Compute(b.Context(), bytes.NewReader(basis), h, s, workers); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
