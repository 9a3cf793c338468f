package sshstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/sshstore"
	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
	"github.com/obskeep/obskeep/transfer/storetest"
)

var (
	_ transfer.Tree    = (*sshstore.Store)(nil)
	_ transfer.Hasher  = (*sshstore.Store)(nil)
	_ transfer.Clock   = (*sshstore.Store)(nil)
	_ diskspace.Stater = (*sshstore.Store)(nil)
)

func open(t testing.TB, c sshstore.Config, dir string) *sshstore.Store {
	t.Helper()
	s, err := sshstore.Open(t.Context(), c, dir)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// The contract of a store, on each kind of server.
func TestStore(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{
		"OpenSSH":                                nil,
		"OpenSSH with an SFTP server of its own": {sshtest.ExternalSFTP(t)},
		"OpenSSH without a shell":                {"ForceCommand internal-sftp"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sshtest.Start(t, lines...).Config()
			storetest.Run(t, func(t *testing.T) transfer.Store { return open(t, c, t.TempDir()) })
		})
	}
}
