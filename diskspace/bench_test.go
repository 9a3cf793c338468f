package diskspace_test

import (
	"fmt"
	"testing"

	"github.com/obskeep/obskeep/diskspace"
)

func BenchmarkStat(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		if _, err := diskspace.Stat(dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFits(b *testing.B) {
	p := planner(diskspace.Reserve{Percent: 10})
	needs := make([]diskspace.Need, 100)
	for i := range needs {
		needs[i] = diskspace.Need{Path: fmt.Sprintf("/backup/%03d", i), Bytes: mib}
	}
	for b.Loop() {
		_ = p.Fits(needs...)
	}
}

func BenchmarkTimeToFull(b *testing.B) {
	history := growing(365, 100*gib, gib)
	for b.Loop() {
		diskspace.TimeToFull(history, 1000*gib)
	}
}
