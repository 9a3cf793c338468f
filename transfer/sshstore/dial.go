package sshstore

import (
	"context"
	"net"
)

// Dial connects to where the far side can connect to, through the connection of the
// store: "tcp" to an address, or "unix" to a socket in its file system, if its server
// allows that (sshd's AllowTcpForwarding, AllowStreamLocalForwarding). What is dialled
// ends with the store's connection, and has no deadlines.
func (s *Store) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := s.link.get(ctx)
	if err != nil {
		return nil, err
	}
	return await(ctx, c, func() (net.Conn, error) { return c.client.DialContext(ctx, network, address) }, func(c net.Conn) { c.Close() })
}
