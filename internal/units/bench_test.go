package units_test

import (
	"testing"

	"github.com/obskeep/obskeep/internal/units"
)

func BenchmarkBytes(b *testing.B) {
	for b.Loop() {
		units.Bytes(123_456_789)
	}
}

func BenchmarkParseBytes(b *testing.B) {
	for b.Loop() {
		if _, err := units.ParseBytes("1.5 GiB"); err != nil {
			b.Fatal(err)
		}
	}
}
