package sshstore

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	Known       []string // what it is known by, "file:line has SHA256:..."; empty for an unknown host
	Revoked     string   // "file:line" that revokes the key, if one does
	Err         error    // what is wrong with a certificate it has shown, if that is it
}

func (e *HostKeyError) Error() string {
	switch {
	case e.Revoked != "":
		return fmt.Sprintf("THE HOST KEY OF %s IS REVOKED in %s: it shows %s. Nothing was sent", e.Addr, e.Revoked, e.Fingerprint)
	case e.Err != nil:
		return fmt.Sprintf("%s shows a host certificate that does not hold: %v (key %s). Nothing was sent", e.Addr, e.Err, e.Fingerprint)
	case len(e.Known) > 0:
		return fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: it shows %s, but %s. Somebody may be listening in, or the host is a new one. Nothing was sent",
			e.Addr, e.Fingerprint, strings.Join(e.Known, ", "))
	}
	return fmt.Sprintf("%s is not a known host. If its key is %s, add this line to %s: %s", e.Addr, e.Fingerprint, e.File, e.Line)
}

func (e *HostKeyError) Unwrap() error { return e.Err }

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

// algorithms are those for which the host's key is known, then the others: so
// a host that has a key of another kind now is told as changed.
func (h *hostKeys) algorithms(addr string) []string {
	known := h.db.HostKeyAlgorithms(addr)
	all := ssh.SupportedAlgorithms().HostKeys
	certs, plain := []string{}, []string{}
	for _, a := range all {
		if strings.Contains(a, "-cert-v01@") {
			certs = append(certs, a)
		} else {
			plain = append(plain, a)
		}
	}
	if slices.ContainsFunc(h.db.HostKeys(addr), func(k knownhosts.PublicKey) bool { return k.Cert }) {
		// An authority signs keys of all kinds, whatever its own is.
		known = slices.Concat(certs, known)
	}
	var algorithms []string
	for _, a := range slices.Concat(known, plain, certs) {
		if slices.Contains(all, a) && !slices.Contains(algorithms, a) {
			algorithms = append(algorithms, a)
		}
	}
	return algorithms
}

func (h *hostKeys) check(addr string, remote net.Addr, key ssh.PublicKey) error {
	err := h.db.HostKeyCallback()(addr, remote, key)
	if err == nil {
		return nil
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	e := &HostKeyError{
		Addr:        addr,
		Fingerprint: ssh.FingerprintSHA256(key),
		Line:        knownhosts.Line([]string{addr}, key),
		File:        h.files[0],
	}
	if re, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
		e.Revoked = fmt.Sprintf("%s:%d", re.Revoked.Filename, re.Revoked.Line)
		return e
	}
	ke, ok := errors.AsType[*xknownhosts.KeyError](err)
	if !ok {
		e.Err = err
		return e
	}
	authorities := map[string]bool{}
	for _, k := range h.db.HostKeys(addr) {
		authorities[string(k.Marshal())] = k.Cert
	}
	for _, k := range ke.Want {
		has := "has"
		if authorities[string(k.Key.Marshal())] {
			has = "wants a certificate by"
		}
		e.Known = append(e.Known, fmt.Sprintf("%s:%d %s %s", k.Filename, k.Line, has, ssh.FingerprintSHA256(k.Key)))
	}
	return e
}
