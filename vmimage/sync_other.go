//go:build !linux

package vmimage

// Hosts of machines run Linux.
func syncAll() {}
