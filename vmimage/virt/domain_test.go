package virt_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// running is a machine with a bit of everything, in a block job, as libvirt 9.0 writes it.
const running = `<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web &amp; mail</name>
  <uuid>0D0B9F6E-1111-4222-8333-444455556666</uuid>
  <metadata>
    <app:name xmlns:app="https://example.org/app">not the name</app:name>
    <app:devices xmlns:app="https://example.org/app"><disk><target dev="vdx"/></disk></app:devices>
  </metadata>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>
  </os>
  <on_poweroff>restart</on_poweroff>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/img/vda.over' index='3'/>
      <backingStore type='file' index='1'>
        <format type='raw'/>
        <source file='/img/vda.img'/>
        <backingStore type='block' index='2'><source dev='/dev/vg/base'/><backingStore/></backingStore>
      </backingStore>
      <mirror type='file' job='active-commit' ready='yes'>
        <source file='/img/vda.img' index='1'/>
      </mirror>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw'/>
      <source dev='/dev/vg/b'/>
      <backingStore/>
      <mirror type='file' job='copy'><source file='/copy'/></mirror>
      <target dev='vdb' bus='virtio'/>
      <shareable/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <source protocol='rbd' name='pool/vdc'><encryption format='luks'/></source>
      <target dev='vdc' bus='virtio'/>
      <transient/>
    </disk>
    <interface type='hostdev' managed='yes'>
      <source><address type='pci' domain='0x0000' bus='0x06' slot='0x00' function='0x1'/></source>
    </interface>
    <interface type='network'><source network='default'/></interface>
    <hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0xbeef'/></source></hostdev>
    <hostdev mode='subsystem' type='mdev'><source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>
    <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/></source></hostdev>
    <memory model='nvdimm'><source><path>/img/nvdimm</path></source></memory>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  </devices>
</domain>
`

// Parse tells what an image has to hold, and takes elements of other name spaces
// for nothing of libvirt's.
func TestParse_TellsWhatAnImageHolds(t *testing.T) {
	t.Parallel()
	got, err := virt.Parse([]byte(running))
	require.NoError(t, err)
	want := virt.Domain{
		Name: "web & mail", UUID: "0d0b9f6e-1111-4222-8333-444455556666",
		NVRAM: "/var/lib/libvirt/qemu/nvram/web_VARS.fd", TPM: true, Agent: true, OnPoweroff: "restart",
		HostDevices: []string{"usb 1234:beef", "mdev c2177883-f1bb-47f0-914d-32a22e3a8804", "scsi scsi_host0 0:0:0", "pci 0000:06:00.1", "nvdimm /img/nvdimm"},
		Disks: []virt.Disk{
			{Name: "vda", Device: "disk", Type: "file", Path: "/img/vda.over", Format: "qcow2", Backing: []string{"/img/vda.img", "/dev/vg/base"}, Job: true, Ready: true},
			{Name: "vdb", Device: "disk", Type: "block", Path: "/dev/vg/b", Format: "raw", Shareable: true, Job: true},
			{Name: "sda", Device: "cdrom", Type: "file", Format: "raw", ReadOnly: true},
			{Name: "vdc", Device: "disk", Type: "network", Format: "raw", Transient: true, Special: "encrypted"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("domain (-want +got):\n%s", diff)
	}
}

func TestParse_KnowsBothFormsOfNVRAM(t *testing.T) {
	t.Parallel()
	for _, nvram := range []string{
		`<nvram>/vars</nvram>`,
		`<nvram type='file'><source file='/vars'/></nvram>`,
		`<nvram type='block'><source dev='/vars'/></nvram>`,
	} {
		d, err := virt.Parse([]byte(`<domain><name>a</name><os>` + nvram + `</os></domain>`))
		require.NoError(t, err)
		require.Equal(t, "/vars", d.NVRAM, nvram)
	}
}

func TestParse_RefusesWhatIsNoMachine(t *testing.T) {
	t.Parallel()
	for rule, xml := range map[string]string{
		"nothing":                "",
		"text":                   "web01",
		"half a document":        "<domain><name>a</name>",
		"two documents":          "<domain><name>a</name></domain><domain><name>b</name></domain>",
		"something else":         "<network><name>a</name></network>",
		"another name space":     "<domain xmlns='https://example.org'><name>a</name></domain>",
		"no name":                "<domain><uuid>0d0b9f6e-1111-4222-8333-444455556666</uuid></domain>",
		"two names":              "<domain><name>a</name><name>b</name></domain>",
		"two UUIDs":              "<domain><name>a</name><uuid>1</uuid><uuid>2</uuid></domain>",
		"an attribute twice":     "<domain type='a' type='b'><name>a</name></domain>",
		"an entity of its own":   "<domain><name>&own;</name></domain>",
		"text beside the domain": "<domain><name>a</name></domain>b",
	} {
		_, err := virt.Parse([]byte(xml))
		require.Error(t, err, rule)
	}
}

func TestDisk_IsRefusedForAReason(t *testing.T) {
	t.Parallel()
	good := virt.Disk{Name: "vda", Device: "disk", Type: "file", Path: "/a", Format: "raw"}
	require.True(t, good.Imaged())
	require.Empty(t, good.Refusal())
	for _, row := range []struct {
		reason string
		change func(d *virt.Disk)
	}{
		{"", func(d *virt.Disk) { d.Type, d.Format = "block", "qcow2" }},
		{"passed through", func(d *virt.Disk) { d.Type, d.Device = "block", "lun" }},
		{"passed through", func(d *virt.Disk) { d.Type = "nvme" }},
		{"passed through", func(d *virt.Disk) { d.Type = "vhostuser" }},
		{"network disk", func(d *virt.Disk) { d.Type, d.Path = "network", "" }},
		{"volume of a storage pool", func(d *virt.Disk) { d.Type, d.Path = "volume", "" }},
		{"type dir", func(d *virt.Disk) { d.Type, d.Path = "dir", "" }},
		{"no file", func(d *virt.Disk) { d.Path = "" }},
		{"shared with other machines", func(d *virt.Disk) { d.Shareable = true }},
		{"what is written to it is discarded", func(d *virt.Disk) { d.Transient = true }},
		{"encrypted", func(d *virt.Disk) { d.Special = "encrypted" }},
		{"format vmdk", func(d *virt.Disk) { d.Format = "vmdk" }},
		{"format not stated", func(d *virt.Disk) { d.Format = "" }},
	} {
		d := good
		row.change(&d)
		require.True(t, d.Imaged())
		require.Equal(t, row.reason, d.Refusal(), "%+v", d)
	}
}

// What a guest keeps nothing on is no part of an image, and no reason to refuse.
func TestDisk_WithoutDataIsNotImaged(t *testing.T) {
	t.Parallel()
	for _, d := range []virt.Disk{
		{Device: "cdrom", Type: "network", Shareable: true},
		{Device: "floppy", Type: "file"},
		{Device: "disk", Type: "volume", ReadOnly: true},
	} {
		require.False(t, d.Imaged(), "%+v", d)
		require.Empty(t, d.Refusal(), "%+v", d)
	}
}
