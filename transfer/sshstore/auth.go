package sshstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// KeyError says that a private key file cannot be used.
type KeyError struct {
	File string
	Err  error
}

func (e *KeyError) Error() string { return fmt.Sprintf("key %s: %v", e.File, e.Err) }

func (e *KeyError) Unwrap() error { return e.Err }

var errNoPassphrase = errors.New("it is encrypted, no passphrase was given and no agent has it")

// LoginError says that the machine refused the account.
type LoginError struct {
	User, Addr string
	Keys       []string // what was offered: key files, and "the agent's keys"
	Err        error
}

func (e *LoginError) Error() string {
	if len(e.Keys) == 0 {
		return fmt.Sprintf("%s refuses %s: there was no key to offer; name a key file or start an agent", e.Addr, e.User)
	}
	return fmt.Sprintf("%s refuses %s with %s: is the public key in authorized_keys there, and may %[2]s log in?",
		e.Addr, e.User, strings.Join(e.Keys, ", "))
}

func (e *LoginError) Unwrap() error { return e.Err }

// identities are the keys to offer, with their names.
type identities struct {
	signers []ssh.Signer
	names   []string
	agent   []ssh.Signer
	close   func()
}

// identities are the keys that are named and the agent's, or the agent's and
// those found at home. Keys of files are read once.
func (c *Config) identities(ctx context.Context, read map[string]ssh.Signer) (*identities, error) {
	ids := &identities{close: func() {}}
	if err := c.askAgent(ctx, ids); err != nil {
		return nil, err
	}
	files := c.Keys
	if len(files) == 0 {
		ids.add("the agent's keys", ids.agent...)
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			files = append(files, filepath.Join(home(), ".ssh", name))
		}
	}
	for _, file := range files {
		signer := read[file]
		if signer == nil {
			var err error
			signer, err = c.readKey(file, ids.agent)
			if len(c.Keys) == 0 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoPassphrase)) {
				continue
			}
			if err != nil {
				ids.close()
				return nil, err
			}
			if !slices.Contains(ids.agent, signer) {
				read[file] = signer
			}
		}
		ids.add(file, signer)
	}
	if len(c.Keys) > 0 {
		ids.add("the agent's keys", ids.agent...)
	}
	return ids, nil
}

// add adds keys, each once: a server counts how many it is shown.
func (ids *identities) add(name string, signers ...ssh.Signer) {
	if len(signers) > 0 {
		ids.names = append(ids.names, name)
	}
	for _, s := range signers {
		if !slices.ContainsFunc(ids.signers, func(t ssh.Signer) bool { return sameKey(s.PublicKey(), t.PublicKey()) }) {
			ids.signers = append(ids.signers, s)
		}
	}
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// askAgent gets the agent's keys, which can be used until ids.close. An agent
// that nobody has named may be missing.
func (c *Config) askAgent(ctx context.Context, ids *identities) error {
	socket := c.Agent
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket == "" || socket == "none" {
		return nil
	}
	ctx, cancel := limit(ctx, c)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		ids.agent, err = agent.NewClient(conn).Signers()
		ids.close = func() { conn.Close() }
		if !stop() {
			err = fmt.Errorf("no answer: %w", ctx.Err())
		}
		if err != nil {
			ids.agent = nil
			ids.close()
		}
	}
	if err != nil && c.Agent != "" {
		return fmt.Errorf("agent %s: %w", socket, bare(err))
	}
	return nil
}

// readKey reads a key file. For one that is encrypted the agent may have the key.
func (c *Config) readKey(file string, held []ssh.Signer) (ssh.Signer, error) {
	// A key that others can read is not one, as OpenSSH has it. (Windows has no
	// such modes.)
	if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, &KeyError{file, fmt.Errorf("others can read it (mode %#o): chmod 600 %s", fi.Mode().Perm(), file)}
	}
	pem, err := os.ReadFile(file)
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, &KeyError{file, pe.Err}
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if encrypted, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		if encrypted.PublicKey != nil {
			for _, s := range held {
				if sameKey(s.PublicKey(), encrypted.PublicKey) {
					return s, nil
				}
			}
		}
		if c.Passphrase == nil {
			return nil, &KeyError{file, errNoPassphrase}
		}
		phrase, err := c.Passphrase(file)
		if err != nil {
			return nil, &KeyError{file, err}
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, phrase)
		if err != nil {
			return nil, &KeyError{file, fmt.Errorf("the passphrase does not open it: %w", err)}
		}
		return signer, nil
	}
	if err != nil {
		if _, _, _, _, e := ssh.ParseAuthorizedKey(pem); e == nil {
			err = errors.New("it is a public key; name the private one")
		}
		return nil, &KeyError{file, err}
	}
	return signer, nil
}

func (c *Config) user() string {
	if c.User != "" {
		return c.User
	}
	u, err := user.Current()
	if err != nil {
		return os.Getenv("USER")
	}
	return u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
}

func home() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "."
	}
	return dir
}
