package sshstore_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// encrypted lets a key in that is encrypted.
func encrypted(t *testing.T) (sshstore.Config, string) {
	t.Helper()
	dir := t.TempDir()
	file, key := sshtest.NewKey(t, dir, "encrypted", "open sesame")
	authorized := sshtest.WriteFile(t, "authorized", string(ssh.MarshalAuthorizedKey(key)))
	c := sshtest.Start(t, "AuthorizedKeysFile "+authorized).Config()
	c.Keys = []string{file}
	return c, file
}

// An encrypted key is opened by its passphrase, which is asked for once,
// however often the connection is made again.
func TestOpen_AsksForAPassphraseOnce(t *testing.T) {
	t.Parallel()
	file, key := sshtest.NewKey(t, t.TempDir(), "encrypted", "open sesame")
	d := sshtest.Start(t, "AuthorizedKeysFile "+sshtest.WriteFile(t, "authorized", string(ssh.MarshalAuthorizedKey(key))))
	p := sshtest.NewProxy(t, d.Addr)
	c := d.Via(t, p)
	c.Keys = []string{file}
	asked := 0
	c.Passphrase = func(name string) ([]byte, error) {
		require.Equal(t, file, name)
		asked++
		return []byte("open sesame"), nil
	}
	s := open(t, c, t.TempDir())
	lose(t, s, p)
	_, err := s.Stat(t.Context(), ".")
	require.NoError(t, err)
	require.Equal(t, 1, asked)
}

// A key file that cannot be used is named, with the reason.
func TestOpen_NamesAKeyFileThatItCannotUse(t *testing.T) {
	t.Parallel()
	c, file := encrypted(t)
	t.Run("no passphrase", func(t *testing.T) {
		require.Equal(t, file, refused[*sshstore.KeyError](t, c).File)
	})
	t.Run("wrong passphrase", func(t *testing.T) {
		c := c
		c.Passphrase = func(string) ([]byte, error) { return []byte("open barley"), nil }
		require.Equal(t, file, refused[*sshstore.KeyError](t, c).File)
	})
	t.Run("passphrase not to be had", func(t *testing.T) {
		c := c
		gone := errors.New("no terminal")
		c.Passphrase = func(string) ([]byte, error) { return nil, gone }
		require.ErrorIs(t, refused[*sshstore.KeyError](t, c), gone)
	})
	t.Run("missing file", func(t *testing.T) {
		c := c
		c.Keys = []string{filepath.Join(t.TempDir(), "none")}
		e := refused[*sshstore.KeyError](t, c)
		require.Equal(t, c.Keys[0], e.File)
		require.ErrorIs(t, e, fs.ErrNotExist)
	})
	t.Run("unreadable file", func(t *testing.T) {
		c := c
		c.Keys = []string{t.TempDir()} // a directory: root can read all else
		require.Equal(t, c.Keys[0], refused[*sshstore.KeyError](t, c).File)
	})
	t.Run("others can read it", func(t *testing.T) {
		c := c
		file, _ := sshtest.NewKey(t, t.TempDir(), "id", "")
		require.NoError(t, os.Chmod(file, 0o640))
		c.Keys = []string{file}
		e := refused[*sshstore.KeyError](t, c)
		require.Equal(t, file, e.File)
		require.Contains(t, e.Error(), "chmod 600 "+file)
	})
	t.Run("garbage", func(t *testing.T) {
		c := c
		c.Keys = []string{sshtest.WriteFile(t, "garbage", "-----BEGIN OPENSSH PRIVATE KEY-----\ngarbage\n")}
		require.Equal(t, c.Keys[0], refused[*sshstore.KeyError](t, c).File)
	})
	t.Run("public key", func(t *testing.T) {
		c := c
		_, key := sshtest.NewKey(t, t.TempDir(), "id", "")
		c.Keys = []string{sshtest.WriteFile(t, "id.pub", string(ssh.MarshalAuthorizedKey(key)))}
		require.Equal(t, c.Keys[0], refused[*sshstore.KeyError](t, c).File)
	})
}

// A refused login names the account and the keys that were offered.
func TestOpen_NamesTheKeysOfARefusedLogin(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	c := d.Config()
	one, _ := sshtest.NewKey(t, t.TempDir(), "one", "")
	two, _ := sshtest.NewKey(t, t.TempDir(), "two", "")
	c.Keys = []string{one, two}
	e := refused[*sshstore.LoginError](t, c)
	require.Equal(t, []string{one, two}, e.Keys)
	require.Equal(t, d.User, e.User)
	require.Equal(t, d.Addr, e.Addr)

	t.Run("no such user", func(t *testing.T) {
		c := d.Config()
		c.User = "nobody-of-that-name"
		require.Equal(t, c.User, refused[*sshstore.LoginError](t, c).User)
	})
	t.Run("too many keys", func(t *testing.T) {
		c := d.Config()
		c.Keys = nil
		for range 8 {
			file, _ := sshtest.NewKey(t, t.TempDir(), "id", "")
			c.Keys = append(c.Keys, file)
		}
		require.Len(t, refused[*sshstore.LoginError](t, c).Keys, 8)
	})
}

