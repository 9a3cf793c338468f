package julian_test

import (
	"testing"

	"github.com/obskeep/obskeep/julian"
)

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := julian.Parse("2026-268"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDate_String(b *testing.B) {
	d := date(b, "2026-268")
	b.ReportAllocs()
	for b.Loop() {
		_ = d.String()
	}
}

func BenchmarkDate_AppendText(b *testing.B) {
	d := date(b, "2026-268")
	buf := make([]byte, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = d.AppendText(buf[:0])
	}
}

func BenchmarkDate_MJD(b *testing.B) {
	d := date(b, "2026-268")
	b.ReportAllocs()
	for b.Loop() {
		_ = d.MJD()
	}
}

func BenchmarkFromMJD(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = julian.FromMJD(61308)
	}
}

func BenchmarkPattern_AppendFormat(b *testing.B) {
	p := julian.MustParsePattern("/data/supim/%Y/%j")
	d := date(b, "2026-268")
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = p.AppendFormat(buf[:0], d)
	}
}

func BenchmarkPattern_Match(b *testing.B) {
	p := julian.MustParsePattern("/data/supim/%Y/%j")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.Match("/data/supim/2026/268"); !ok {
			b.Fatal("no match")
		}
	}
}
