package filter_test

import (
	"testing"

	"github.com/obskeep/obskeep/ingest/filter"
)

// A day of seconds of four elements.
func BenchmarkApply(b *testing.B) {
	rows := seconds(86_400, random(1))
	for _, c := range []struct {
		name  string
		rules []filter.Rule
	}{
		{"minutes", []filter.Rule{filter.Minutes{}}},
		{"turn", []filter.Rule{filter.HDZ{DECBAS: 5527, H0: 39_000}}},
		{"step", all[1:2]},
		{"all", all},
	} {
		f := make1(b, hdzf, c.rules...)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				f.Apply(rows, drop)
			}
		})
	}
}
