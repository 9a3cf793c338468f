package filter_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
)

func parse(t testing.TB, rules ...string) filter.List {
	t.Helper()
	var l filter.List
	for _, text := range rules {
		r, err := filter.Parse(text)
		require.NoError(t, err)
		l = append(l, r)
	}
	return l
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		want       filter.Rule
	}{
		{"a dash excludes", "- *.tmp", filter.Rule{Exclude: true, Pattern: "*.tmp"}},
		{"a plus includes", "+ /2026/***", filter.Rule{Pattern: "/2026/***"}},
		{"a slash at the end restricts to directories", "- cache/", filter.Rule{Exclude: true, Pattern: "cache", DirOnly: true}},
		{"a lone slash is the pattern", "- /", filter.Rule{Exclude: true, Pattern: "/"}},
		{"spaces belong to the pattern", "-   a b ", filter.Rule{Exclude: true, Pattern: "  a b "}},
		{"modifiers stand before the space", "-!srp x", filter.Rule{Exclude: true, Negate: true, SenderSide: true, ReceiverSide: true, Perishable: true, Pattern: "x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := filter.Parse(tt.text)
			require.NoError(t, err)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A rule that this package does not follow is refused by name, never taken for
// another.
func TestParse_RefusesWhatItDoesNotFollow(t *testing.T) {
	t.Parallel()
	for text, names := range map[string]string{
		": .rsync-filter": "merge",
		". /etc/rules":    "merge",
		"-/ /home/x":      "absolute",
		"-C":              "",
		"-C x":            "CVS",
		"-x user.*":       "attributes",
		"-w a":            "white space",
		"-n a":            "inheritance",
		"-e a":            "merge",
		"!":               "",
		"":                "",
		"-":               "",
		"- ":              "pattern",
		"-a":              "",
		"-q a":            "q",
		"exclude a":       "e",
		"- a\x00b":        "NUL",
	} {
		_, err := filter.Parse(text)
		require.ErrorIs(t, err, filter.ErrRule, text)
		require.ErrorContains(t, err, names, text)
	}
}

func TestList_FirstMatchDecides(t *testing.T) {
	t.Parallel()
	l := parse(t, "+ keep.tmp", "- *.tmp", "+ *")
	require.False(t, l.Excluded("keep.tmp", false))
	require.True(t, l.Excluded("a/x.tmp", false))
	require.False(t, l.Excluded("x.dat", false))
	require.False(t, filter.List(nil).Excluded("x.tmp", false), "no rule, nothing excluded")
}

func TestList_ARuleCountsOnItsSides(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rule                string
		excluded, protected bool
	}{
		{"- x", true, true},
		{"-sr x", true, true},
		{"-s x", true, false},
		{"-r x", false, true},
	} {
		l := parse(t, tt.rule)
		require.Equal(t, tt.excluded, l.Excluded("x", false), tt.rule)
		require.Equal(t, tt.protected, l.Protected("x", false), tt.rule)
	}
}

// Of the wildcards only "**" matches a slash.
func TestList_OneWildcardMatchesASlash(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"- /a?f", "- /a*f", "- /a[!x]f", "- /a[.-0]f"} {
		require.False(t, parse(t, rule).Excluded("a/f", false), rule)
	}
	require.True(t, parse(t, "- /a**f").Excluded("a/f", false))
}

func TestList_NeverExcludesTheRoot(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"- *", "- .", "- /", "-! x", "- /***", "- **/", "- ?"} {
		require.False(t, parse(t, rule).Excluded(".", true), rule)
	}
}

// tree is what the tests below ask rules about: directories end in a slash.
var tree = []string{
	"a/", "a/f", "a/foo", "a/b/", "a/b/f", "a/b/c/", "a/b/c/f", "a/b/c/x.tmp", "ab", "f",
	"foo/", "foo/x", "foo/bar/", "foo/bar/y", "foo/bar/foo/", "foo/bar/foo/z", "foobar", "x.tmp", "x.tmp.dat",
	"b/", "b/a/", "b/a/b/", "b/a/b/f", "sub-/", "sub-/f", "sub.d/", "sub.d/A1", "[f]", "*", "a]", "a\\b", "-", "^", "sp ace", "\xe9t\xe9", "\\f",
	"2026/", "2026/060/", "2026/060/tec.dat", "2026/061/", "2026/061/tec.dat", "2026/061/tec.DAT",
}

