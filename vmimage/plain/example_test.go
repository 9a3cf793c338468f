package plain_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// The disk of a machine that is off is imaged, verified and restored elsewhere.
func Example() {
	work, err := os.MkdirTemp("", "plain")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(work)
	if err := weekly(context.Background(), work); err != nil {
		fmt.Println(err)
	}
	// Output:
	// web01/2026-268T0200Z vda.img 1048576 bytes, 4096 of them data
	// restored: boot sector
}

func weekly(ctx context.Context, work string) error {
	images, elsewhere := filepath.Join(work, "images"), filepath.Join(work, "elsewhere")
	path := filepath.Join(work, "web01.raw")
	for _, dir := range []string{images, elsewhere} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(path, []byte("boot sector"), 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		return err
	}

	target, err := plain.Open(images, nil)
	if err != nil {
		return err
	}
	defer target.Close()
	source, err := disk.Open(path, "raw")
	if err != nil {
		return err
	}
	defer source.Close()
	taken := time.Date(2026, 9, 25, 2, 0, 0, 0, time.UTC)
	image, err := target.Store(ctx, vmimage.Image{
		Machine: "web01", ID: vmimage.NewID(taken), Taken: taken, Consistency: vmimage.Clean,
	}, vmimage.Content{Disks: []vmimage.Disk{{Name: "vda", Source: source}}})
	if err != nil {
		return err
	}
	if image, err = target.Verify(ctx, image); err != nil {
		return err
	}
	f := image.Files[0]
	fmt.Printf("%s/%s %s %d bytes, %d of them data\n", image.Machine, image.ID, f.Name, f.Size, f.Allocated)
	if err := target.Restore(ctx, image, elsewhere); err != nil {
		return err
	}
	restored, err := os.ReadFile(filepath.Join(elsewhere, "vda.img"))
	if err != nil {
		return err
	}
	fmt.Printf("restored: %s\n", restored[:11])
	return nil
}
