package sshstore_test

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/transfer/sshstore/sshtest"
)

// A socket of the far side is reached through the connection of the store.
func TestDial_ReachesASocketOfTheFarSide(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		c, err := listener.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	s := open(t, sshtest.Start(t).Config(), dir)
	conn, err := s.Dial(t.Context(), "unix", socket)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("hello"))
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	_, err = s.Dial(t.Context(), "unix", filepath.Join(dir, "nothing"))
	require.Error(t, err)
}
