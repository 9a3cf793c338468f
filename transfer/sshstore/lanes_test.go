package sshstore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/dirstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// A large file goes through several sessions where an answer takes long, and
// arrives as it is; also when the server wants no more sessions.
func TestStore_UsesSeveralSessionsOnALongLine(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule     string
		trip     time.Duration
		line     string
		sessions int
	}{
		{"long", 40 * time.Millisecond, "LogLevel VERBOSE", 4},
		{"long, and one session is all there is", 40 * time.Millisecond, "LogLevel VERBOSE\nMaxSessions 1", 1},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			sshd := sshtest.Start(t, row.line)
			proxy := sshtest.NewProxy(t, sshd.Addr)
			proxy.Slow(row.trip, 0)
			here, there := t.TempDir(), t.TempDir()
			data := noise(1, 16<<20)
			put(t, here, "up", data)
			put(t, there, "down", data)
			local, err := dirstore.Open(here)
			require.NoError(t, err)
			defer local.Close()
			far := open(t, sshd.Via(t, proxy), there)
			_, err = transfer.Mirror(t.Context(), far, local, nil)
			require.NoError(t, err)
			_, err = transfer.Mirror(t.Context(), local, far, nil)
			require.NoError(t, err)
			for _, file := range []string{filepath.Join(there, "up"), filepath.Join(here, "down")} {
				got, err := os.ReadFile(file)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got), file)
			}
			require.Equal(t, row.sessions, strings.Count(sshd.Log.String(), "subsystem 'sftp'"))
		})
	}
}
