package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/examples/internal/scripttest"
	"github.com/obskeep/obskeep/ingest/gin/gintest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ginserver": main})
}

// The scripts run the server as an operator does, and upload with curl.
func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") == "1" {
			t.Fatalf("curl is required: %v", err)
		}
		t.Skip("curl is not installed")
	}
	vars := map[string]string{}
	for _, name := range []string{"PORT", "TLSPORT"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		_, vars[name], err = net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
	scripttest.Run(t, "ginserver", vars, map[string]scripttest.Cmd{"synthetic": cmdSynthetic, "certificate": cmdCertificate})
}

// synthetic STATION SEED makes a file of five minutes; $FILE is then its name.
func cmdSynthetic(ts *testscript.TestScript, _ bool, args []string) {
	var seed int
	_, err := fmt.Sscan(args[1], &seed)
	ts.Check(err)
	f, err := gintest.Synthetic(args[0], time.Date(2024, 3, 15, 3, 55, 0, 0, time.UTC), 5, seed)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(f.Name), f.Data, 0o644))
	ts.Setenv("FILE", f.Name)
}

// certificate CERT KEY makes a certificate for 127.0.0.1.
func cmdCertificate(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "centre"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
