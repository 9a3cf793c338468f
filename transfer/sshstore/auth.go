package sshstore

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// KeyError says that a private key file cannot be used.
type KeyError struct {
	File string
	Err  error
}

func (e *KeyError) Error() string {
	if errors.Is(e.Err, errNoPassphrase) {
		return fmt.Sprintf("key %s is encrypted and no passphrase was given", e.File)
	}
	return fmt.Sprintf("key %s: %v", e.File, e.Err)
}

func (e *KeyError) Unwrap() error { return e.Err }

var errNoPassphrase = errors.New("no passphrase")

// LoginError says that the machine refused the account.
type LoginError struct {
	User, Addr string
	Keys       []string // what was offered
	Err        error
}

func (e *LoginError) Error() string {
	if len(e.Keys) == 0 {
		return fmt.Sprintf("%s refuses %s: there was no key to offer; name a key file or start an agent", e.Addr, e.User)
	}
	return fmt.Sprintf("%s refuses %s with %s: is the public key in authorized_keys there?", e.Addr, e.User, strings.Join(e.Keys, ", "))
}

func (e *LoginError) Unwrap() error { return e.Err }

// signers are the keys to offer, with their names.
func (c *Config) signers() (signers []ssh.Signer, names []string, done func(), err error) {
	done = func() {}
	socket := c.Agent
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket != "" && socket != "none" {
		conn, err := net.Dial("unix", socket)
		switch {
		case err == nil:
			done = func() { conn.Close() }
			keys, err := agent.NewClient(conn).Signers()
			if err != nil {
				done()
				return nil, nil, nil, fmt.Errorf("agent %s: %w", socket, err)
			}
			signers = keys
			if len(keys) > 0 {
				names = append(names, "the agent's keys")
			}
		case c.Agent != "":
			return nil, nil, nil, fmt.Errorf("agent: %w", err)
		}
	}
	files, asked := c.Keys, true
	if len(files) == 0 {
		asked = false
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			files = append(files, filepath.Join(home(), ".ssh", name))
		}
	}
	for _, file := range files {
		signer, err := c.readKey(file)
		if !asked && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoPassphrase)) {
			continue
		}
		if err != nil {
			done()
			return nil, nil, nil, err
		}
		signers, names = append(signers, signer), append(names, file)
	}
	return signers, names, done, nil
}

func (c *Config) readKey(file string) (ssh.Signer, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, &KeyError{file, err}
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
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
