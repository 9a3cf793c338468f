package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/examples/internal/demo"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// demonstrate does the job in a small world: a server has the images of two machines, of
// which last week's are here already.
func (j *job) demonstrate(ctx context.Context) (int, error) {
	w, err := demo.New("server/images", "backup")
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	defer w.Close()
	server, here := w.Path("server/images"), w.Path("backup")
	last := time.Now().Add(-time.Hour)
	week := 7 * 24 * time.Hour
	for _, machine := range []string{"db01", "web01"} {
		err := errors.Join(
			image(ctx, server, machine, last.Add(-week), 0),
			image(ctx, here, machine, last.Add(-week), 0),
			image(ctx, server, machine, last, 1),
		)
		if err != nil {
			return 0, fmt.Errorf("demonstration: %w", err)
		}
	}
	if err := w.Serve("server"); err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	file, err := w.WriteConfig("vms.toml", "expect = \"192h\"\n\n[source]\n"+w.SSH()+`path = "images"

[target]
path = "DIR/backup"
reserve = "1 MiB"
keep_last = 2
keep_weekly = 8
`)
	if err != nil {
		return 0, fmt.Errorf("demonstration: %w", err)
	}
	if err := script.ReadConfig(file, &j.config); err != nil {
		return 0, err
	}
	j.demo = !j.flags.JSON && !j.flags.DryRun
	code, err := j.run(ctx)
	if !j.demo {
		return code, errors.Join(err, w.Remove())
	}
	mails, mailErr := w.Mails()
	fmt.Fprintf(j.stdout, `
That was the real job, over SSH and SMTP on the loopback, with synthetic disks:
  the server            %s
  the images here       %s
  the mail              %s
  the configuration     %s
Last week's images were here already, this week's were fetched. This server has SFTP
alone, so that all of them was sent; with rsync on the server only what differs is.
Each image can be verified and restored without us:
  cd %s && sha256sum -c SHA256SUMS
The folder is yours to look at and to remove.
`, w.Path("server"), here, mails, file, w.Path("backup/web01/*"))
	return code, errors.Join(err, mailErr)
}

// image stores an image of a synthetic disk, of which a few blocks change with each
// generation.
func image(ctx context.Context, dir, machine string, taken time.Time, generation int) (err error) {
	path := filepath.Join(dir, "disk.raw")
	if err := synthesize(path, machine, generation); err != nil {
		return err
	}
	target, err := plain.Open(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	source, err := disk.Open(path, "raw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close(), os.Remove(path)) }()
	image, err := target.Store(ctx, vmimage.Image{
		Machine: machine, ID: vmimage.NewID(taken), Taken: taken.UTC(), Consistency: vmimage.Clean,
		Shutdown: 3 * time.Second, Down: 7 * time.Second,
	}, vmimage.Content{
		Disks: []vmimage.Disk{{Name: "vda", Source: source}},
		Files: []vmimage.Small{{Name: "domain.xml", Data: fmt.Appendf(nil, "<domain type='synthetic'><name>%s</name></domain>\n", machine)}},
	})
	if err == nil {
		_, err = target.Verify(ctx, image)
	}
	return err
}

// synthesize writes a disk of 32 MiB, of which a quarter holds data.
func synthesize(path, machine string, generation int) error {
	const block, blocks = 64 << 10, 512
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(block * blocks)
	for i := 0; i < blocks && err == nil; i += 4 {
		of := 0
		if i%100 == 0 {
			of = generation
		}
		line := fmt.Sprintf("synthetic, of no machine: block %d of %s, generation %d\n", i, machine, of)
		_, err = f.WriteAt(bytes.Repeat([]byte(line), block/len(line)), int64(i*block))
	}
	return errors.Join(err, f.Close())
}
