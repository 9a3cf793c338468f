package transfer_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/obskeep/obskeep/transfer"
)

func manySums(n int) []transfer.Sum {
	sums := make([]transfer.Sum, n)
	for i := range sums {
		sums[i] = transfer.Sum{Name: fmt.Sprintf("2026/268/run-%06d.dat", i), Hash: randomBytes(uint64(i), 32)}
	}
	return sums
}

func BenchmarkWriteSums(b *testing.B) {
	sums := manySums(10_000)
	for b.Loop() {
		if err := transfer.WriteSums(io.Discard, each(sums, nil)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadSums(b *testing.B) {
	var file bytes.Buffer
	if err := transfer.WriteSums(&file, each(manySums(10_000), nil)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		if _, err := readSums(bytes.NewReader(file.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
