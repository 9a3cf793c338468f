package transfer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
)

// stores are a directory with the simulation output of one day, and an empty
// one. done removes both.
func stores() (src, dst *dirstore.Store, done func()) {
	dir, err := os.MkdirTemp("", "transfer")
	if err != nil {
		log.Fatal(err)
	}
	when := time.Date(2026, 9, 25, 4, 30, 0, 0, time.UTC)
	for name, text := range map[string]string{"268/run.log": "done\n", "268/ne.dat": "1.2e6\n", "268/core": "x"} {
		file := filepath.Join(dir, "supim", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644), os.Chtimes(file, when, when)); err != nil {
			log.Fatal(err)
		}
	}
	open := func(name string) *dirstore.Store {
		s, err := dirstore.Open(filepath.Join(dir, name))
		if err != nil {
			log.Fatal(err)
		}
		return s
	}
	if err := os.Mkdir(filepath.Join(dir, "backup"), 0o755); err != nil {
		log.Fatal(err)
	}
	src, dst = open("supim"), open("backup")
	return src, dst, func() {
		if err := errors.Join(src.Close(), dst.Close(), os.RemoveAll(dir)); err != nil {
			log.Print(err)
		}
	}
}

// A day of simulation output is copied, looked at before it is, and put under
// a manifest that sha256sum -c reads.
func Example() {
	ctx := context.Background()
	src, dst, done := stores()
	defer done()
	plan, err := transfer.PlanMirror(ctx, dst, src, &transfer.Options{From: "268", To: "supim/2026/268", Exclude: []string{"core"}})
	if err != nil {
		log.Fatal(err)
	}
	_, send := plan.Size()
	fmt.Println(send, "bytes to send")
	if _, err := plan.Run(ctx); err != nil {
		log.Fatal(err)
	}
	sums := transfer.SumTree(ctx, dst, sha256.New, &transfer.Options{From: "supim/2026/268"})
	if err := transfer.WriteSums(os.Stdout, sums); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 11 bytes to send
	// bce5638b7e0339371fb9dbdde8b281cad6d11b51b20efe9467eb451ddb021dfd  ne.dat
	// d117fa006ba9208500b2930ce69cbde436c647afa917cb7396a9bc9111a46dd2  run.log
}

// The second mirror of the same tree sends nothing.
func ExampleMirror() {
	ctx := context.Background()
	src, dst, done := stores()
	defer done()
	for range 2 {
		res, err := transfer.Mirror(ctx, dst, src, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d files: %d sent and verified, %d bytes sent\n", res.Files, res.Verified, res.Literal)
	}
	// Output:
	// 3 files: 3 sent and verified, 12 bytes sent
	// 3 files: 0 sent and verified, 0 bytes sent
}

// What is made in memory is stored under a name, whole or not at all.
func ExamplePush() {
	ctx := context.Background()
	_, dst, done := stores()
	defer done()
	text := "2 ok, 1 missed\n"
	info := transfer.Info{Name: "reports/2026-268.txt", Size: int64(len(text)), Mode: 0o644, ModTime: time.Now()}
	stats, err := transfer.Push(ctx, dst, info, strings.NewReader(text), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Literal, "bytes sent")
	// Output: 15 bytes sent
}

// One file is brought here under the same name.
func ExamplePull() {
	ctx := context.Background()
	src, dst, done := stores()
	defer done()
	if _, err := transfer.Pull(ctx, dst, src, "268/run.log", nil); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dst.Path(), "268/run.log"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", text)
	// Output: done
}

// A copy is compared with its source, by the bytes of all files.
func ExampleCompare() {
	ctx := context.Background()
	src, dst, done := stores()
	defer done()
	if _, err := transfer.Mirror(ctx, dst, src, nil); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dst.Path(), "268/ne.dat"), []byte("9.9e9\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	c, err := transfer.Compare(ctx, src, dst, &transfer.Options{Verify: transfer.VerifyAll})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("same:", c.Same)
	fmt.Println("differing:", c.Differing)
	// Output:
	// same: [. 268 268/core 268/run.log]
	// differing: [268/ne.dat]
}
