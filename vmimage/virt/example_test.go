package virt_test

import (
	"fmt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

const web = `<domain type='kvm'>
  <name>web01</name>
  <uuid>0d0b9f6e-1111-4222-8333-444455556666</uuid>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/img/web01.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <source protocol='rbd' name='pool/web01'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>
  </devices>
</domain>
`

// Which disks of a machine can be imaged?
func ExampleParse() {
	machine, err := virt.Parse([]byte(web))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, disk := range machine.Disks {
		switch {
		case !disk.Imaged():
			fmt.Println(disk.Name, "holds nothing of the guest's")
		case disk.Refusal() != "":
			fmt.Println(disk.Name, "cannot be imaged:", disk.Refusal())
		default:
			fmt.Println(disk.Name, "is", disk.Path)
		}
	}
	// Output:
	// vda is /img/web01.qcow2
	// vdb cannot be imaged: network disk
	// sda holds nothing of the guest's
}

// A copy of a machine is brought up beside the original from an image of its disk.
func ExampleEdit() {
	copied, err := virt.Edit([]byte(web), virt.Changes{
		Name:  "web01-copy",
		UUID:  "7f1c2b5e-2222-4333-8444-555566667777",
		MACs:  true,
		Disks: map[string]virt.Source{"vda": {Path: "/restored/vda.img"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := virt.Parse(copied)
	fmt.Println(machine.Name, machine.Disks[0].Path, machine.Disks[0].Format, err)
	// Output:
	// web01-copy /restored/vda.img raw <nil>
}
