package fixed_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/ingest/internal/fixed"
)

// Int reads exactly what fmt writes with %8d, and -0 with its sign.
func FuzzInt_ReadsWhatFmtWrites(f *testing.F) {
	for _, s := range []string{
		"       0", "      -0", "      -1", "12345678", "-1234567", "  123456", "00000001", " 1 23456", "        ",
		"       -", "  --1234", "1234567x", "\x801234567", "   1234:", "  /12345", "\xff\xff\xff\xff\xff\xff\xff1", "   +1234",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 8 {
			return
		}
		n, negative, ok := fixed.Int(binary.LittleEndian.Uint64(b))
		s := strings.TrimLeft(string(b), " ")
		want, err := strconv.Atoi(s)
		canonical := err == nil && (fmt.Sprintf("%8d", want) == string(b) || s == "-0")
		if ok != canonical || ok && (negative != strings.HasPrefix(s, "-") || int(n) != max(want, -want)) {
			t.Errorf("%q: %d %t %t", b, n, negative, ok)
		}
	})
}

// Fields finds what bytes.FieldsFunc finds between blanks and tabs, with its
// columns.
func FuzzFields_FindsWhatFieldsFuncFinds(f *testing.F) {
	for _, s := range []string{"", " ", "a", " a b\tc ", "a  b", "\t\tx", "one two three four five"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var fields [4]fixed.Field
		n := fixed.Fields(line, fields[:])
		want := bytes.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
		require.Len(t, want, n)
		for i, f := range fields[:min(n, len(fields))] {
			require.Equal(t, want[i], f.Text)
			require.Equal(t, f.Text, line[f.Column-1:f.End()-1])
		}
	})
}
