package libvirt

import (
	"context"

	libvirt "github.com/digitalocean/go-libvirt"
)

// Metadata is as virt.Host has it. A machine without a lasting description has that of
// the running one alone; so has SetMetadata.
func (h *Host) Metadata(ctx context.Context, uuid, namespace string) (element string, err error) {
	err = h.on(ctx, "metadata of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		persistent, err := lv.DomainIsPersistent(d)
		if err != nil {
			return err
		}
		where := libvirt.DomainAffectConfig
		if persistent == 0 {
			where = libvirt.DomainAffectLive
		}
		element, err = lv.DomainGetMetadata(d, int32(libvirt.DomainMetadataElement), libvirt.OptString{namespace}, where)
		if code(err) == libvirt.ErrNoDomainMetadata {
			return nil
		}
		return err
	})
	return element, err
}

// SetMetadata is as virt.Host has it. It changes the description of the running machine too.
func (h *Host) SetMetadata(ctx context.Context, uuid, prefix, namespace, element string) error {
	return h.on(ctx, "set metadata of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		persistent, err := lv.DomainIsPersistent(d)
		if err != nil {
			return err
		}
		active, err := lv.DomainIsActive(d)
		if err != nil {
			return err
		}
		var where libvirt.DomainModificationImpact
		if persistent != 0 {
			where |= libvirt.DomainAffectConfig
		}
		if active != 0 {
			where |= libvirt.DomainAffectLive
		}
		var text libvirt.OptString
		if element != "" {
			text = libvirt.OptString{element}
		}
		err = lv.DomainSetMetadata(d, int32(libvirt.DomainMetadataElement), text, libvirt.OptString{prefix}, libvirt.OptString{namespace}, where)
		if element == "" && code(err) == libvirt.ErrNoDomainMetadata {
			return nil
		}
		return err
	})
}