var patterns = []string{
	"f", "foo", "foo/", "/foo", "/foo/", "b/f", "/b/f", "a/b", "a/b/", "a/b/f", "/a/b/c", "b/c/f", "/", "//", "./f", ".", "f//", "foo//",
	"*", "*/", "/*", "/*/", "*/*", "/*/*", "*/f", "/*/f", "*/*/f", "f*", "*f", "f*o", "fo?", "?", "??", "???", "?/f", "*.tmp", "*.tmp*", "*.*", "x*.tmp", "*x.tmp.*",
	"**", "***", "/**", "/***", "**/", "**f", "f**", "**/f", "/**/f", "**/foo", "**/foo/", "a**f", "a/**", "a/**/f", "a/b**", "/a/**/f", "b**f", "**b/f", "a**/f", "**/b/**/f", "**/*", "**/*/", "*/**", "o**", "**o", "foo**z", "oo/**", "/oo/**",
	"foo/***", "/foo/***", "bar/***", "foo/bar/***", "*/***", "/*/***", "foo***", "fo***", "**/bar/***", "/b/***", "a/b/***", "b/***", "?/***",
	"[f]", "[!f]", "[^f]", "[a-f]", "[f-a]", "fo[!x]", "fo[a-o]", "[[]f]", "\\[f]", "\\[f\\]", "[]]", "a[]]", "[]a]*", "[]-a]", "[a-]", "[-a]", "[\\-]", "[\\^]", "[^^]", "[!]", "[f", "[a-", "[a\\", "[[:alpha:]]", "[[:digit:]]*", "[[:upper:]][[:digit:]]", "[[:nope:]]", "[![:alpha:]]*", "*[[:punct:]]", "[[:alpha:]-z]*", "[[:space:]]", "*[[:space:]]*", "[/]f", "a[/]f", "[[/*[!b]", "[/b]", "[/b]*/f", "a[!x]f", "[\\]]", "a[\\]]", "[[:alpha:", "[[:alpha]", "[a:]",
	"\\f", "\\f*", "\\\\f*", "\\\\f", "a\\b", "a\\b*", "a\\\\b", "a\\\\b*", "f*\\", "\\*", "*\\", "sp ace", "sp?ace", "?t?", "[\xe0-\xff]t*", "\xe9t\xe9",
	"*b*", "*o*o*", "*a*a*a*", "**a**a**", "*?*", "2026/*/tec.dat", "/2026/06[0-9]/", "/2026/***", "tec.[dD][aA][tT]", "060/tec*", "26/060", "2026/**.dat", "2026**.dat", "/**/tec*", "*/06?/*",
}

// ruleLists are what rsync was asked for testdata/lists-of-rsync-3.5.0.txt.
func ruleLists() [][]string {
	var lists [][]string
	for _, p := range patterns {
		lists = append(lists, []string{"- " + p}, []string{"-! " + p}, []string{"+ " + p, "- *.tmp"})
	}
	return append(lists,
		[]string{"+ */", "+ tec.dat", "- *"},
		[]string{"+ /2026/", "+ /2026/061/***", "- *"},
		[]string{"-s f", "-r foo", "-sr ab"},
		[]string{"-p f", "+p foo", "- foo*"},
	)
}

var update = flag.Bool("update", false, "ask the rsync of this machine again")

const golden = "testdata/lists-of-rsync-3.5.0.txt"

// What is excluded is what rsync leaves out, pattern by pattern; so is what
// several rules do together. A line of the file is the rules, quoted, a tab,
// and a 1 for each name of the tree that rsync lists.
func TestList_ExcludesWhatRsyncExcludes(t *testing.T) {
	if *update {
		oracle := newOracle(t, tree)
		var out strings.Builder
		for _, rules := range ruleLists() {
			fmt.Fprintf(&out, "%q\t%s\n", rules, bitmap(oracle.list(t, rules)))
		}
		require.NoError(t, os.WriteFile(golden, []byte(out.String()), 0o644))
	}
	recorded, err := os.ReadFile(golden)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(recorded), "\n"), "\n")
	lists := ruleLists()
	require.Equal(t, len(lists), len(lines), "lines; run with -update")
	for i, rules := range lists {
		want := lines[i]
		if got := fmt.Sprintf("%q\t%s", rules, bitmap(listed(parse(t, rules...), tree))); got != want {
			t.Errorf("rsync: %s\nours:  %s", want, got)
		}
	}
}

func bitmap(names []string) string {
	var b strings.Builder
	for _, name := range tree {
		if slices.Contains(names, name) {
			b.WriteByte('1')
		} else {
			b.WriteByte('0')
		}
	}
	return b.String()
}

var random = flag.Int("random", 12, "how many random patterns to try with rsync")

