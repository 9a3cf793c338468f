package libvirt

import (
	"context"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// noAgent makes ErrAgent what libvirt says of a machine without an agent, and of one that is off
// or held, whose agent cannot answer.
func noAgent(err error) error {
	switch code(err) {
	case libvirt.ErrArgumentUnsupported, libvirt.ErrOperationInvalid:
		return as(err, virt.ErrAgent)
	}
	return err
}

// Ping waits for the agent as long as libvirt does, some seconds.
func (h *Host) Ping(ctx context.Context, uuid string) error {
	return h.on(ctx, "ping the agent of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		_, err := lv.QEMUDomainAgentCommand(d, `{"execute":"guest-ping"}`, defaultTimeout, 0)
		return noAgent(err)
	})
}

// Freeze is as virt.Host has it.
func (h *Host) Freeze(ctx context.Context, uuid string) (n int, err error) {
	err = h.on(ctx, "freeze", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		frozen, err := lv.DomainFsfreeze(d, nil, 0)
		n = int(frozen)
		return noAgent(err)
	})
	return n, err
}

// Thaw is as virt.Host has it.
func (h *Host) Thaw(ctx context.Context, uuid string) error {
	return h.on(ctx, "thaw", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		_, err := lv.DomainFsthaw(d, nil, 0)
		return noAgent(err)
	})
}

// defaultTimeout is VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT.
const defaultTimeout = -1
