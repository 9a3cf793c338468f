// Package sshtest starts the real OpenSSH server for tests, on a free port of
// the loopback with keys of its own, and a proxy that cuts connections.
package sshtest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/obskeep/obskeep/transfer/sshstore"
)

// Sshd is a running OpenSSH server.
type Sshd struct {
	Addr       string
	User       string
	Key        string // private key file that may log in
	KnownHosts string // file that knows the server
	HostKey    ssh.PublicKey
	Dir        string // of keys and configuration
	Log        *Buffer
}

// Config logs in to the server.
func (s *Sshd) Config() sshstore.Config {
	return sshstore.Config{
		Addr: s.Addr, User: s.User, Keys: []string{s.Key}, Agent: "none",
		KnownHosts: []string{s.KnownHosts}, Timeout: 10 * time.Second,
	}
}

// Via is Config through a proxy for the server, under the server's name.
func (s *Sshd) Via(t testing.TB, p *Proxy) sshstore.Config {
	t.Helper()
	c := s.Config()
	c.Addr = p.Addr()
	c.KnownHosts = []string{WriteFile(t, "known_hosts", knownhosts.Line([]string{c.Addr}, s.HostKey)+"\n")}
	return c
}

// Need ends the test if a program is missing: it is skipped, or fails where
// everything is required.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
				t.Fatalf("%s is not installed", p)
			}
			t.Skipf("%s is not installed", p)
		}
	}
}

// Start starts a server that lets one new key in. Lines are added to its
// configuration, before the rest, so that they win.
func Start(t testing.TB, lines ...string) *Sshd {
	t.Helper()
	const program = "/usr/sbin/sshd"
	Need(t, program)
	if os.Getuid() == 0 {
		// Where sshd, started by root, locks itself in before login.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &Sshd{User: me.Username, Dir: t.TempDir(), Log: &Buffer{}}
	hostFile, hostKey := NewKey(t, s.Dir, "host", "")
	keyFile, key := NewKey(t, s.Dir, "id", "")
	s.Key, s.HostKey = keyFile, hostKey
	authorized := WriteFile(t, "authorized_keys", string(ssh.MarshalAuthorizedKey(key)))

	sftpServer := "internal-sftp"
	for _, f := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server"} {
		if _, err := os.Stat(f); err == nil {
			sftpServer = f
		}
	}
	s.Addr = freeAddr(t)
	_, port, _ := net.SplitHostPort(s.Addr)
	conf := strings.Join(append(lines,
		"ListenAddress 127.0.0.1", "Port "+port, "HostKey "+hostFile, "AuthorizedKeysFile "+authorized,
		"PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"PermitRootLogin yes", "MaxStartups 100", "AllowTcpForwarding yes", "Subsystem sftp "+sftpServer,
	), "\n") + "\n"
	confFile := filepath.Join(s.Dir, "sshd_config")
	if err := os.WriteFile(confFile, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s.KnownHosts = filepath.Join(s.Dir, "known_hosts")
	if err := os.WriteFile(s.KnownHosts, []byte(knownhosts.Line([]string{s.Addr}, hostKey)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(program, "-D", "-e", "-f", confFile)
	cmd.Stderr = s.Log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", s.Addr)
		if err == nil {
			c.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("sshd does not answer: %v\n%s", err, s.Log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// NewKey writes a new private key, encrypted if there is a passphrase.
func NewKey(t testing.TB, dir, name, passphrase string) (file string, key ssh.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err = ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, key
}

// WriteFile writes a file into a new directory.
func WriteFile(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Buffer is a bytes.Buffer for several goroutines.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Shell runs a command and fails the test with its output if it fails.
func Shell(t testing.TB, dir, command string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}
