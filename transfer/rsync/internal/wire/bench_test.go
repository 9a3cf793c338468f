package wire_test

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// Literals as a sender writes them, into a pipe that somebody reads.
func BenchmarkWriter_Literals(b *testing.B) {
	pr, pw, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 256<<10)
		for {
			if _, err := pr.Read(buf); err != nil {
				return
			}
		}
	}()
	w := wire.NewWriter(pw)
	w.Multiplex()
	p := make([]byte, 32<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		w.Int(int32(len(p)))
		_, _ = w.Write(p)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	_ = pw.Close()
	<-done
	_ = pr.Close()
}

func BenchmarkReader_Literals(b *testing.B) {
	var stream bytes.Buffer
	w := wire.NewWriter(&stream)
	w.Multiplex()
	p := make([]byte, 32<<10)
	const n = 1000
	for range n {
		w.Int(int32(len(p)))
		_, _ = w.Write(p)
	}
	_ = w.Flush()
	b.SetBytes(n * int64(len(p)))
	for b.Loop() {
		r := wire.NewReader(bytes.NewReader(stream.Bytes()))
		r.Multiplex(nil)
		for range n {
			if len(r.Bytes(int(r.Int()))) == 0 {
				b.Fatal(r.Err())
			}
		}
	}
}

func BenchmarkWriter_Int(b *testing.B) {
	w := wire.NewWriter(io.Discard)
	w.Multiplex()
	b.ReportAllocs()
	for b.Loop() {
		w.Int(1)
	}
}

func BenchmarkReader_Int(b *testing.B) {
	r := wire.NewReader(new(endless))
	r.Multiplex(nil)
	b.ReportAllocs()
	for b.Loop() {
		r.Int()
	}
	if r.Err() != nil {
		b.Fatal(r.Err())
	}
}

func BenchmarkWriter_Index(b *testing.B) {
	w := wire.NewWriter(io.Discard)
	b.ReportAllocs()
	for i := int32(0); b.Loop(); i++ {
		w.Index(i)
	}
}

// endless is frames of 32 KiB.
type endless struct{ at int }

func (e *endless) Read(p []byte) (int, error) {
	one := append([]byte{0, 0x80, 0, 7}, make([]byte, 32<<10)...)
	n := copy(p, one[e.at:])
	e.at = (e.at + n) % len(one)
	return n, nil
}
