package script

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore"
)

// SSH is how a configuration names a machine and an account on it.
type SSH struct {
	Address        string `toml:"address"`         // host or host:port
	User           string `toml:"user"`            // default: the name of the user who runs this
	Key            string `toml:"key"`             // private key file; default those in ~/.ssh, and the agent's
	PassphraseFile string `toml:"passphrase_file"` // of an encrypted key; or OBSKEEP_KEY_PASSPHRASE
	KnownHosts     string `toml:"known_hosts"`     // default ~/.ssh/known_hosts
	Jump           string `toml:"jump"`            // user@host:port to go through
}

// Folder is one of this machine or of another one. It is closed in the end.
type Folder interface {
	transfer.Tree
	io.Closer
}

// Open opens a folder of the machine, or of this one if there is no address. A folder
// that is not there is an error.
func (c *SSH) Open(ctx context.Context, dir string, logger *slog.Logger) (Folder, error) {
	s, err := c.open(ctx, dir, logger)
	if err != nil {
		return nil, err
	}
	if _, err := s.Stat(ctx, "."); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return s, nil
}

func (c *SSH) open(ctx context.Context, dir string, logger *slog.Logger) (Folder, error) {
	if c.Address == "" {
		return dirstore.Open(dir)
	}
	sc := c.config(c.Address, c.User, logger)
	if c.Jump != "" {
		user, host, ok := strings.Cut(c.Jump, "@")
		if !ok {
			user, host = c.User, c.Jump
		}
		jump := c.config(host, user, logger)
		sc.Jump = &jump
	}
	return sshstore.Open(ctx, sc, dir)
}

func (c *SSH) config(address, user string, logger *slog.Logger) sshstore.Config {
	sc := sshstore.Config{Addr: address, User: user, Logger: logger}
	if c.Key != "" {
		sc.Keys = []string{expand(c.Key)}
	}
	if c.KnownHosts != "" {
		sc.KnownHosts = []string{expand(c.KnownHosts)}
	}
	if _, ok := os.LookupEnv("OBSKEEP_KEY_PASSPHRASE"); ok || c.PassphraseFile != "" {
		sc.Passphrase = func(string) ([]byte, error) {
			s, err := Secret("OBSKEEP_KEY_PASSPHRASE", expand(c.PassphraseFile))
			return []byte(s), err
		}
	}
	return sc
}

// Check returns what is wrong with the keys of a table.
func (c *SSH) Check(table string) error {
	if c.Address == "" && *c != (SSH{}) {
		return fmt.Errorf("%s has settings for SSH, but no address", table)
	}
	return nil
}

// expand puts the home directory in the place of a leading "~/".
func expand(file string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return file
	}
	return filepath.Join(home, rest)
}
