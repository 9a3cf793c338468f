package flist_test

import (
	"bytes"
	"fmt"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// Both sides sort the list that one sent, and mean the same file by an index.
func Example() {
	o := flist.Options{Version: 32, Varint: true}
	var stream bytes.Buffer
	w := wire.NewWriter(&stream)
	e := flist.NewEncoder(w, o)
	for _, name := range []string{"2026/060/tec.dat", "2026/060", "2026", "README"} {
		mode := uint32(0o100644)
		if name == "2026" || name == "2026/060" {
			mode = 0o040755
		}
		e.Add(&flist.Entry{Name: name, Mode: mode})
	}
	e.End(0)
	e.IDs(flist.IDNames{})
	w.Flush()

	r := wire.NewReader(&stream)
	d := flist.NewDecoder(r, o)
	var list []*flist.Entry
	for f, ok := d.Next(); ok; f, ok = d.Next() {
		list = append(list, f)
	}
	d.IDs()
	flist.Sort(list)
	for i, f := range list {
		fmt.Println(i, f.Name)
	}
	fmt.Println(r.Err())
	// Output:
	// 0 README
	// 1 2026
	// 2 2026/060
	// 3 2026/060/tec.dat
	// <nil>
}
