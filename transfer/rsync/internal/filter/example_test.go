package filter_test

import (
	"fmt"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
)

// Only the total electron content of each day is wanted: directories are
// walked, everything else is left out.
func ExampleList_Excluded() {
	var l filter.List
	for _, text := range []string{"+ */", "+ tec.dat", "- *"} {
		r, err := filter.Parse(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		l = append(l, r)
	}
	fmt.Println(l.Excluded("2026/060", true))
	fmt.Println(l.Excluded("2026/060/tec.dat", false))
	fmt.Println(l.Excluded("2026/060/core.1234", false))
	// Output:
	// false
	// false
	// true
}
