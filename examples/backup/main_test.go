package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/examples/internal/scripttest"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report/mailer/mailtest"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"backup": main})
}

// The scripts run the command as cron does, against a real sshd and a real
// postfix. Each begins with a tree of days in $WORK/data/supim.
func TestScripts(t *testing.T) {
	sshtest.Need(t, "sh", "sha256sum", "mount", "umount", "timeout")
	sshd := sshtest.Start(t)
	mta := mailtest.Postfix(t)
	badKey, _ := sshtest.NewKey(t, t.TempDir(), "unauthorized", "")
	scripttest.Run(t, "backup", map[string]string{
		"SSHD":     sshd.Addr,
		"SSHUSER":  sshd.User,
		"KEY":      sshd.Key,
		"BADKEY":   badKey,
		"KNOWN":    sshd.KnownHosts,
		"SMTP":     mta.Addr,
		"SENDMAIL": mta.Sendmail,
		"MAILDIR":  mta.Maildir(),
		"DOMAIN":   mailtest.Domain,
	}, map[string]scripttest.Cmd{"day": cmdDay})
}

// day DIR DAY SIZE... makes a settled day folder with files of these sizes.
func cmdDay(ts *testscript.TestScript, _ bool, args []string) {
	d, err := julian.Parse(args[1])
	ts.Check(err)
	dir := ts.MkAbs(filepath.Join(args[0], filepath.FromSlash(julian.MustParsePattern("%Y/%j").Format(d))))
	ts.Check(os.MkdirAll(dir, 0o755))
	old := time.Now().Add(-time.Hour)
	for i, size := range args[2:] {
		n, err := strconv.Atoi(size)
		ts.Check(err)
		data := make([]byte, n)
		for j := range data {
			data[j] = byte(j * (j>>8 + i + d.Day))
		}
		name := filepath.Join(dir, fmt.Sprintf("%d.dat", i))
		ts.Check(os.WriteFile(name, data, 0o644))
		ts.Check(os.Chtimes(name, old, old))
	}
	ts.Check(os.Chtimes(dir, old, old))
}

// The days of the demonstration are what the model of the source says, so
// that nobody takes them for measured.
func TestSimulate_SaysThatItIsSynthetic(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, simulate(dir, julian.Date{Year: 2026, Day: 1}))
	text, err := os.ReadFile(filepath.Join(dir, "2026/001/supim-2026-001-00.dat"))
	require.NoError(t, err)
	require.Contains(t, string(text), "synthetic, not measured")
}

// A target knows its source again however the address is written, and tells
// it from another port or folder.
func TestOrigin_IsTheSameForAllSpellings(t *testing.T) {
	t.Parallel()
	origin := func(address, path string) string {
		c := new(config)
		c.Source.Address, c.Source.Path = address, julian.MustParsePattern(path)
		return c.origin()
	}
	const days = "/data/%Y/%j"
	require.Equal(t, origin("supim.example.org", days), origin("supim.example.org:22", days))
	require.Equal(t, origin("2001:db8::1", days), origin("[2001:db8::1]:22", days))
	require.NotEqual(t, origin("supim.example.org", days), origin("supim.example.org:2222", days))
	require.NotEqual(t, origin("supim.example.org", days), origin("supim.example.org", "/data2/%Y/%j"))
	require.NotEqual(t, origin("supim.example.org", days), origin("", days))
}
