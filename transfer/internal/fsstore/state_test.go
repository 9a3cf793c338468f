package fsstore_test

import (
	"bytes"
	"testing"

	"github.com/obskeep/obskeep/transfer/internal/fsstore"
)

// A state in which any bit is wrong, or that is shorter or longer, is no state.
func TestState_RefusesEveryFlippedBit(t *testing.T) {
	t.Parallel()
	good := fsstore.State(1000, []byte("the first bytes"))
	if again, ok := fsstore.IsState(good); !ok || !bytes.Equal(good, again) {
		t.Fatalf("%x is read as %x", good, again)
	}
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, ok := fsstore.IsState(bad); ok {
			t.Errorf("bit %d does not matter", i)
		}
	}
	for n := range good {
		if _, ok := fsstore.IsState(good[:n]); ok {
			t.Errorf("the first %d bytes do", n)
		}
	}
}

func FuzzState_RoundTrips(f *testing.F) {
	f.Add(fsstore.State(0, nil))
	f.Add(fsstore.State(1<<40, []byte("x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, ok := fsstore.IsState(b); ok && !bytes.Equal(b, again) {
			t.Errorf("%x is read as %x", b, again)
		}
	})
}
