package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// translate makes an error of libvirt also one of virt's, where it is one for
// whatever call. Calls for which a code means something else say so first.
func translate(err error) error {
	if errors.Is(err, libvirt.ErrUnsupported) {
		return fmt.Errorf("%w: %w", err, virt.ErrUnsupported)
	}
	switch code(err) {
	case libvirt.ErrNoDomain:
		return as(err, virt.ErrNotFound)
	case libvirt.ErrOperationInvalid:
		return as(err, virt.ErrState)
	case libvirt.ErrOperationTimeout, libvirt.ErrBlockCopyActive, libvirt.ErrResourceBusy:
		return as(err, virt.ErrBusy)
	case libvirt.ErrAgentUnresponsive, libvirt.ErrAgentUnsynced:
		return as(err, virt.ErrAgent)
	case libvirt.ErrNoSupport, libvirt.ErrConfigUnsupported, libvirt.ErrArgumentUnsupported, libvirt.ErrOperationUnsupported:
		return as(err, virt.ErrUnsupported)
	case libvirt.ErrRPC, libvirt.ErrNoConnect, libvirt.ErrInvalidConn:
		return lost(err)
	}
	return err
}

// sentinels are the errors of virt.Host, of which an error is at most one.
var sentinels = []error{
	virt.ErrLost, virt.ErrNotFound, virt.ErrBusy, virt.ErrState, virt.ErrAgent, virt.ErrUnsupported, fs.ErrExist,
}

// as makes an error also one of virt's, unless it is one already. libvirt's text stays.
func as(err, sentinel error) error {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", err, sentinel)
}

func lost(err error) error { return as(err, virt.ErrLost) }

// cutOff is the error of a call that was cut off, because of its context if that has ended.
func cutOff(ctx context.Context, err error) error {
	if e := ctx.Err(); e != nil && !errors.Is(err, e) {
		err = fmt.Errorf("%w: %w", e, err)
	}
	return lost(err)
}

// code is libvirt's number of an error, or ErrOk for what is none of libvirt's.
func code(err error) libvirt.ErrorNumber {
	if e, ok := errors.AsType[libvirt.Error](err); ok {
		return libvirt.ErrorNumber(e.Code)
	}
	return libvirt.ErrOk
}
