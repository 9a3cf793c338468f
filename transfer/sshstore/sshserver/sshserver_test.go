package sshserver_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/obskeep/obskeep/transfer/sshstore/sshserver"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// account starts a server of a new folder, and returns who may enter.
func account(t *testing.T) (s *sshserver.Server, dir string, me *ssh.ClientConfig) {
	t.Helper()
	file, key := sshtest.NewKey(t, t.TempDir(), "id", "")
	pem, err := os.ReadFile(file)
	require.NoError(t, err)
	signer, err := ssh.ParsePrivateKey(pem)
	require.NoError(t, err)
	dir = t.TempDir()
	s, err = sshserver.Start(dir, "backup", key)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	_, _, host, _, _, err := ssh.ParseKnownHosts([]byte(s.KnownHostsLine()))
	require.NoError(t, err)
	return s, dir, &ssh.ClientConfig{
		User: "backup", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(host), Timeout: 10 * time.Second,
	}
}

func dial(t *testing.T, s *sshserver.Server, me *ssh.ClientConfig) *sftp.Client {
	t.Helper()
	conn, err := ssh.Dial("tcp", s.Addr(), me)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	c, err := sftp.NewClient(conn)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// Only the user with the key gets in.
func TestServer_RefusesOthers(t *testing.T) {
	t.Parallel()
	s, _, me := account(t)
	dial(t, s, me)
	other := *me
	other.User = "root"
	_, err := ssh.Dial("tcp", s.Addr(), &other)
	require.Error(t, err)
	_, _, stranger := account(t)
	other = *me
	other.Auth = stranger.Auth
	_, err = ssh.Dial("tcp", s.Addr(), &other)
	require.Error(t, err)
	other.Auth = []ssh.AuthMethod{ssh.Password("")}
	_, err = ssh.Dial("tcp", s.Addr(), &other)
	require.Error(t, err)
}

// Nothing can be changed.
func TestServer_IsReadOnly(t *testing.T) {
	t.Parallel()
	s, dir, me := account(t)
	file := filepath.Join(dir, "x")
	require.NoError(t, os.WriteFile(file, []byte("kept"), 0o600))
	before, err := os.Stat(file)
	require.NoError(t, err)
	c := dial(t, s, me)

	for _, flags := range []int{os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREATE} {
		f, err := c.OpenFile("/x", flags)
		if err == nil {
			_, err = f.Write([]byte("x"))
			f.Close()
		}
		require.Error(t, err)
	}
	_, err = c.Create("/new")
	require.Error(t, err)
	require.Error(t, c.Remove("/x"))
	require.Error(t, c.Rename("/x", "/y"))
	require.Error(t, c.PosixRename("/x", "/y"))
	require.Error(t, c.Chmod("/x", 0o777))
	require.Error(t, c.Truncate("/x", 0))
	require.Error(t, c.Chtimes("/x", time.Now(), time.Now()))
	require.Error(t, c.Mkdir("/d"))
	require.Error(t, c.Symlink("/x", "/l"))
	require.Error(t, c.Link("/x", "/l"))

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "kept", string(text))
	after, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, before.Mode(), after.Mode())
	require.Equal(t, before.ModTime(), after.ModTime())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// Nothing outside the folder can be read.
func TestServer_LeadsNowhereElse(t *testing.T) {
	t.Parallel()
	s, dir, me := account(t)
	secret := sshtest.WriteFile(t, "secret", "secret")
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "file")))
	require.NoError(t, os.Symlink(filepath.Dir(secret), filepath.Join(dir, "dir")))
	require.NoError(t, os.Symlink("../../../../../../../..", filepath.Join(dir, "up")))
	c := dial(t, s, me)
	for _, name := range []string{"/file", "/dir/secret", "/up" + secret, secret, "/.." + secret, "../../.." + secret} {
		f, err := c.Open(name)
		if err == nil {
			_, err = f.Read(make([]byte, 1))
			f.Close()
		}
		require.Error(t, err, name)
		_, err = c.Stat(name)
		require.Error(t, err, name)
	}
	for _, name := range []string{"/dir", "/up"} {
		_, err := c.ReadDir(name)
		require.Error(t, err, name)
	}
	target, err := c.ReadLink("/file")
	require.NoError(t, err)
	require.Equal(t, secret, target, "what a link says may be known")
}

// No program is run.
func TestServer_RunsNothing(t *testing.T) {
	t.Parallel()
	s, _, me := account(t)
	conn, err := ssh.Dial("tcp", s.Addr(), me)
	require.NoError(t, err)
	defer conn.Close()
	for _, start := range []func(*ssh.Session) error{
		func(s *ssh.Session) error { return s.Run("true") },
		func(s *ssh.Session) error { return s.Shell() },
		func(s *ssh.Session) error { return s.RequestSubsystem("other") },
	} {
		session, err := conn.NewSession()
		require.NoError(t, err)
		require.Error(t, start(session))
		session.Close()
	}
	_, err = conn.Dial("tcp", s.Addr())
	require.Error(t, err, "nor is it a way to elsewhere")
}

// When Close returns nothing runs any more, whatever clients are doing.
func TestClose_EndsAllConnections(t *testing.T) {
	t.Parallel()
	s, dir, me := account(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), make([]byte, 1<<20), 0o600))
	sshtest.Shell(t, dir, "mkfifo pipe")
	c := dial(t, s, me)
	half, err := net.Dial("tcp", s.Addr()) // never logs in
	require.NoError(t, err)
	defer half.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			f, err := c.Open("/x")
			if err != nil {
				return
			}
			_, _ = f.WriteTo(io.Discard) // ends when the server does
			f.Close()
		}
	})
	_, err = c.Open("/pipe")
	require.Error(t, err, "a named pipe is not waited for")
	require.NoError(t, s.Close())
	wg.Wait()
	_, err = net.Dial("tcp", s.Addr())
	require.Error(t, err)
}
