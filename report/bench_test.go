package report_test

import (
	"io"
	"testing"

	"github.com/obskeep/obskeep/report"
)

func year() *report.Report {
	r := situations()["trouble-of-every-kind"]
	r.Jobs = nil
	for n := 1; n <= 365; n++ {
		r.Jobs = append(r.Jobs, report.Job{Name: "supim", Day: day(n), Start: at(6, 0, 0), End: at(6, 10, 0), Files: 312, Bytes: 1 << 30, Literal: 1 << 29, Verified: 312})
	}
	return r
}

func benchmark(b *testing.B, write func(io.Writer) error) {
	for b.Loop() {
		if err := write(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteText(b *testing.B) { benchmark(b, year().WriteText) }
func BenchmarkWriteHTML(b *testing.B) { benchmark(b, year().WriteHTML) }
func BenchmarkWriteJSON(b *testing.B) { benchmark(b, year().WriteJSON) }