// keyring serves an agent with keys of its own.
func keyring(t *testing.T, keys ...agent.AddedKey) (socket string) {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		require.NoError(t, ring.Add(k))
	}
	dir, err := os.MkdirTemp("", "agent") // short: sockets have 108 bytes for their name
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	lis, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { lis.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_ = agent.ServeAgent(ring, c) // ends with the connection
				c.Close()
			})
		}
	})
	return lis.Addr().String()
}

func added(t *testing.T, file, passphrase string) agent.AddedKey {
	t.Helper()
	pem, err := os.ReadFile(file)
	require.NoError(t, err)
	var key any
	if passphrase == "" {
		key, err = ssh.ParseRawPrivateKey(pem)
	} else {
		key, err = ssh.ParseRawPrivateKeyWithPassphrase(pem, []byte(passphrase))
	}
	require.NoError(t, err)
	return agent.AddedKey{PrivateKey: key}
}

// The keys of an agent are offered: here the real ssh-agent.
func TestOpen_UsesTheAgent(t *testing.T) {
	sshtest.Need(t, "ssh-agent", "ssh-add")
	d := sshtest.Start(t)
	dir, err := os.MkdirTemp("", "agent")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_, err = out.Read(make([]byte, 1)) // it says where it listens once it does
	require.NoError(t, err)
	sshtest.Shell(t, "", "SSH_AUTH_SOCK="+socket+" ssh-add -q "+d.Key)

	c := d.Config()
	c.Keys, c.Agent = []string{}, socket
	open(t, c, t.TempDir())
	t.Run("after a named key that does not do", func(t *testing.T) {
		c := c
		other, _ := sshtest.NewKey(t, t.TempDir(), "other", "")
		c.Keys = []string{other}
		open(t, c, t.TempDir())
	})
	t.Run("of the environment", func(t *testing.T) {
		t.Setenv("SSH_AUTH_SOCK", socket)
		c.Agent = ""
		open(t, c, t.TempDir())
	})
}

// A key that is named comes before those of the agent, which may be more than
// a server listens to.
func TestOpen_TriesNamedKeysBeforeTheAgents(t *testing.T) {
	t.Parallel()
	var many []agent.AddedKey
	for range 8 {
		file, _ := sshtest.NewKey(t, t.TempDir(), "id", "")
		many = append(many, added(t, file, ""))
	}
	c := sshtest.Start(t).Config()
	c.Agent = keyring(t, many...)
	open(t, c, t.TempDir())
}

// An encrypted key needs no passphrase when the agent has it.
func TestOpen_FindsAnEncryptedKeyInTheAgent(t *testing.T) {
	t.Parallel()
	c, file := encrypted(t)
	c.Agent = keyring(t, added(t, file, "open sesame"))
	open(t, c, t.TempDir())
}

// An agent that is named must be there; one of the environment need not be.
func TestOpen_NeedsTheAgentOnlyWhenItIsNamed(t *testing.T) {
	c := sshtest.Start(t).Config()
	gone := filepath.Join(t.TempDir(), "gone")
	t.Setenv("SSH_AUTH_SOCK", gone)
	c.Agent = ""
	open(t, c, t.TempDir())
	c.Agent = gone
	_, err := sshstore.Open(t.Context(), c, t.TempDir())
	require.ErrorContains(t, err, gone)
}

// An agent that does not answer holds nobody up for longer than the timeout.
func TestOpen_GivesUpASilentAgent(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "agent")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	lis, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	t.Cleanup(func() { lis.Close() })
	c := sshtest.Start(t).Config()
	c.Agent, c.Timeout = lis.Addr().String(), 200*time.Millisecond
	begun := time.Now()
	_, err = sshstore.Open(t.Context(), c, t.TempDir())
	require.ErrorContains(t, err, c.Agent)
	require.Less(t, time.Since(begun), 5*time.Second)
}

// Without a key there is nothing to log in with, and the error says so.
func TestOpen_SaysThatThereIsNoKey(t *testing.T) {
	c := sshtest.Start(t).Config()
	t.Setenv("HOME", t.TempDir())
	c.Keys = nil
	e := refused[*sshstore.LoginError](t, c)
	require.Empty(t, e.Keys)
	require.True(t, strings.Contains(e.Error(), "no key"))
}

// Without names the keys of ~/.ssh are found, less those that are encrypted.
func TestOpen_FindsTheKeysAtHome(t *testing.T) {
	d := sshtest.Start(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	ssh := filepath.Join(home, ".ssh")
	require.NoError(t, os.Mkdir(ssh, 0o700))
	sshtest.NewKey(t, ssh, "id_ed25519", "closed")
	require.NoError(t, os.Rename(d.Key, filepath.Join(ssh, "id_rsa")))
	require.NoError(t, os.Rename(d.KnownHosts, filepath.Join(ssh, "known_hosts")))
	open(t, sshstore.Config{Addr: d.Addr, Agent: "none"}, t.TempDir())
}
