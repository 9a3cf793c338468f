package libvirt

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// domain is libvirt's handle of a machine, which it knows by the UUID alone.
func domain(uuid string) (libvirt.Domain, error) {
	d := libvirt.Domain{Name: uuid, ID: -1}
	id, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(id) != len(d.UUID) {
		return d, fmt.Errorf("not a UUID: %w", virt.ErrNotFound)
	}
	copy(d.UUID[:], id)
	return d, nil
}

// uuidOf is the UUID of a machine as virt writes it.
func uuidOf(d libvirt.Domain) string {
	u := d.UUID
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// on is call for one machine.
func (h *Host) on(ctx context.Context, what, uuid string, f func(lv *libvirt.Libvirt, d libvirt.Domain) error) error {
	d, err := domain(uuid)
	if err != nil {
		return fmt.Errorf("libvirt: %s %s: %w", what, uuid, err)
	}
	return h.call(ctx, what, uuid, func(lv *libvirt.Libvirt) error { return f(lv, d) })
}

// Hostname is as libvirt gives it.
func (h *Host) Hostname(ctx context.Context) (name string, err error) {
	err = h.call(ctx, "name of", h.addr.name, func(lv *libvirt.Libvirt) (err error) {
		name, err = lv.ConnectGetHostname()
		return err
	})
	return name, err
}

// Machines leaves out one that goes while they are listed.
func (h *Host) Machines(ctx context.Context) (list []virt.Machine, err error) {
	err = h.call(ctx, "list machines of", h.addr.name, func(lv *libvirt.Libvirt) error {
		domains, _, err := lv.ConnectListAllDomains(1, 0)
		if err != nil {
			return err
		}
		for _, d := range domains {
			m, err := describe(lv, d)
			if code(err) == libvirt.ErrNoDomain {
				continue
			}
			if err != nil {
				return err
			}
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b virt.Machine) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UUID, b.UUID))
	})
	return list, nil
}

// Machine is as virt.Host has it.
func (h *Host) Machine(ctx context.Context, uuid string) (m virt.Machine, err error) {
	err = h.on(ctx, "look at", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		d, err := lv.DomainLookupByUUID(d.UUID)
		if err != nil {
			return err
		}
		m, err = describe(lv, d)
		return err
	})
	return m, err
}

func describe(lv *libvirt.Libvirt, d libvirt.Domain) (virt.Machine, error) {
	m := virt.Machine{UUID: uuidOf(d), Name: d.Name}
	var err error
	if m.State, err = state(lv, d); err != nil {
		return m, err
	}
	persistent, err := lv.DomainIsPersistent(d)
	if err != nil {
		return m, err
	}
	autostart, err := lv.DomainGetAutostart(d)
	if err != nil {
		return m, err
	}
	saved, err := lv.DomainHasManagedSaveImage(d, 0)
	m.Persistent, m.Autostart, m.Saved = persistent != 0, autostart != 0, saved != 0
	return m, err
}

func state(lv *libvirt.Libvirt, d libvirt.Domain) (virt.State, error) {
	s, reason, err := lv.DomainGetState(d, 0)
	if err != nil {
		return virt.Other, err
	}
	switch libvirt.DomainState(s) {
	case libvirt.DomainRunning, libvirt.DomainBlocked, libvirt.DomainShutdown:
		return virt.Running, nil
	case libvirt.DomainShutoff, libvirt.DomainCrashed:
		if libvirt.DomainState(s) == libvirt.DomainShutoff && libvirt.DomainShutoffReason(reason) == libvirt.DomainShutoffMigrated {
			return virt.Other, nil // it runs elsewhere
		}
		return virt.Off, nil
	case libvirt.DomainPaused:
		switch libvirt.DomainPausedReason(reason) {
		case libvirt.DomainPausedIoerror:
			return virt.Stalled, nil
		case libvirt.DomainPausedStartingUp, libvirt.DomainPausedShuttingDown:
			return virt.Running, nil
		case libvirt.DomainPausedMigration, libvirt.DomainPausedSave, libvirt.DomainPausedDump,
			libvirt.DomainPausedCrashed, libvirt.DomainPausedPostcopy, libvirt.DomainPausedPostcopyFailed:
			return virt.Other, nil
		}
		return virt.Paused, nil
	}
	return virt.Other, nil
}

