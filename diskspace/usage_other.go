//go:build !linux && !darwin && !windows

package diskspace

import "errors"

func stat(string) (Usage, error) { return Usage{}, errors.ErrUnsupported }
