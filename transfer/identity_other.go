//go:build !linux

package transfer

import "io/fs"

// IdentityOf is zero on systems other than Linux.
func IdentityOf(fs.FileInfo) Identity { return Identity{} }
