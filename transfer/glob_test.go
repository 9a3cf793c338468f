package transfer_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/storetest"
)

func walk(t testing.TB, s transfer.Store, o *transfer.Options) (names []string) {
	t.Helper()
	for info, err := range transfer.Walk(t.Context(), s, o) {
		require.NoError(t, err)
		names = append(names, info.Name)
	}
	return names
}

func TestWalk_Patterns(t *testing.T) {
	t.Parallel()
	m := new(storetest.Mem)
	for _, name := range []string{"README", "a/x.dat", "a/x.tmp", "a/b/x.dat", "a/b/tmp/y.dat", "tmp/z.dat", "c/tmp"} {
		m.Put(transfer.Info{Name: name, ModTime: noon}, nil)
	}
	all := []string{".", "README", "a", "a/b", "a/b/tmp", "a/b/tmp/y.dat", "a/b/x.dat", "a/x.dat", "a/x.tmp", "c", "c/tmp", "tmp", "tmp/z.dat"}
	for _, row := range []struct {
		rule             string
		include, exclude []string
		want             []string
	}{
		{"nothing leaves all", nil, nil, all},
		{"without a slash at any depth", nil, []string{"*.dat", "README"}, []string{".", "a", "a/b", "a/b/tmp", "a/x.tmp", "c", "c/tmp", "tmp"}},
		{"a directory goes with all that is in it", nil, []string{"a"}, []string{".", "README", "c", "c/tmp", "tmp", "tmp/z.dat"}},
		{"a slash at the end is for directories only", nil, []string{"tmp/"}, []string{".", "README", "a", "a/b", "a/b/x.dat", "a/x.dat", "a/x.tmp", "c", "c/tmp"}},
		{"a slash at the start is for the top only", nil, []string{"/tmp", "/x.dat"}, all[:11]},
		{"a slash within is for the whole name", nil, []string{"a/*.dat"}, []string{".", "README", "a", "a/b", "a/b/tmp", "a/b/tmp/y.dat", "a/b/x.dat", "a/x.tmp", "c", "c/tmp", "tmp", "tmp/z.dat"}},
		{"two stars are any number of elements", nil, []string{"a/**/*.dat"}, []string{".", "README", "a", "a/b", "a/b/tmp", "a/x.tmp", "c", "c/tmp", "tmp", "tmp/z.dat"}},
		{"two stars first are any depth", nil, []string{"**/tmp/*.dat"}, []string{".", "README", "a", "a/b", "a/b/tmp", "a/b/x.dat", "a/x.dat", "a/x.tmp", "c", "c/tmp", "tmp"}},
		{"two stars last are all below", nil, []string{"a/b/**"}, []string{".", "README", "a", "a/x.dat", "a/x.tmp", "c", "c/tmp", "tmp", "tmp/z.dat"}},
		{"only what is included, in its directories", []string{"*.tmp"}, nil, []string{".", "a", "a/x.tmp"}},
		{"what is included by a whole name", []string{"a/b/*.dat", "/README"}, nil, []string{".", "README", "a", "a/b", "a/b/x.dat"}},
		{"an exclusion is stronger", []string{"*.dat"}, []string{"b", "tmp/"}, []string{".", "a", "a/x.dat"}},
		{"including nothing leaves the top", []string{"*.none"}, nil, []string{"."}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			got := walk(t, m, &transfer.Options{Include: row.include, Exclude: row.exclude})
			require.Empty(t, cmp.Diff(row.want, got), "(-want +got)")
		})
	}
	require.Equal(t, []string{".", "tmp", "tmp/y.dat", "x.dat"}, walk(t, m, &transfer.Options{From: "a/b"}))
}

// A pattern that is not well formed is an error before anything is done.
func TestValidPattern_RefusesWhatIsNotWellFormed(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"", "/", "//", "a//b", "[", "a/[", "*["} {
		require.ErrorIs(t, transfer.ValidPattern(p), transfer.ErrPattern, p)
		for _, o := range []*transfer.Options{{Include: []string{p}}, {Exclude: []string{p}}} {
			_, err := transfer.PlanMirror(t.Context(), new(storetest.Mem), new(storetest.Mem), o)
			require.ErrorIs(t, err, transfer.ErrPattern, p)
			_, err = transfer.Compare(t.Context(), new(storetest.Mem), new(storetest.Mem), o)
			require.ErrorIs(t, err, transfer.ErrPattern, p)
			for _, err := range transfer.Walk(t.Context(), new(storetest.Mem), o) {
				require.ErrorIs(t, err, transfer.ErrPattern, p)
			}
		}
	}
	for _, p := range []string{"x", "/x", "x/", "**", "**/x", "[a-z]*", "\xff"} {
		require.NoError(t, transfer.ValidPattern(p))
	}
}

// Walk goes on after a directory that cannot be listed.
func TestWalk_GoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	m := &storetest.Mem{Fault: failing("list", "a", errors.New("no"))}
	m.Put(transfer.Info{Name: "a/x"}, nil)
	m.Put(transfer.Info{Name: "b/x"}, nil)
	var names []string
	failed := 0
	for info, err := range transfer.Walk(t.Context(), m, nil) {
		if err != nil {
			failed++
			continue
		}
		names = append(names, info.Name)
	}
	require.Equal(t, []string{".", "a", "b", "b/x"}, names)
	require.Equal(t, 1, failed)
}

// What a pattern includes, it excludes as well.
func FuzzWalk_ExcludesWhatItIncludes(f *testing.F) {
	for _, p := range []string{"*", "**/x", "a/**/b", "[a-", "/x/"} {
		f.Add(p, "a/b/x")
	}
	f.Fuzz(func(t *testing.T, p, name string) {
		if len(p) > 40 || len(name) > 40 || name == "." || transfer.IsReserved(name) ||
			transfer.ValidPattern(p) != nil || transfer.ValidName(name) != nil {
			return
		}
		m := new(storetest.Mem)
		m.Put(transfer.Info{Name: name}, nil)
		included := slices.Contains(walk(t, m, &transfer.Options{Include: []string{p}}), name)
		excluded := !slices.Contains(walk(t, m, &transfer.Options{Exclude: []string{p}}), name)
		if included && !excluded {
			t.Errorf("%q includes %q, but does not exclude it", p, name)
		}
	})
}
