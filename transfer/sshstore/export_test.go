package sshstore

// Addr is where a Config leads.
func Addr(c Config) string { return c.addr() }
