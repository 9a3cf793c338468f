package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

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
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"GORACE":   "atexit_sleep_ms=0",
				"HOME":     env.WorkDir,
				"SSHD":     sshd.Addr,
				"SSHUSER":  sshd.User,
				"KEY":      sshd.Key,
				"BADKEY":   badKey,
				"KNOWN":    sshd.KnownHosts,
				"SMTP":     mta.Addr,
				"SENDMAIL": mta.Sendmail,
				"MAILDIR":  mta.Maildir(),
				"DOMAIN":   mailtest.Domain,
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"day":    cmdDay,
			"config": cmdConfig,
			"tmpfs":  cmdTmpfs,
			"code":   cmdCode,
			"await":  cmdAwait,
		},
	})
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

// config FILE replaces the variables in a configuration.
func cmdConfig(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	text := os.Expand(ts.ReadFile(args[0]), func(name string) string {
		if v := ts.Getenv(name); v != "" {
			return v
		}
		return "$" + name
	})
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
}

// tmpfs DIR OPTIONS mounts a file system of its own, until the script ends.
func cmdTmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", args[1], "tmpfs", dir).CombinedOutput(); err != nil {
		ts.Fatalf("mount: %v: %s", err, out)
	}
	ts.Defer(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			ts.Logf("umount: %v: %s", err, out)
		}
	})
}

// code N ARGS... runs backup and wants this exit code.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("backup", args[1:]...)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// await GLOB waits until there is such a file.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(found) > 0 {
			return
		}
	}
	ts.Fatalf("%s does not come", args[0])
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
