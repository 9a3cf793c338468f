package keep_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/keep"
)

// A simulation host has written the day; the day before never came.
func Example() {
	source, target := tempStore(), tempStore()
	day := filepath.Join(source.Path(), "2026", "268")
	write(day, "ne.dat", time.Now().Add(-time.Hour))

	k, err := keep.New(keep.Config{
		Source: source, SourceDays: julian.MustParsePattern("%Y/%j"),
		Target: target, TargetDays: julian.MustParsePattern("supim/%Y/%j"),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	today := julian.Date{Year: 2026, Day: 268}
	plan, err := k.Plan(ctx, today, today, 1)
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range plan.Days {
		fmt.Println("plan:", d.Date, d.State)
	}
	_, err = k.Run(ctx, plan, func(r keep.Result) {
		fmt.Println("done:", r.Date, r.Outcome, r.Kept)
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// plan: 2026-267 absent
	// plan: 2026-268 ready
	// done: 2026-267 missed false
	// done: 2026-268 ok true
}

func tempStore() *dirstore.Store {
	dir, err := os.MkdirTemp("", "keep-example-")
	if err != nil {
		log.Fatal(err)
	}
	s, err := dirstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	return s
}

func write(dir, name string, at time.Time) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, []byte("300.0 1.2e12\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	for _, n := range []string{name, dir} {
		if err := os.Chtimes(n, at, at); err != nil {
			log.Fatal(err)
		}
	}
}
