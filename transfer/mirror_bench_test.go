package transfer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/storetest"
)

// manyFiles is a directory of n files of 2 kB, 100 in a folder.
func manyFiles(b *testing.B, n int) (dir string) {
	b.Helper()
	dir = b.TempDir()
	data := randomBytes(1, 2000)
	for i := range n {
		file := filepath.Join(dir, fmt.Sprintf("%03d/%02d.dat", i/100, i%100))
		if i%100 == 0 {
			if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

func mirror(b *testing.B, dst, src transfer.Store, to string) {
	if _, err := transfer.Mirror(b.Context(), dst, src, &transfer.Options{To: to}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkMirror_SmallFiles(b *testing.B) {
	src, dst := local(b, manyFiles(b, 20_000)), local(b, b.TempDir())
	i := 0
	for b.Loop() {
		mirror(b, dst, src, fmt.Sprint(i))
		i++
	}
}

func BenchmarkMirror_NothingNew(b *testing.B) {
	src, dst := local(b, manyFiles(b, 20_000)), local(b, b.TempDir())
	mirror(b, dst, src, "")
	for b.Loop() {
		mirror(b, dst, src, "")
	}
}

func BenchmarkMirror_OneBigFile(b *testing.B) {
	from := b.TempDir()
	write(b, from, "big", randomBytes(1, 256<<20))
	src, dst := local(b, from), local(b, b.TempDir())
	b.SetBytes(256 << 20)
	i := 0
	for b.Loop() {
		to := fmt.Sprint(i)
		mirror(b, dst, src, to)
		b.StopTimer()
		if err := transfer.RemoveAll(b.Context(), dst, to); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		i++
	}
}

func BenchmarkWalk(b *testing.B) {
	s := local(b, manyFiles(b, 20_000))
	for b.Loop() {
		n := 0
		for _, err := range transfer.Walk(b.Context(), s, nil) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
}

func BenchmarkHash(b *testing.B) {
	m := new(storetest.Mem)
	m.Put(transfer.Info{Name: "x"}, randomBytes(1, 64<<20))
	b.SetBytes(64 << 20)
	for b.Loop() {
		if _, err := transfer.Hash(b.Context(), m, "x"); err != nil {
			b.Fatal(err)
		}
	}
}
