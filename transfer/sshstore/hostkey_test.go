package sshstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// refused opens a store that must not open, and returns why.
func refused[E error](t *testing.T, c sshstore.Config) E {
	t.Helper()
	s, err := sshstore.Open(t.Context(), c, t.TempDir())
	if err == nil {
		s.Close()
	}
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n", "an error is one line")
	t.Log(err)
	var e E
	require.ErrorAs(t, err, &e)
	return e
}

// line is a known_hosts file.
func known(t *testing.T, lines ...string) []string {
	t.Helper()
	return []string{sshtest.WriteFile(t, "known_hosts", strings.Join(lines, "\n")+"\n")}
}

// A host that is not known is refused with the line to add. With the line
// added it is known; the port, which is not 22, is part of it.
func TestOpen_RefusesAnUnknownHostWithTheLineToAdd(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	c := d.Config()
	c.KnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")} // not there yet
	e := refused[*sshstore.HostKeyError](t, c)
	require.Equal(t, ssh.FingerprintSHA256(d.HostKey), e.Fingerprint)
	require.Equal(t, c.KnownHosts[0], e.File)
	require.Empty(t, e.Known)
	require.Contains(t, e.Error(), e.Line)
	require.Zero(t, strings.Count(d.Log.String(), "Accepted"), "nobody has logged in")

	require.NoError(t, os.WriteFile(e.File, []byte(e.Line+"\n"), 0o600))
	open(t, c, t.TempDir())
}

// A host whose key has changed is refused with both fingerprints and the line
// that has the other.
func TestOpen_RefusesAChangedKeyWithBothFingerprints(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	_, other := sshtest.NewKey(t, t.TempDir(), "other", "")
	c := d.Config()
	c.KnownHosts = known(t, "# keys", knownhosts.Line([]string{d.Addr}, other))
	e := refused[*sshstore.HostKeyError](t, c)
	require.Equal(t, ssh.FingerprintSHA256(d.HostKey), e.Fingerprint)
	require.Equal(t, []string{fmt.Sprintf("%s:2 has %s", c.KnownHosts[0], ssh.FingerprintSHA256(other))}, e.Known)
	require.Contains(t, e.Error(), e.Known[0])
	require.Contains(t, e.Error(), e.Fingerprint)
}

// sshKeygen makes a key of a kind, by the real ssh-keygen.
func sshKeygen(t *testing.T, kind string) (file string, key ssh.PublicKey) {
	t.Helper()
	sshtest.Need(t, "ssh-keygen")
	file = filepath.Join(t.TempDir(), kind)
	sshtest.Shell(t, "", "ssh-keygen -q -N '' -t "+kind+" -f "+file)
	pub, err := os.ReadFile(file + ".pub")
	require.NoError(t, err)
	key, _, _, _, err = ssh.ParseAuthorizedKey(pub)
	require.NoError(t, err)
	return file, key
}

// A host that is known by a key of one kind and now has another only is told
// as changed, not as one with which no algorithm is shared.
func TestOpen_RefusesAKeyOfAnotherKindAsChanged(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	_, other := sshKeygen(t, "ecdsa")
	c := d.Config()
	c.KnownHosts = known(t, knownhosts.Line([]string{d.Addr}, other))
	require.Len(t, refused[*sshstore.HostKeyError](t, c).Known, 1)
}

// A host is known by any of its keys: the one that is known is asked for.
func TestOpen_KnowsAHostByAnyKindOfKey(t *testing.T) {
	t.Parallel()
	rsaFile, rsa := sshKeygen(t, "rsa")
	ecdsaFile, ecdsa := sshKeygen(t, "ecdsa")
	edFile, ed := sshKeygen(t, "ed25519")
	d := sshtest.Start(t, "HostKey "+rsaFile, "HostKey "+ecdsaFile, "HostKey "+edFile)
	for _, key := range []ssh.PublicKey{rsa, ecdsa, ed} {
		c := d.Config()
		c.KnownHosts = known(t, knownhosts.Line([]string{d.Addr}, key))
		open(t, c, t.TempDir())
	}
}