// Patterns that nobody thought of are matched as the rsync of this machine
// matches them.
func TestList_ExcludesWhatRsyncExcludes_RandomPatterns(t *testing.T) {
	t.Parallel()
	oracle := newOracle(t, tree)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"a", "b", "f", "o", "foo", "c", "x", "*", "*", "**", "***", "?", "/", "/", "[a-f]", "[!b]", "[", "]", "\\", ".", "-", "!"}
	for range *random {
		var p strings.Builder
		for range 1 + rng.IntN(6) {
			p.WriteString(pieces[rng.IntN(len(pieces))])
		}
		rules := []string{"- " + p.String()}
		if diff := cmp.Diff(oracle.list(t, rules), listed(parse(t, rules...), tree)); diff != "" {
			t.Errorf("%q lists (-rsync +ours):\n%s", rules, diff)
		}
	}
}

// listed walks names as a sender does, which does not enter what is excluded.
func listed(l filter.List, names []string) []string {
	var out []string
	for _, name := range names {
		hidden := false
		for i := range len(name) {
			if name[i] == '/' {
				hidden = hidden || l.Excluded(name[:i], true)
			}
		}
		if !hidden && (strings.HasSuffix(name, "/") || !l.Excluded(name, false)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// oracle is the rsync of this machine and a tree for it.
type oracle struct{ program, dir, none string }

func newOracle(t *testing.T, names []string) oracle {
	t.Helper()
	program, err := exec.LookPath("rsync")
	if err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip("rsync is not installed")
	}
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			require.NoError(t, os.MkdirAll(path, 0o755))
		} else {
			require.NoError(t, os.WriteFile(path, nil, 0o644))
		}
	}
	return oracle{program, dir + "/", t.TempDir()}
}

func (o oracle) list(t *testing.T, rules []string) []string {
	t.Helper()
	args := []string{"-rn8", "--out-format=%n"}
	for _, r := range rules {
		args = append(args, "--filter="+r)
	}
	out, err := exec.CommandContext(t.Context(), o.program, append(args, o.dir, o.none)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rsync %q: %v\n%s", args, err, out)
	}
	var names []string
	for name := range strings.Lines(string(out)) {
		if name = strings.TrimSuffix(name, "\n"); name != "./" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Matching takes no longer than the length of the pattern times that of the
// name, whoever wrote them.
func TestExcluded_EndsQuickly(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("a", 500) + "/" + strings.Repeat("a/", 250)
	for _, unit := range []string{"*a", "**a", "**a*", "*?", "[a]*", "**/a", "?**", "[[:alpha:]]**"} {
		for _, last := range []string{"b", "/b"} {
			l := parse(t, "- "+strings.Repeat(unit, 400)+last)
			begin := time.Now()
			require.False(t, l.Excluded(name+"x", false))
			require.Less(t, time.Since(begin), 5*time.Second, unit)
		}
	}
}

// Matching allocates nothing for patterns that people write.
func TestExcluded_AllocatesNothing(t *testing.T) {
	l := parse(t, "- *.tmp", "- /2026/**/x*", "- **/cache/***", "- [a-c]?*q", "- lost+found/", "+ *")
	require.Zero(t, testing.AllocsPerRun(100, func() { l.Excluded("2026/060/supim/tec.dat", false) }))
}

func FuzzParse_RoundTrips(f *testing.F) {
	for _, p := range patterns {
		f.Add("- " + p)
		f.Add("+!srp " + p)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := filter.Parse(text)
		if err != nil {
			require.True(t, errors.Is(err, filter.ErrRule))
			return
		}
		again, err := filter.Parse(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

// Matching ends and does not panic, and a name is matched by its own quoted
// bytes.
func FuzzExcluded(f *testing.F) {
	for _, p := range patterns {
		f.Add("- "+p, "a/b/f")
	}
	f.Add("- *a*a*a*a*a*a*a*b", strings.Repeat("a", 300))
	f.Fuzz(func(t *testing.T, rule, name string) {
		r, err := filter.Parse(rule)
		if err != nil {
			return
		}
		for _, isDir := range []bool{false, true} {
			filter.List{r}.Excluded(name, isDir)
		}
		if name == "" || name == "." || name[0] == '/' || strings.HasSuffix(name, "/") {
			return
		}
		var quoted strings.Builder
		quoted.WriteString("/")
		for i := range len(name) {
			quoted.WriteString("\\" + name[i:i+1])
		}
		require.True(t, filter.List{{Exclude: true, Pattern: quoted.String() + "*"}}.Excluded(name, false))
		require.False(t, filter.List{{Exclude: true, Pattern: quoted.String() + "?*"}}.Excluded(name, false))
	})
}
