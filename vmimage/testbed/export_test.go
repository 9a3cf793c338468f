package testbed

import (
	"context"
	"strings"
)

// What tests do to a machine by libvirt's own client.

func (b *Bed) StartGuest(ctx context.Context, name string) error {
	_, err := b.virsh(ctx, "start", name)
	return err
}

func (b *Bed) PressPower(ctx context.Context, name string) error {
	_, err := b.virsh(ctx, "shutdown", "--mode", "acpi", name)
	return err
}

func (b *Bed) State(ctx context.Context, name string) (string, error) {
	out, err := b.virsh(ctx, "domstate", name)
	return strings.TrimSpace(out), err
}
