package durable_test

import (
	"testing"

	"github.com/obskeep/obskeep/internal/durable"
)

func BenchmarkWriteFile(b *testing.B) {
	root := openRoot(b)
	data := make([]byte, 20_000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := durable.WriteFile(root, "report", data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
}
