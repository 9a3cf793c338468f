package flist_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

// entry makes a directory of a name that ends in a slash, else a file.
func entry(name string) *flist.Entry {
	if dir, ok := strings.CutSuffix(name, "/"); ok {
		return &flist.Entry{Name: dir, Mode: 0o040755}
	}
	return &flist.Entry{Name: name, Mode: 0o100644}
}

func names(list []*flist.Entry) []string {
	var out []string
	for _, e := range list {
		name := e.Name
		if e.IsDir() {
			name += "/"
		}
		out = append(out, name)
	}
	return out
}

func TestSort(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule string
		want []string
	}{
		{"the root comes first", []string{"./", "!", "a", "!/"}},
		{"a directory comes before what is in it", []string{"a/", "a/b", "a/c/", "a/c/d"}},
		{"files come before directories", []string{"z", "a/", "a/z", "a/b/", "a/b/c"}},
		{"an element that others follow is a directory's", []string{"b", "a/x", "c/"}},
		{"files compare as bytes, a prefix first", []string{"a", "a-", "a.", "a0", "aa", "a\x7f", "a\x80", "a\xff"}},
		{"directories compare with a slash at the end", []string{"sub-/", "sub-/f", "sub.d/", "sub/", "sub/f", "sub0/"}},
		{"a file and a directory of one name stand apart", []string{"sub", "sub0", "sub/", "sub/x"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			var list []*flist.Entry
			for _, name := range tt.want {
				list = append(list, entry(name))
			}
			for range 20 {
				rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				flist.Sort(list)
				if diff := cmp.Diff(tt.want, names(list)); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestSort_KeepsTheOrderOfEqualEntries(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, count := range []int{0, 1, 2, 3, 5000, 1 << 14, 1<<14 + 1, 1<<14 + 2, 1<<14 + 3} {
		var list []*flist.Entry
		for range count {
			list = append(list, entry(string(rune('a'+rng.IntN(26)))))
		}
		want := slices.Clone(list)
		slices.SortStableFunc(want, flist.Compare)
		flist.Sort(list)
		if !slices.Equal(want, list) {
			t.Errorf("%d entries: not the stable order", count)
		}
	}
}

// Compare is a strict weak order, whatever the names.
func TestCompare_IsAStrictWeakOrder(t *testing.T) {
	t.Parallel()
	gen := rapid.Custom(func(t *rapid.T) *flist.Entry {
		name := rapid.StringMatching("[ab.\\-0~]{1,3}(/[ab.\\-0~]{1,2}){0,3}").Draw(t, "name")
		if rapid.IntRange(0, 9).Draw(t, "root") == 0 {
			return entry("./")
		}
		return entry(name + rapid.SampledFrom([]string{"", "/"}).Draw(t, "kind"))
	})
	sign := func(n int) int { return min(1, max(-1, n)) }
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		ab, bc, ac := sign(flist.Compare(a, b)), sign(flist.Compare(b, c)), sign(flist.Compare(a, c))
		if flist.Compare(a, a) != 0 || ab != -sign(flist.Compare(b, a)) {
			t.Fatal("not antisymmetric")
		}
		if (ab == 0) != (a.Name == b.Name && a.IsDir() == b.IsDir()) {
			t.Fatal("equal without being the same")
		}
		if ab <= 0 && bc <= 0 && (ac > 0 || ac == 0 && (ab < 0 || bc < 0)) {
			t.Fatal("not transitive")
		}
	})
}
