package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

// config is the configuration file.
type config struct {
	Listen      string    `toml:"listen"`      // host:port; default 127.0.0.1:8080
	Folder      string    `toml:"folder"`      // of the files
	Certificate string    `toml:"certificate"` // PEM file; none: no TLS, on the loopback alone
	Key         string    `toml:"key"`         // PEM file
	Daily       int       `toml:"daily"`       // uploads of an observatory in a day; default 1440
	Repeats     string    `toml:"repeats"`     // which files are the same: bytes (default) or name
	Accounts    []account `toml:"account"`

	server gintest.Config
	tls    *tls.Config
}

// account is an [[account]] table.
type account struct {
	User         string   `toml:"user"`
	PasswordFile string   `toml:"password_file"`
	Stations     []string `toml:"stations"` // IAGA codes; "*" for all
}

// Check implements [script.Config].
func (c *config) Check() error {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:8080")
	repeats, ok := map[string]gintest.Repeat{"": gintest.SameBytes, "bytes": gintest.SameBytes, "name": gintest.SameName}[c.Repeats]
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("listen is %q: want host:port", c.Listen)
	case (c.Certificate == "") != (c.Key == ""):
		return errors.New("certificate and key belong together")
	case c.Certificate == "" && host != "localhost" && !net.ParseIP(host).IsLoopback():
		return fmt.Errorf("listen is %q: want a certificate, or 127.0.0.1: without TLS passwords would go over the network", c.Listen)
	case !filepath.IsAbs(c.Folder):
		return fmt.Errorf("folder is %q: want an absolute path", c.Folder)
	case c.Daily < 0:
		return errors.New("daily is negative")
	case !ok:
		return fmt.Errorf("repeats is %q: want bytes or name", c.Repeats)
	case len(c.Accounts) == 0:
		return errors.New("there is no [[account]]")
	}
	if info, err := os.Stat(c.Folder); err != nil || !info.IsDir() {
		return fmt.Errorf("folder %s is not there; mount its disk, or make it: this program never does", c.Folder)
	}
	c.server = gintest.Config{Dir: c.Folder, Daily: c.Daily, Repeats: repeats}
	for _, a := range c.Accounts {
		if a.PasswordFile == "" {
			return fmt.Errorf("account %q has no password_file", a.User)
		}
		password, err := script.Secret("", a.PasswordFile)
		if err != nil {
			return fmt.Errorf("account %q: %w", a.User, err)
		}
		c.server.Accounts = append(c.server.Accounts, gintest.Account{User: a.User, Password: password, Stations: a.Stations})
	}
	if err := c.server.Check(); err != nil {
		return err
	}
	if c.Certificate == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.tls = &tls.Config{Certificates: []tls.Certificate{pair}}
	return nil
}
