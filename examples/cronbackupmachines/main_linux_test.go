package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/examples/internal/scripttest"
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
	scripttest.Run(t, "cronbackupmachines", map[string]string{
		"XDG_CACHE_HOME": cache, // of the guest
		"URI":            bed.URI(),
		"SMTP":           mta.Addr,
		"MAILDIR":        mta.Maildir(),
		"DOMAIN":         mailtest.Domain,
	}, nil)
}
