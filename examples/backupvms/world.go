package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/report/mailer/smtpsink"
	"github.com/obskeep/obskeep/transfer/sshstore/sshserver"
	"github.com/obskeep/obskeep/vmimage"
	"github.com/obskeep/obskeep/vmimage/disk"
	"github.com/obskeep/obskeep/vmimage/plain"
)

// world is the demonstration: a server that serves the images of two machines over
// SSH, and a mail server, both on the loopback, and a configuration for them. Last week's
// images are here already.
type world struct {
	dir    string
	config string
	ssh    *sshserver.Server
	mail   *smtpsink.Sink
}

func newWorld(ctx context.Context) (w *world, err error) {
	w = new(world)
	if w.dir, err = os.MkdirTemp("", "obskeep-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for _, dir := range []string{"server/images", "backup"} {
		if err := os.MkdirAll(filepath.Join(w.dir, filepath.FromSlash(dir)), 0o755); err != nil {
			return nil, err
		}
	}
	week := 7 * 24 * time.Hour
	last := time.Now().Add(-time.Hour)
	for _, machine := range []string{"db01", "web01"} {
		for _, dir := range []string{"server/images", "backup"} {
			if err := w.image(ctx, dir, machine, last.Add(-week), 0); err != nil {
				return nil, err
			}
		}
		if err := w.image(ctx, "server/images", machine, last, 1); err != nil {
			return nil, err
		}
	}
	key, err := newKey(filepath.Join(w.dir, "id_ed25519"))
	if err != nil {
		return nil, err
	}
	if w.ssh, err = sshserver.Start(filepath.Join(w.dir, "server"), "backup", key); err != nil {
		return nil, err
	}
	if w.mail, err = smtpsink.New("127.0.0.1:0"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(w.dir, "known_hosts"), []byte(w.ssh.KnownHostsLine()+"\n"), 0o644); err != nil {
		return nil, err
	}
	w.config = filepath.Join(w.dir, "vms.toml")
	return w, os.WriteFile(w.config, []byte(w.toml()), 0o644)
}

// image stores an image of a synthetic disk, of which a few blocks change with each
// generation.
func (w *world) image(ctx context.Context, dir, machine string, taken time.Time, generation int) (err error) {
	path := filepath.Join(w.dir, "disk.raw")
	if err := synthesize(path, machine, generation); err != nil {
		return err
	}
	target, err := plain.Open(filepath.Join(w.dir, filepath.FromSlash(dir)), nil)
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

func (w *world) toml() string {
	return fmt.Sprintf(`expect = "192h"

[source]
address = %q
user = "backup"
key = %q
known_hosts = %q
path = "images"

[target]
path = %q
reserve = "1 MiB"
keep_last = 2
keep_weekly = 8

[report]
to = ["ops@example.org"]
from = "obskeep@example.org"
smtp = %q
spool = %q
when = "always"
`, w.ssh.Addr(), w.slash("id_ed25519"), w.slash("known_hosts"), w.slash("backup"), w.mail.Addr(), w.slash("spool"))
}

func (w *world) slash(elem ...string) string {
	return filepath.ToSlash(filepath.Join(append([]string{w.dir}, elem...)...))
}

// guide says where everything lies, once the job is done.
func (w *world) guide() string {
	var mails []string
	for i, m := range w.mail.Messages() {
		file := filepath.Join(w.dir, fmt.Sprintf("mail-%d.eml", i+1))
		if err := os.WriteFile(file, m.Data, 0o644); err != nil {
			file = err.Error()
		}
		mails = append(mails, file)
	}
	return fmt.Sprintf(`
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
`, filepath.Join(w.dir, "server"), filepath.Join(w.dir, "backup"), strings.Join(mails, ", "), w.config,
		filepath.Join(w.dir, "backup", "web01", "*"))
}

func (w *world) close() {
	if w.ssh != nil {
		w.ssh.Close()
	}
	if w.mail != nil {
		w.mail.Close()
	}
}

// newKey writes a private key and returns its public half.
func newKey(file string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(public)
}