// Names in known_hosts may be hashed, as Debian does by default.
func TestOpen_KnowsHashedNames(t *testing.T) {
	t.Parallel()
	sshtest.Need(t, "ssh-keygen")
	d := sshtest.Start(t)
	sshtest.Shell(t, "", "ssh-keygen -q -H -f "+d.KnownHosts)
	text, err := os.ReadFile(d.KnownHosts)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "|1|"), "%s", text)
	open(t, d.Config(), t.TempDir())
}

// certified starts a server whose host key an authority has signed.
func certified(t *testing.T, principal, hostKind, authorityKind string) (d *sshtest.Sshd, authority string) {
	t.Helper()
	caFile, ca := sshKeygen(t, authorityKind)
	hostFile, _ := sshKeygen(t, hostKind)
	sshtest.Shell(t, "", "ssh-keygen -q -s "+caFile+" -I host -h -n "+principal+" "+hostFile+".pub")
	d = sshtest.Start(t, "HostKey "+hostFile, "HostCertificate "+hostFile+"-cert.pub")
	return d, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(ca)))
}

// A host that shows a certificate of a known authority is known.
func TestOpen_KnowsAHostByItsAuthority(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		t.Run(kind+" key", func(t *testing.T) {
			t.Parallel()
			d, authority := certified(t, "127.0.0.1", kind, "ed25519")
			c := d.Config()
			c.KnownHosts = known(t, "@cert-authority [127.0.0.*]:* "+authority, "@cert-authority * "+authority)
			open(t, c, t.TempDir())
		})
	}
}

// A certificate for another name, or of another authority, does not do; nor
// does a host without one.
func TestOpen_RefusesAWrongCertificate(t *testing.T) {
	t.Parallel()
	d, authority := certified(t, "other.example.org", "ed25519", "ed25519")
	c := d.Config()
	c.KnownHosts = known(t, "@cert-authority * "+authority)
	require.Error(t, refused[*sshstore.HostKeyError](t, c).Err)

	_, other := sshKeygen(t, "ed25519")
	c.KnownHosts = known(t, "@cert-authority * "+strings.TrimSpace(string(ssh.MarshalAuthorizedKey(other))))
	require.Error(t, refused[*sshstore.HostKeyError](t, c).Err)

	plain := sshtest.Start(t).Config()
	plain.KnownHosts = known(t, "@cert-authority * "+authority)
	e := refused[*sshstore.HostKeyError](t, plain)
	require.Len(t, e.Known, 1)
	require.Contains(t, e.Known[0], plain.KnownHosts[0]+":1 wants a certificate")
}

// A host that has a certificate is known by its plain key as well.
func TestOpen_KnowsTheKeyOfAHostWithACertificate(t *testing.T) {
	t.Parallel()
	d, _ := certified(t, "127.0.0.1", "ed25519", "ed25519")
	c := d.Config()
	c.KnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
	e := refused[*sshstore.HostKeyError](t, c)
	require.NoError(t, e.Err, "nothing is wrong but that it is unknown")
	require.NoError(t, os.WriteFile(e.File, []byte(e.Line+"\n"), 0o600))
	open(t, c, t.TempDir())
}

// A revoked key is refused with the line that revokes it, also where another
// line knows it.
func TestOpen_RefusesARevokedKey(t *testing.T) {
	t.Parallel()
	d := sshtest.Start(t)
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(d.HostKey)))
	c := d.Config()
	c.KnownHosts = known(t, knownhosts.Line([]string{d.Addr}, d.HostKey), "@revoked * "+key)
	e := refused[*sshstore.HostKeyError](t, c)
	require.Equal(t, c.KnownHosts[0]+":2", e.Revoked)
}

// A known_hosts file that cannot be understood is named with the line.
func TestOpen_NamesALineThatItCannotRead(t *testing.T) {
	t.Parallel()
	c := sshtest.Start(t).Config()
	c.KnownHosts = known(t, "host ssh-ed25519 garbage")
	_, err := sshstore.Open(t.Context(), c, t.TempDir())
	require.ErrorContains(t, err, c.KnownHosts[0]+":1")
}
