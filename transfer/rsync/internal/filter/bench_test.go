package filter_test

import (
	"strings"
	"testing"
)

func BenchmarkExcluded(b *testing.B) {
	for _, bm := range []struct{ name, rule, path string }{
		{"LastElement", "- *.tmp", "2026/060/supim/tec.dat"},
		{"Anchored", "- /2026/0*/supim/*.log", "2026/060/supim/tec.dat"},
		{"AnyDepth", "- **/cache/***", "2026/060/supim/tec.dat"},
		{"Literal", "- lost+found/", "2026/060/supim/tec.dat"},
		{"Hostile", "- " + strings.Repeat("**a*", 1000) + "b", strings.Repeat("a", 4000)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			l := parse(b, bm.rule)
			b.ReportAllocs()
			for b.Loop() {
				l.Excluded(bm.path, false)
			}
		})
	}
}
