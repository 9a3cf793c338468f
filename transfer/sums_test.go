package transfer_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/obskeep/obskeep/transfer"
	"github.com/stretchr/testify/require"
)

// each is a sequence of the given sums, and err at the end unless it is nil.
func each(sums []transfer.Sum, err error) iter.Seq2[transfer.Sum, error] {
	return func(yield func(transfer.Sum, error) bool) {
		for _, s := range sums {
			if !yield(s, nil) {
				return
			}
		}
		if err != nil {
			yield(transfer.Sum{}, err)
		}
	}
}

func readSums(r io.Reader) ([]transfer.Sum, error) {
	var sums []transfer.Sum
	for s, err := range transfer.ReadSums(r) {
		if err != nil {
			return sums, err
		}
		sums = append(sums, s)
	}
	return sums, nil
}

// oddNames are file names with every byte that Linux allows, in every place
// where a line of a checksum file could misread it.
func oddNames() []string {
	var names []string
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		c := string([]byte{byte(b)})
		for _, name := range []string{c, c + "x", "x" + c, "x" + c + "y", c + c + "x" + c + c} {
			if name != "." && name != ".." {
				names = append(names, name)
			}
		}
	}
	names = append(names,
		strings.Repeat("n", 255), strings.Repeat("\n", 255), strings.Repeat("\\", 255), strings.Repeat("\xff", 255),
		"#", "# comment", "--help", "- ", " -", "  two blanks first", "two blanks last  ", "*star", " *star",
		`\`, `\\`, `\n`, `\r`, `\\n`, "a\\\nb", "CR LF\r\n", "x) = y", "SHA256 (x) = 00", "x (y)", "sub dir/-", "sub dir/\n/x",
	)
	slices.Sort(names)
	return slices.Compact(names)
}

func writeOddFiles(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir, names = t.TempDir(), oddNames()
	for _, name := range names {
		path := dir + "/" + name // Join would clean the name
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("content of "+name), 0o644))
	}
	return dir, names
}

// tool returns the command in dir with the C locale.
func tool(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		need(t, name+" is not installed")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

var hashTools = []struct {
	name string
	sum  func(content []byte) []byte
}{
	{"sha256sum", func(p []byte) []byte { h := sha256.Sum256(p); return h[:] }},
	{"md5sum", func(p []byte) []byte { h := md5.Sum(p); return h[:] }},
}

// The real sha256sum and md5sum verify what WriteSums writes, whatever bytes
// the names have.
func TestWriteSums_IsAcceptedByCoreutils(t *testing.T) {
	t.Parallel()
	dir, names := writeOddFiles(t)
	for _, hash := range hashTools {
		var sums []transfer.Sum
		for _, name := range names {
			sums = append(sums, transfer.Sum{Name: name, Hash: hash.sum([]byte("content of " + name))})
		}
		var file bytes.Buffer
		require.NoError(t, transfer.WriteSums(&file, each(sums, nil)))

		cmd := tool(t, dir, hash.name, "--check", "--strict")
		cmd.Stdin = bytes.NewReader(file.Bytes())
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		require.NoError(t, cmd.Run(), "%s", stderr.Bytes())
		require.Empty(t, stderr.String())
		require.Equal(t, len(names), strings.Count(stdout.String(), ": OK\n"))
	}
}

// One wrong digit of one file is found by the real programs: they do check.
func TestWriteSums_LetsCoreutilsFindARottenFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "-"), []byte("rotten"), 0o644))
	var file bytes.Buffer
	good := sha256.Sum256([]byte("good"))
	require.NoError(t, transfer.WriteSums(&file, each([]transfer.Sum{{Name: "-", Hash: good[:]}}, nil)))
	cmd := tool(t, dir, "sha256sum", "--check", "--strict")
	cmd.Stdin = &file
	out, err := cmd.Output()
	require.Error(t, err)
	require.Equal(t, "./-: FAILED\n", string(out))
}

// ReadSums reads what the real programs write, in text, binary and tagged form.
func TestReadSums_ReadsWhatCoreutilsWrites(t *testing.T) {
	t.Parallel()
	dir, names := writeOddFiles(t)
	args := make([]string, len(names))
	for i, name := range names {
		args[i] = "./" + name
		if i%2 == 0 && name != "-" {
			args[i] = name
		}
	}
	for _, hash := range hashTools {
		for _, form := range []string{"--text", "--binary", "--tag"} {
			cmd := tool(t, dir, hash.name, slices.Concat([]string{form, "--"}, args)...)
			out, err := cmd.Output()
			require.NoError(t, err)
			var want []transfer.Sum
			for _, name := range names {
				want = append(want, transfer.Sum{Name: name, Hash: hash.sum([]byte("content of " + name))})
			}
			got, err := readSums(bytes.NewReader(out))
			require.NoError(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", hash.name, form, diff)
			}
		}
	}
}

func TestReadSums_ReadsWhatWriteSumsWrote(t *testing.T) {
	t.Parallel()
	for _, length := range []int{16, 20, 28, 32, 48, 64} {
		var want []transfer.Sum
		for i, name := range oddNames() {
			want = append(want, transfer.Sum{Name: name, Hash: randomBytes(uint64(i), length)})
		}
		var file bytes.Buffer
		require.NoError(t, transfer.WriteSums(&file, each(want, nil)))
		got, err := readSums(iotest.HalfReader(&file))
		require.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", length, diff)
		}
	}
}

const (
	md5Empty    = "d41d8cd98f00b204e9800998ecf8427e"
	sha256Empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func TestReadSums(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule, file, want string // names, separated by |
	}{
		{"an empty file has no sums", "", ""},
		{"two blanks before a name", sha256Empty + "  a b\n", "a b"},
		{"a blank and a star before a name", sha256Empty + " *a b\n", "a b"},
		{"a third blank belongs to the name", sha256Empty + "   a\n", " a"},
		{"upper-case digits", strings.ToUpper(sha256Empty) + "  a\n", "a"},
		{"lines that end with CR LF", "# c\r\n" + sha256Empty + "  a\r\n\r\n" + sha256Empty + "  b\r\n", "a|b"},
		{"comments and empty lines", "# made by hand\n\n#\n" + sha256Empty + "  a\n", "a"},
		{"a number sign in a name is no comment", sha256Empty + "  #a\n", "#a"},
		{"escapes after a leading backslash", `\` + sha256Empty + `  a\nb\\c\rd` + "\n", "a\nb\\c\rd"},
		{"a backslash without one", sha256Empty + `  a\nb` + "\n", `a\nb`},
		{"the tagged form", "SHA256 (a b) = " + sha256Empty + "\n", "a b"},
		{"the tagged form of MD5", "MD5 (a) = " + md5Empty + "\n", "a"},
		{"the tagged form with escapes", `\SHA256 (a\nb) = ` + sha256Empty + "\n", "a\nb"},
		{"a tagged name that looks like its end", "SHA256 (a) = b) = " + sha256Empty + "\n", "a) = b"},
		{"dots and slashes without meaning", sha256Empty + "  ./a//b/./c\n", "a/b/c"},
		{"a name that begins with dots", sha256Empty + "  ..a/...\n", "..a/..."},
		{"a name that is not UTF-8", sha256Empty + "  \xff\xfe\n", "\xff\xfe"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			sums, err := readSums(strings.NewReader(tc.file))
			require.NoError(t, err)
			var names []string
			for _, s := range sums {
				require.Contains(t, []string{md5Empty, sha256Empty}, hex.EncodeToString(s.Hash))
				names = append(names, s.Name)
			}
			require.Equal(t, tc.want, strings.Join(names, "|"))
		})
	}
}

func TestReadSums_RefusesABadLine(t *testing.T) {
	t.Parallel()
	const good = sha256Empty + "  good\n"
	for _, tc := range []struct{ rule, line string }{
		{"no hash", "a\n"},
		{"no name", sha256Empty + "\n"},
		{"an empty name", sha256Empty + "  \n"},
		{"one blank", sha256Empty + " a\n"},
		{"a tab", sha256Empty + "\ta\n"},
		{"a blank first", " " + sha256Empty + "  a\n"},
		{"a comment that does not begin the line", " # c\n"},
		{"a digit too few", sha256Empty[1:] + "  a\n"},
		{"a byte too few", sha256Empty[2:] + "  a\n"},
		{"a byte too many", "00" + sha256Empty + "  a\n"},
		{"a letter that is no digit", "g" + sha256Empty[1:] + "  a\n"},
		{"the hash of another algorithm", md5Empty + "  a\n"},
		{"an unknown tag", "SM3 (a) = " + sha256Empty + "\n"},
		{"a tag of another length", "SHA512 (a) = " + sha256Empty + "\n"},
		{"a tag without an end", "SHA256 (a\n"},
		{"an unknown escape", `\` + sha256Empty + `  a\tb` + "\n"},
		{"an escape cut short", `\` + sha256Empty + `  a\` + "\n"},
		{"a NUL in a name", sha256Empty + "  a\x00b\n"},
		{"a line without bounds", sha256Empty + "  " + strings.Repeat("a/", 40<<10) + "a\n"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			sums, err := readSums(strings.NewReader("# comment\n" + good + tc.line + sha256Empty + "  later\n"))
			bad, ok := errors.AsType[*transfer.SumsError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 3, bad.Line)
			require.Len(t, sums, 1)
		})
	}
}

// A checksum file names nothing outside its tree.
func TestReadSums_RefusesANameThatLeavesTheTree(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/abs", "../x", "..", "a/../../x", "a/../b", "./../x", "a/..", ".", "./", "a/", "//a", `\..\..\/../x`} {
		for _, line := range []string{"%[1]s  %[2]s\n", "%[1]s *%[2]s\n", "SHA256 (%[2]s) = %[1]s\n"} {
			_, err := readSums(strings.NewReader(fmt.Sprintf(line, sha256Empty, name)))
			require.ErrorIs(t, err, transfer.ErrName, name)
			bad, ok := errors.AsType[*transfer.SumsError](err)
			require.True(t, ok)
			require.Equal(t, 1, bad.Line)
		}
	}
}

func TestReadSums_RefusesANameTwice(t *testing.T) {
	t.Parallel()
	for _, again := range []string{"a/b", "./a/b", "a//b"} {
		_, err := readSums(strings.NewReader(sha256Empty + "  a/b\n" + sha256Empty + "  " + again + "\n"))
		require.ErrorIs(t, err, transfer.ErrDuplicate)
	}
}

// Wherever a file is cut but at the end of a line, that is noticed.
func TestReadSums_RefusesAFileCutInALine(t *testing.T) {
	t.Parallel()
	file := sha256Empty + "  a long name\n" + sha256Empty + "  another\n"
	for n := range len(file) {
		_, err := readSums(strings.NewReader(file[:n]))
		if n == 0 || file[n-1] == '\n' {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut to %q", file[:n])
		}
	}
}

func TestReadSums_PassesOnAnErrorOfTheReader(t *testing.T) {
	t.Parallel()
	cause := errors.New("cable pulled")
	_, err := readSums(io.MultiReader(strings.NewReader(sha256Empty+"  a\n"), iotest.ErrReader(cause)))
	require.ErrorIs(t, err, cause)
}

// What ReadSums would refuse, WriteSums does.
func TestWriteSums_WritesNothingThatReadSumsRefuses(t *testing.T) {
	t.Parallel()
	hash := make([]byte, 32)
	for _, name := range []string{"", ".", "..", "/a", "../a", "a/../b", "a/", "a//b", "./a", "a\x00b"} {
		err := transfer.WriteSums(io.Discard, each([]transfer.Sum{{Name: name, Hash: hash}}, nil))
		require.ErrorIs(t, err, transfer.ErrName, "%q", name)
	}
	err := transfer.WriteSums(io.Discard, each([]transfer.Sum{{Name: "a", Hash: hash}, {Name: "a", Hash: hash}}, nil))
	require.ErrorIs(t, err, transfer.ErrDuplicate)
	require.Error(t, transfer.WriteSums(io.Discard, each([]transfer.Sum{{Name: "a"}}, nil)))
	require.Error(t, transfer.WriteSums(io.Discard, each([]transfer.Sum{{Name: "a", Hash: make([]byte, 31)}}, nil)))
	require.Error(t, transfer.WriteSums(io.Discard, each([]transfer.Sum{{Name: "a", Hash: hash}, {Name: "b", Hash: hash[:16]}}, nil)))
}

func TestWriteSums_PassesOnErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("cable pulled")
	one := []transfer.Sum{{Name: "a", Hash: make([]byte, 32)}}
	require.ErrorIs(t, transfer.WriteSums(io.Discard, each(one, cause)), cause)
	require.ErrorIs(t, transfer.WriteSums(&smallWriter{room: 10, err: cause}, each(one, nil)), cause)
}

// What ReadSums accepts, WriteSums writes so that it is read again.
func FuzzReadSums(f *testing.F) {
	f.Add([]byte(sha256Empty + "  a\n"))
	f.Add([]byte(`\` + sha256Empty + ` *a\nb` + "\r\n"))
	f.Add([]byte("# c\nMD5 (x) = " + md5Empty + "\n"))
	f.Add([]byte(md5Empty + "  -\n" + md5Empty + "  ./a\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		want, err := readSums(bytes.NewReader(file))
		if err != nil {
			if _, ok := errors.AsType[*transfer.SumsError](err); !ok {
				t.Fatalf("not a *SumsError: %v", err)
			}
			return
		}
		var again bytes.Buffer
		require.NoError(t, transfer.WriteSums(&again, each(want, nil)))
		got, err := readSums(&again)
		require.NoError(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("read again (-want +got):\n%s", diff)
		}
	})
}
