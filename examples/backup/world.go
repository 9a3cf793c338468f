package main

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report/mailer/smtpsink"
	"github.com/obskeep/obskeep/transfer/sshstore/sshserver"
)

// world is the demonstration: a simulation host that serves its days over
// SSH, and a mail server, both on the loopback, and a configuration for them.
type world struct {
	dir    string
	config string
	today  julian.Date
	ssh    *sshserver.Server
	mail   *smtpsink.Sink
}

func newWorld(today julian.Date) (w *world, err error) {
	w = &world{today: today}
	if w.dir, err = os.MkdirTemp("", "obskeep-demo-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for _, dir := range []string{"simulation-host", "backup/supim"} {
		if err := os.MkdirAll(filepath.Join(w.dir, filepath.FromSlash(dir)), 0o755); err != nil {
			return nil, err
		}
	}
	for _, day := range julian.Window(today, 2) {
		if err := simulate(filepath.Join(w.dir, "simulation-host", "supim"), day); err != nil {
			return nil, err
		}
	}
	key, err := newKey(filepath.Join(w.dir, "id_ed25519"))
	if err != nil {
		return nil, err
	}
	if w.ssh, err = sshserver.Start(filepath.Join(w.dir, "simulation-host"), "backup", key); err != nil {
		return nil, err
	}
	if w.mail, err = smtpsink.New("127.0.0.1:0"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(w.dir, "known_hosts"), []byte(w.ssh.KnownHostsLine()+"\n"), 0o644); err != nil {
		return nil, err
	}
	w.config = filepath.Join(w.dir, "supim.toml")
	return w, os.WriteFile(w.config, []byte(w.toml()), 0o644)
}

func (w *world) toml() string {
	return fmt.Sprintf(`[source]
address = %q
user = "backup"
key = %q
known_hosts = %q
path = "supim/%%Y/%%j"
settled = "10m"

[target]
path = %q
reserve = "1 MiB"
keep = 400

[report]
to = ["ops@example.org"]
from = "obskeep@example.org"
smtp = %q
spool = %q
when = "always"
`, w.ssh.Addr(), w.slash("id_ed25519"), w.slash("known_hosts"), w.slash("backup", "supim", "%Y", "%j"), w.mail.Addr(), w.slash("spool"))
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
That was the real job, over SSH and SMTP on the loopback, with synthetic data:
  the simulation host   %s
  the kept days         %s
  the mail              %s
  the configuration     %s
Each kept day can be verified without us:
  cd %s && sha256sum -c SHA256SUMS.obskeep
The folder is yours to look at and to remove.
`, filepath.Join(w.dir, "simulation-host"), filepath.Join(w.dir, "backup"), strings.Join(mails, ", "), w.config,
		filepath.Join(w.dir, "backup", "supim", filepath.FromSlash(julian.MustParsePattern("%Y/%j").Format(w.today))))
}

func (w *world) close() {
	if w.ssh != nil {
		w.ssh.Close()
	}
	if w.mail != nil {
		w.mail.Close()
	}
}

// simulate writes a day as an ionosphere model might: profiles of electron
// density by the hour, from a Chapman layer that follows the sun.
func simulate(dir string, day julian.Date) error {
	folder := filepath.Join(dir, filepath.FromSlash(julian.MustParsePattern("%Y/%j").Format(day)))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	written := min(day.AddDays(1).In(time.UTC).Unix(), time.Now().Add(-time.Hour).Unix())
	for hour := range 24 {
		var text strings.Builder
		fmt.Fprintf(&text, "# synthetic, not measured: electron density of %v, %02d UT, Cachoeira Paulista\n# km 1/m3\n", day, hour)
		for km := 90.0; km <= 1000; km += 2 {
			z := (km - 300) / 50
			peak := 2e11 + 1e12*math.Max(0, math.Cos(2*math.Pi*float64(hour-17)/24))
			fmt.Fprintf(&text, "%6.1f %.4e\n", km, peak*math.Exp((1-z-math.Exp(-z))/2))
		}
		name := filepath.Join(folder, fmt.Sprintf("supim-%v-%02d.dat", day, hour))
		err := os.WriteFile(name, []byte(text.String()), 0o644)
		if err := errors.Join(err, os.Chtimes(name, time.Time{}, time.Unix(written, 0))); err != nil {
			return err
		}
	}
	return os.Chtimes(folder, time.Time{}, time.Unix(written, 0))
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