// XML holds passwords too, such as that of a display: without them a machine that is defined
// anew from it would be another.
func (h *Host) XML(ctx context.Context, uuid string, inactive bool) ([]byte, error) {
	flags := libvirt.DomainXMLSecure
	if inactive {
		flags |= libvirt.DomainXMLInactive
	}
	var text string
	err := h.on(ctx, "description of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) (err error) {
		text, err = lv.DomainGetXMLDesc(d, flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// Define is as virt.Host has it.
func (h *Host) Define(ctx context.Context, xml []byte) (m virt.Machine, err error) {
	err = h.call(ctx, "define a machine on", h.addr.name, func(lv *libvirt.Libvirt) error {
		d, err := lv.DomainDefineXMLFlags(string(xml), 0)
		if err != nil {
			return err
		}
		m, err = describe(lv, d)
		return err
	})
	return m, err
}

// undefineKeepTPM is VIR_DOMAIN_UNDEFINE_KEEP_TPM, since libvirt 8.9.0.
const undefineKeepTPM = libvirt.DomainUndefineFlagsValues(1 << 6)

// Undefine also keeps the variables of the firmware and the state of the TPM, and forgets what
// libvirt noted on snapshots and checkpoints. One whose memory is saved is ErrState.
func (h *Host) Undefine(ctx context.Context, uuid string) error {
	return h.on(ctx, "undefine", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		if s, err := state(lv, d); err != nil {
			return err
		} else if s != virt.Off {
			return fmt.Errorf("it is %v: %w", s, virt.ErrState)
		}
		flags := libvirt.DomainUndefineKeepNvram | libvirt.DomainUndefineSnapshotsMetadata | libvirt.DomainUndefineCheckpointsMetadata
		version, err := lv.ConnectGetLibVersion()
		if err != nil {
			return err
		}
		if version >= 8_009_000 {
			flags |= undefineKeepTPM
		}
		return lv.DomainUndefineFlags(d, flags)
	})
}

// Start is as virt.Host has it.
func (h *Host) Start(ctx context.Context, uuid string, paused bool) error {
	var flags libvirt.DomainCreateFlags
	if paused {
		flags = libvirt.DomainStartPaused
	}
	return h.on(ctx, "start", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		_, err := lv.DomainCreateWithFlags(d, uint32(flags))
		return err
	})
}

// Shutdown through the agent returns when the guest begins to shut down, or after
// what libvirt gives it for that, a minute.
func (h *Host) Shutdown(ctx context.Context, uuid string, by virt.Means) error {
	return h.on(ctx, "shut down", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		if by != virt.Agent {
			return lv.DomainShutdownFlags(d, libvirt.DomainShutdownAcpiPowerBtn)
		}
		if err := mustBeOn(lv, d); err != nil {
			return err
		}
		return noAgent(lv.DomainShutdownFlags(d, libvirt.DomainShutdownGuestAgent))
	})
}

// Destroy is as virt.Host has it.
func (h *Host) Destroy(ctx context.Context, uuid string) error {
	return h.on(ctx, "destroy", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		return lv.DomainDestroyFlags(d, libvirt.DomainDestroyDefault)
	})
}

// Suspend is as virt.Host has it.
func (h *Host) Suspend(ctx context.Context, uuid string) error {
	return h.on(ctx, "hold", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error { return lv.DomainSuspend(d) })
}

// Resume is as virt.Host has it.
func (h *Host) Resume(ctx context.Context, uuid string) error {
	return h.on(ctx, "resume", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		err := lv.DomainResume(d)
		if code(err) == libvirt.ErrOperationInvalid {
			if s, e := state(lv, d); e == nil && s == virt.Running {
				return nil
			}
		}
		return err
	})
}

// Job is libvirt's name of the operation: "backup", "dump", "migration out".
func (h *Host) Job(ctx context.Context, uuid string) (name string, err error) {
	err = h.on(ctx, "job of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		kind, params, err := lv.DomainGetJobStats(d, 0)
		if code(err) == libvirt.ErrOperationInvalid { // it is off
			return nil
		}
		if err != nil || libvirt.DomainJobType(kind) == libvirt.DomainJobNone {
			return err
		}
		name = "unknown"
		for _, p := range params {
			if n, ok := p.Value.I.(int32); ok && p.Field == libvirt.DomainJobOperationStr && n >= 0 && int(n) < len(operations) {
				name = operations[n]
			}
		}
		return nil
	})
	return name, err
}

// operations are those of virDomainJobOperation.
var operations = []string{
	"unknown", "start", "save", "restore", "migration in", "migration out",
	"snapshot", "snapshot revert", "dump", "backup", "snapshot delete",
}
