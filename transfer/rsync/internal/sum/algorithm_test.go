package sum_test

import (
	"fmt"
	"testing"

	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
	"github.com/stretchr/testify/require"
)

func algorithm(t testing.TB, name string) sum.Algorithm {
	t.Helper()
	a, ok := sum.ByName(name)
	require.True(t, ok, name)
	return a
}

// Names are in the order of the reference program; any other makes two sides
// of version 3.5.0 choose differently.
func TestNames_AreInTheReferenceOrder(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"xxh128", "xxh3", "xxh64", "md5", "md4", "sha1"}, sum.Names())
}

func TestByName_KnowsEachNameAndTheSynonym(t *testing.T) {
	t.Parallel()
	for _, name := range sum.Names() {
		require.Equal(t, name, algorithm(t, name).Name())
	}
	require.Equal(t, algorithm(t, "xxh64"), algorithm(t, "xxhash"))
	for _, name := range []string{"none", "", "XXH128", "md"} {
		a, ok := sum.ByName(name)
		require.False(t, ok, name)
		require.Zero(t, a.Size())
		require.Empty(t, a.Name())
	}
}

func ExampleByName() {
	a, ok := sum.ByName("xxhash")
	fmt.Println(a.Name(), a.Size(), ok)
	// Output: xxh64 8 true
}
