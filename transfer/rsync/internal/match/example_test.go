package match_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/obskeep/obskeep/transfer/rsync/internal/match"
	"github.com/obskeep/obskeep/transfer/rsync/internal/sum"
)

type printer struct{}

func (printer) Literal(p []byte) { fmt.Printf("literal %q\n", p) }
func (printer) Block(i int32)    { fmt.Println("block", i) }

func ExampleSearch() {
	a, _ := sum.ByName("xxh128")
	s := sum.Session{Algorithm: a, Seed: 1}
	old, now := []byte("0123456789abcdef"), []byte("4567, 0123 and ef")
	sums, _ := sum.Compute(context.Background(), bytes.NewReader(old), sum.NewHead(16, 4, 16), s, 1)

	_, read, err := match.Search(context.Background(), bytes.NewReader(now), int64(len(now)), sums, s, false, 1, printer{})
	fmt.Println(read, err)
	// Output:
	// block 1
	// literal ", "
	// block 0
	// literal " and ef"
	// 17 <nil>
}
