package sshstore

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// HostKeyError says that a machine has not shown a key that it is known by.
type HostKeyError struct {
	Addr        string
	Fingerprint string   // of the key it has shown, "SHA256:..."
	Line        string   // for known_hosts, if the fingerprint is right
	File        string   // where the line belongs
	Known       []string // keys it is known by, "file:line fingerprint"; empty for an unknown host
	Revoked     bool
}

func (e *HostKeyError) Error() string {
	switch {
	case e.Revoked:
		return fmt.Sprintf("THE KEY OF %s IS REVOKED: %s", e.Addr, e.Fingerprint)
	case len(e.Known) > 0:
		return fmt.Sprintf("THE KEY OF %s HAS CHANGED: it shows %s, but %s; somebody may be listening in. Nothing was sent",
			e.Addr, e.Fingerprint, strings.Join(e.Known, ", "))
	}
	return fmt.Sprintf("%s is not a known host. If its key is %s, add this line to %s: %s", e.Addr, e.Fingerprint, e.File, e.Line)
}

// hostKeys checks the key of a machine against its known_hosts files.
type hostKeys struct {
	db    *knownhosts.HostKeyDB
	files []string
}

func (c *Config) hostKeys() (*hostKeys, error) {
	files := c.KnownHosts
	if len(files) == 0 {
		files = []string{filepath.Join(home(), ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}
	}
	var there []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			there = append(there, f)
		}
	}
	db, err := knownhosts.NewDB(there...)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	return &hostKeys{db, files}, nil
}

func (h *hostKeys) check(addr string, remote net.Addr, key ssh.PublicKey) error {
	err := h.db.HostKeyCallback()(addr, remote, key)
	if err == nil {
		return nil
	}
	e := &HostKeyError{
		Addr:        addr,
		Fingerprint: ssh.FingerprintSHA256(key),
		Line:        knownhosts.Line([]string{addr}, key),
		File:        h.files[0],
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		e.Fingerprint = ssh.FingerprintSHA256(cert.Key)
		e.Line = knownhosts.Line([]string{addr}, cert.Key)
	}
	ke, unknown := errors.AsType[*xknownhosts.KeyError](err)
	_, e.Revoked = errors.AsType[*xknownhosts.RevokedError](err)
	switch {
	case e.Revoked:
	case unknown:
		for _, k := range ke.Want {
			e.Known = append(e.Known, fmt.Sprintf("%s:%d has %s", k.Filename, k.Line, ssh.FingerprintSHA256(k.Key)))
		}
	default:
		return fmt.Errorf("key of %s: %w", addr, err)
	}
	return e
}
