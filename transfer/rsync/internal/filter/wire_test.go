package filter_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

func encode(t testing.TB, l filter.List) []byte {
	t.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	l.Write(w)
	require.NoError(t, w.Flush())
	return b.Bytes()
}

func read(data []byte) (filter.List, error) {
	return filter.Read(wire.NewReader(bytes.NewReader(data)))
}

func TestWrite_IsLengthAndTextAndAZero(t *testing.T) {
	t.Parallel()
	require.Equal(t, []byte("\x07\x00\x00\x00- *.tmp\x08\x00\x00\x00+! /2026\x00\x00\x00\x00"),
		encode(t, parse(t, "- *.tmp", "+! /2026")))
	require.Equal(t, make([]byte, 4), encode(t, nil), "an empty list is its end")
}

func TestRead_ReadsWhatWriteWrites(t *testing.T) {
	t.Parallel()
	want := parse(t, "- *.tmp", "+ */", "-!srp a b/", "- /")
	got, err := read(encode(t, want))
	require.NoError(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRead_RefusesALengthThatNoRuleHas(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"\xff\xff\xff\xff", "\xff\xff\xff\x7f", "\x11\x10\x00\x00"} {
		_, err := read([]byte(head + "- x"))
		require.ErrorIs(t, err, wire.ErrInvalid)
	}
}

// Read never allocates much more than has arrived, and a list has a limit.
func TestRead_BoundsTheList(t *testing.T) {
	t.Parallel()
	_, err := filter.Read(wire.NewReader(endless{}))
	require.ErrorIs(t, err, wire.ErrInvalid)
}

// endless is a list of rules without its end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	const rule = "\x03\x00\x00\x00- x"
	return copy(p, strings.Repeat(rule, len(p)/len(rule))), nil
}

func TestRead_TellsAListThatIsCut(t *testing.T) {
	t.Parallel()
	whole := encode(t, parse(t, "- *.tmp", "+ x"))
	for n := range len(whole) {
		_, err := read(whole[:n])
		require.Error(t, err, n)
	}
	_, err := read(whole[:6])
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestRead_RefusesARuleThatIsNotFollowed(t *testing.T) {
	t.Parallel()
	_, err := read([]byte("\x08\x00\x00\x00: .rules\x00\x00\x00\x00"))
	require.ErrorIs(t, err, filter.ErrRule)
}

// What Read takes from hostile bytes is a list that Write writes again.
func FuzzRead(f *testing.F) {
	f.Add(encode(f, parse(f, "- *.tmp", "+ */", "-!srp a b/", "- /")))
	f.Add([]byte("\x08\x00\x00\x00: .rules\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\x7f- x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := read(data)
		if err != nil {
			require.Empty(t, l)
			return
		}
		again, err := read(encode(t, l))
		require.NoError(t, err)
		if diff := cmp.Diff(l, again); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
