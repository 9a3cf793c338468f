package fetch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/fetch"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// The images of a server are fetched, here from a folder; package sshstore reaches
// one on another machine.
func Example() {
	work, err := os.MkdirTemp("", "fetch")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(work)
	if err := weekly(context.Background(), filepath.Join(work, "server"), filepath.Join(work, "backup")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// to fetch: web01/2026-268T0200Z
	// web01/2026-268T0200Z: 1 file verified
}

func weekly(ctx context.Context, server, backup string) error {
	if err := makeImage(ctx, server); err != nil {
		return err
	}
	if err := os.Mkdir(backup, 0o700); err != nil {
		return err
	}
	source, err := dirstore.Open(server)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := plain.Open(backup, nil)
	if err != nil {
		return err
	}
	defer target.Close()

	f, err := fetch.New(fetch.Config{
		Source: source,
		Keeper: vmimage.Keeper{Target: target, Policy: vmimage.Policy{Last: 2, Weekly: 4, Monthly: 12}},
		Expect: 8 * 24 * time.Hour,
		Now:    func() time.Time { return time.Date(2026, 9, 25, 8, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		return err
	}
	plan, err := f.Plan(ctx)
	if err != nil {
		return err
	}
	for _, i := range plan.Fetch {
		fmt.Printf("to fetch: %s/%s\n", i.Machine, i.ID)
	}
	return f.Run(ctx, plan, func(r fetch.Result) {
		if r.Err != nil {
			fmt.Println(r.Err)
			return
		}
		fmt.Printf("%s/%s: %d file verified\n", r.Machine, r.ID, r.Job().Verified)
	})
}

// makeImage makes an image of a disk as an engine would.
func makeImage(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	target, err := plain.Open(dir, nil)
	if err != nil {
		return err
	}
	defer target.Close()
	taken := time.Date(2026, 9, 25, 2, 0, 0, 0, time.UTC)
	image, err := target.Store(ctx, vmimage.Image{
		Machine: "web01", ID: vmimage.NewID(taken), Taken: taken, Consistency: vmimage.Clean,
	}, vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: memory("boot sector")}}})
	if err == nil {
		_, err = target.Verify(ctx, image)
	}
	return err
}
