// Package sshtest starts the real OpenSSH server for tests, on a free port of
// the loopback with keys of its own, and a proxy that cuts connections.
package sshtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

	dials atomic.Int64
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

// ExternalSFTP is a line for [Start] that has SFTP served by a program of its
// own, as Debian does, rather than within sshd.
func ExternalSFTP(t testing.TB) string {
	t.Helper()
	for _, f := range []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/libexec/openssh/sftp-server"} {
		if _, err := os.Stat(f); err == nil {
			return "Subsystem sftp " + f
		}
	}
	Need(t, "sftp-server")
	return "Subsystem sftp sftp-server"
}

// Start starts a server that lets one new key in. Lines are added to its
// configuration, before the rest, so that they win.
//
// It serves each connection with an sshd of its own, as inetd and systemd do:
// there is no moment at which the port is not ours.
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
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sshd{Addr: lis.Addr().String(), User: me.Username, Dir: t.TempDir(), Log: &Buffer{}}
	hostFile, hostKey := NewKey(t, s.Dir, "host", "")
	keyFile, key := NewKey(t, s.Dir, "id", "")
	s.Key, s.HostKey = keyFile, hostKey
	authorized := WriteFile(t, "authorized_keys", string(ssh.MarshalAuthorizedKey(key)))
	s.KnownHosts = WriteFile(t, "known_hosts", knownhosts.Line([]string{s.Addr}, hostKey)+"\n")

	given := strings.Join(lines, "\n")
	if !strings.Contains(given, "HostKey ") {
		lines = append(lines, "HostKey "+hostFile)
	}
	if !strings.Contains(given, "Subsystem ") {
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	conf := WriteFile(t, "sshd_config", strings.Join(append(lines,
		"AuthorizedKeysFile "+authorized,
		"PidFile none", "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"PermitRootLogin yes", "AllowTcpForwarding yes",
		"SetEnv SHLVL=1", // keeps bash from reading the .bashrc of whoever runs the tests
	), "\n")+"\n")

	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		lis.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			s.dials.Add(1)
			file, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				continue
			}
			cmd := exec.CommandContext(ctx, program, "-i", "-e", "-f", conf)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, s.Log
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			cmd.WaitDelay = time.Second
			err = cmd.Start()
			file.Close()
			if err != nil {
				fmt.Fprintln(s.Log, err)
				continue
			}
			wg.Go(func() { _ = cmd.Wait() }) // its log says what happened
		}
	})
	return s
}

// Instead has a program of the far side replaced by the rest of a shell script, in
// which $real is the program and $dir the last argument. It returns a line for
// [Start].
func Instead(t testing.TB, program, script string) string {
	t.Helper()
	Need(t, program)
	real, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := "#!/bin/sh\nreal=" + real + "\nfor dir; do :; done\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, program), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return "SetEnv PATH=" + dir + ":" + os.Getenv("PATH") + " SHLVL=1"
}

// Dials is how many connections the server has been asked for.
func (s *Sshd) Dials() int { return int(s.dials.Load()) }

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
