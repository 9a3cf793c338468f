package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/report/mailer/mailtest"
	"github.com/obskeep/obskeep/vmimage/testbed"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cronbackupmachines": main})
}

// The scripts run the command as cron does, on real machines and with a real postfix.
// db01 and web01 run when each begins, spare is off.
func TestScripts(t *testing.T) {
	if err := testbed.Check(); err != nil {
		if os.Getenv("OBSKEEP_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	mta := mailtest.Postfix(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	bed, err := testbed.Start(ctx, "", nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bed.Close()) })
	_, err = bed.Guest(ctx, testbed.GuestConfig{Name: "spare", Disks: []testbed.DiskConfig{{Size: 16 << 20}}})
	require.NoError(t, err)
	host, err := realMachines(ctx, bed)
	require.NoError(t, err)
	require.NoError(t, host.Close())
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"GORACE":         "atexit_sleep_ms=0",
				"HOME":           env.WorkDir,
				"XDG_CACHE_HOME": cache, // of the guest
				"URI":            bed.URI(),
				"SMTP":           mta.Addr,
				"MAILDIR":        mta.Maildir(),
				"DOMAIN":         mailtest.Domain,
			} {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"config": cmdConfig, "code": cmdCode},
	})
}

// config FILE replaces the variables in a configuration.
func cmdConfig(ts *testscript.TestScript, _ bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// code N ARGS... runs the command and wants this exit code.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("cronbackupmachines", args[1:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
