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

func TestStore(t *testing.T) {
	t.Run("OpenSSH", func(t *testing.T) {
		c := sshtest.Start(t).Config()
		storetest.Run(t, func(t *testing.T) transfer.Store { return open(t, c, t.TempDir()) })
	})
	t.Run("OpenSSH without a shell", func(t *testing.T) {
		c := sshtest.Start(t, "ForceCommand internal-sftp").Config()
		storetest.Run(t, func(t *testing.T) transfer.Store { return open(t, c, t.TempDir()) })
	})
}
