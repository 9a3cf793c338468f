// Package demo is what the demonstrations of the example mains share: a folder for
// all of it, a machine to fetch from over SSH, and a mail server, both on the loopback.
package demo

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/report/mailer/smtpsink"
	"github.com/obskeep/obskeep/transfer/sshstore/sshserver"
)

// World is where a demonstration takes place.
type World struct {
	dir  string
	mail *smtpsink.Sink
	ssh  *sshserver.Server
}

// New makes a temporary folder with these folders in it, and starts the mail server.
func New(dirs ...string) (*World, error) {
	dir, err := os.MkdirTemp("", "obskeep-demo-")
	if err != nil {
		return nil, err
	}
	w := &World{dir: dir}
	for _, name := range dirs {
		if err := os.MkdirAll(w.Path(name), 0o755); err != nil {
			return nil, err
		}
	}
	w.mail, err = smtpsink.New("127.0.0.1:0")
	return w, err
}

// Path is a file or folder of the world; none named: its own folder.
func (w *World) Path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

// slash is Path for a configuration.
func (w *World) slash(elem ...string) string { return filepath.ToSlash(w.Path(elem...)) }

// Serve serves a folder over SSH, to read.
func (w *World) Serve(dir string) error {
	key, err := newKey(w.Path("id_ed25519"))
	if err != nil {
		return err
	}
	if w.ssh, err = sshserver.Start(w.Path(dir), "backup", key); err != nil {
		return err
	}
	return os.WriteFile(w.Path("known_hosts"), []byte(w.ssh.KnownHostsLine()+"\n"), 0o644)
}

// SSH are the lines of a configuration that lead to what is served.
func (w *World) SSH() string {
	return fmt.Sprintf("address = %q\nuser = \"backup\"\nkey = %q\nknown_hosts = %q\n",
		w.ssh.Addr(), w.slash("id_ed25519"), w.slash("known_hosts"))
}

// WriteConfig writes a configuration, in which "DIR/" at the beginning of a path stands
// for the folder of the world, with a table for the report, and returns its file.
func (w *World) WriteConfig(name, text string) (string, error) {
	text = strings.ReplaceAll(text, `"DIR/`, `"`+w.slash()+"/")
	text += fmt.Sprintf(`
[report]
to = ["ops@example.org"]
from = "obskeep@example.org"
smtp = %q
spool = %q
when = "always"
`, w.mail.Addr(), w.slash("spool"))
	file := w.Path(name)
	return file, os.WriteFile(file, []byte(text), 0o644)
}

// Mails puts the mails that have come into files, and returns their names.
func (w *World) Mails() (string, error) {
	var files []string
	for i, m := range w.mail.Messages() {
		file := w.Path(fmt.Sprintf("mail-%d.eml", i+1))
		if err := os.WriteFile(file, m.Data, 0o644); err != nil {
			return "", err
		}
		files = append(files, file)
	}
	return strings.Join(files, ", "), nil
}

// Close stops the servers. The folder stays, to be looked at.
func (w *World) Close() error {
	var err error
	if w.ssh != nil {
		err = w.ssh.Close()
	}
	if w.mail != nil {
		err = errors.Join(err, w.mail.Close())
	}
	return err
}

// Remove removes the folder.
func (w *World) Remove() error { return os.RemoveAll(w.dir) }

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
