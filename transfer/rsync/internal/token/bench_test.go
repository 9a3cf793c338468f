package token_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/token"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// records look like what an instrument writes.
func records(n int) []byte {
	noise, b := random(7, n/16+1), make([]byte, 0, n+40)
	for i := 0; len(b) < n; i++ {
		b = append(append(b, "2026-09-25 21:04:17.000 268    "...), '0'+noise[i]&7, '0'+noise[i]>>3&7, '\n')
	}
	return b[:n]
}

func BenchmarkWriter(b *testing.B) {
	data := records(8 << 20)
	for _, method := range methods {
		b.Run(method, func(b *testing.B) {
			w := wire.NewWriter(io.Discard)
			w.Multiplex()
			tw, err := token.NewWriter(w, method)
			require.NoError(b, err)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				for p := data; len(p) > 0; p = p[32<<10:] {
					tw.Literal(p[:32<<10])
				}
				tw.End()
			}
			require.NoError(b, w.Err())
		})
	}
}

func BenchmarkReader(b *testing.B) {
	data := records(8 << 20)
	for _, method := range methods {
		b.Run(method, func(b *testing.B) {
			stream := write(b, method, [][]op{{{Literal: data}}})
			b.ReportMetric(float64(len(data))/float64(len(stream)), "ratio")
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				tr, err := token.NewReader(wire.NewReader(bytes.NewReader(stream)), method)
				require.NoError(b, err)
				for literal := data; literal != nil; {
					literal, _, _, err = tr.Next()
					require.NoError(b, err)
				}
			}
		})
	}
}

// A file of which nearly everything is in the basis.
func BenchmarkWriter_Blocks(b *testing.B) {
	for _, method := range methods {
		b.Run(method, func(b *testing.B) {
			w := wire.NewWriter(io.Discard)
			w.Multiplex()
			tw, err := token.NewWriter(w, method)
			require.NoError(b, err)
			b.ReportAllocs()
			literal := random(8, 4096)
			for b.Loop() {
				for i := range int32(10) {
					tw.Literal(literal)
					for k := range int32(100) {
						tw.Block(i*101 + k)
					}
				}
				tw.End()
			}
		})
	}
}
