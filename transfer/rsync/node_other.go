//go:build unix && !linux

package rsync

import "errors"

func mknodat(int, string, uint32, uint64) error { return errors.ErrUnsupported }
