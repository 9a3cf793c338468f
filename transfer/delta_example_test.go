package transfer_test

import (
	"bytes"
	"fmt"
	"iter"
	"log"
	"os"
	"strings"

	"github.com/obskeep/obskeep/transfer"
)

// A station holds yesterday's state of a file. It sends the signature; the
// logger answers with what changed.
func ExampleDelta() {
	old := strings.Repeat("2026-268 48212.3 nT\n", 1000)
	current := "# corrected\n" + old + "2026-269 48213.0 nT\n"

	sig, err := transfer.Sign(strings.NewReader(old), 2048)
	if err != nil {
		log.Fatal(err)
	}
	for op, err := range transfer.Delta(sig, strings.NewReader(current)) {
		if err != nil {
			log.Fatal(err)
		}
		if op.Len > 0 {
			fmt.Printf("copy %d bytes from %d\n", op.Len, op.Off)
		} else {
			fmt.Printf("insert %q\n", op.Data)
		}
	}
	// Output:
	// insert "# corrected\n"
	// copy 20000 bytes from 0
	// insert "2026-269 48213.0 nT\n"
}

func ExamplePatch() {
	old := strings.Repeat("2026-268 48212.3 nT\n", 1000)
	current := old + "2026-269 48213.0 nT\n"

	sig, err := transfer.Sign(strings.NewReader(old), transfer.BlockSize(int64(len(old))))
	if err != nil {
		log.Fatal(err)
	}
	var restored bytes.Buffer
	delta := transfer.Delta(sig, strings.NewReader(current))
	if err := transfer.Patch(&restored, strings.NewReader(old), delta); err != nil {
		log.Fatal(err)
	}
	fmt.Println(restored.String() == current)
	// Output: true
}

func ExampleReadSums() {
	file := "d41d8cd98f00b204e9800998ecf8427e  empty.dat\n"
	for sum, err := range transfer.ReadSums(strings.NewReader(file)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %x\n", sum.Name, sum.Hash)
	}
	// Output: empty.dat: d41d8cd98f00b204e9800998ecf8427e
}

func ExampleWriteSums() {
	var sums iter.Seq2[transfer.Sum, error] = func(yield func(transfer.Sum, error) bool) {
		yield(transfer.Sum{Name: "268/two\nlines.dat", Hash: make([]byte, 16)}, nil)
	}
	if err := transfer.WriteSums(os.Stdout, sums); err != nil {
		log.Fatal(err)
	}
	// Output: \00000000000000000000000000000000  268/two\nlines.dat
}
