package virt

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Domain is what an imager has to know of a machine, read from the XML that
// describes it.
type Domain struct {
	Name, UUID string // the UUID in lower case; "" if the XML has none
	Disks      []Disk // in the order of the XML

	NVRAM       string   // path of the UEFI variables; "" for none
	TPM         bool     // an emulated TPM, whose state is on the host
	OnPoweroff  string   // what is done when the guest powers off, such as "destroy"; "" for what the host does by itself
	HostDevices []string // passed through from the host, such as "pci 0000:03:00.0"
	Agent       bool     // it has the channel of the guest's agent
}

// Disk is a disk as the XML of a machine describes it.
type Disk struct {
	Name   string // its target, such as "vda"
	Device string // "disk", "cdrom", "floppy" or "lun"
	Type   string // "file", "block", "network", "volume" and so on
	Path   string // of a file or block device; "" for none
	Format string // such as "raw" or "qcow2"; "" if it is not stated

	ReadOnly  bool
	Shareable bool   // other machines may use it at the same time
	Transient bool   // what is written to it is discarded when the machine is off
	Special   string // what else sets it apart: "encrypted", "a part of its file" or "with its data in another file"

	Backing []string // the files beneath it, topmost first, as far as the XML names them

	Job   bool // a block job writes it to another file as well: a commit or a copy
	Ready bool // that job is ready to be ended
}

// Parse reads the XML of a machine, running or not.
func Parse(xml []byte) (Domain, error) {
	d, _, err := parse(xml)
	if err != nil {
		return Domain{}, fmt.Errorf("virt: read the description of a machine: %w", err)
	}
	return d, nil
}

func parse(xml []byte) (Domain, *element, error) {
	root, err := readElement(xml)
	if err != nil {
		return Domain{}, nil, err
	}
	if root.name != "domain" {
		return Domain{}, nil, fmt.Errorf("it is an element %s, not domain", root.name)
	}
	if len(root.all("name")) != 1 || len(root.all("uuid")) > 1 {
		return Domain{}, nil, errors.New("it has no name, or more than one name or UUID")
	}
	d := Domain{
		Name:  root.first("name").text,
		UUID:  strings.ToLower(strings.TrimSpace(root.first("uuid").text)),
		NVRAM: nvram(root.first("os", "nvram")),

		OnPoweroff: strings.TrimSpace(root.first("on_poweroff").text),
	}
	for _, e := range root.all("devices", "disk") {
		d.Disks = append(d.Disks, disk(e))
	}
	for _, e := range root.all("devices", "tpm", "backend") {
		d.TPM = d.TPM || e.attr("type") == "emulator"
	}
	for _, e := range root.all("devices", "channel", "target") {
		d.Agent = d.Agent || e.attr("name") == "org.qemu.guest_agent.0"
	}
	d.HostDevices = hostDevices(root)
	return d, root, nil
}

// nvram is the path in one of the two forms that libvirt has for it.
func nvram(e *element) string {
	if path := strings.TrimSpace(e.text); path != "" {
		return path
	}
	return path(e.attr("type"), e.first("source"))
}

func disk(e *element) Disk {
	source := e.first("source")
	d := Disk{
		Name:      e.first("target").attr("dev"),
		Device:    cmp.Or(e.attr("device"), "disk"),
		Type:      cmp.Or(e.attr("type"), "file"),
		Format:    e.first("driver").attr("type"),
		ReadOnly:  e.has("readonly"),
		Shareable: e.has("shareable"),
		Transient: e.has("transient"),
		Job:       e.has("mirror"),
		Ready:     e.first("mirror").attr("ready") == "yes",
	}
	d.Path = path(d.Type, source)
	switch {
	case e.has("encryption") || source.has("encryption"):
		d.Special = "encrypted"
	case source.has("slices"):
		d.Special = "a part of its file"
	case source.has("dataStore"):
		d.Special = "with its data in another file"
	}
	for b := e.first("backingStore"); b.has("source"); b = b.first("backingStore") {
		from := b.first("source")
		d.Backing = append(d.Backing, cmp.Or(path(b.attr("type"), from), from.attr("name")))
	}
	return d
}

// path is that of a source of a type.
func path(kind string, source *element) string {
	switch kind {
	case "file":
		return source.attr("file")
	case "block":
		return source.attr("dev")
	}
	return ""
}

// hostDevices are what of the host the machine uses directly.
func hostDevices(root *element) (devices []string) {
	for _, e := range append(root.all("devices", "hostdev"), root.all("devices", "interface")...) {
		kind := e.attr("type")
		if e.name == "interface" {
			if kind != "hostdev" {
				continue
			}
			kind = e.first("source", "address").attr("type")
		}
		devices = append(devices, strings.TrimSpace(kind+" "+hostAddress(e.first("source"))))
	}
	for _, e := range root.all("devices", "memory") {
		// Memory that is a file of the host and keeps what the guest writes.
		if model := e.attr("model"); strings.Contains(model, "nvdimm") || strings.Contains(model, "pmem") {
			devices = append(devices, model+" "+e.first("source", "path").text)
		}
	}
	return devices
}

// hostAddress is how people write the address of a device.
func hostAddress(source *element) string {
	a := source.first("address")
	hex := func(name string) string { return strings.TrimPrefix(a.attr(name), "0x") }
	switch {
	case a.attr("slot") != "":
		return hex("domain") + ":" + hex("bus") + ":" + hex("slot") + "." + hex("function")
	case a.attr("uuid") != "":
		return a.attr("uuid")
	case source.has("vendor"):
		id := func(name string) string { return strings.TrimPrefix(source.first(name).attr("id"), "0x") }
		return id("vendor") + ":" + id("product")
	}
	var parts []string
	for _, name := range []string{"bus", "target", "unit", "device"} {
		if part := a.attr(name); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.TrimSpace(source.first("adapter").attr("name") + " " + strings.Join(parts, ":"))
}

// Imaged reports whether the disk is part of an image of its machine. A CD-ROM, a
// floppy disk and what the guest cannot write are not, and that is no reason to
// refuse the machine.
func (d Disk) Imaged() bool {
	return d.Device != "cdrom" && d.Device != "floppy" && !d.ReadOnly
}

// Refusal says why a disk that is part of an image cannot be imaged, such as "network
// disk" or "format vmdk"; "" if it can, and for a disk that is not part of one.
func (d Disk) Refusal() string {
	switch {
	case !d.Imaged():
		return ""
	case d.Device != "disk" || d.Type == "nvme" || strings.HasPrefix(d.Type, "vhost"):
		return "passed through"
	case d.Type == "network":
		return "network disk"
	case d.Type == "volume":
		return "volume of a storage pool"
	case d.Type != "file" && d.Type != "block":
		return "type " + d.Type
	case d.Path == "":
		return "no file"
	case d.Shareable:
		return "shared with other machines"
	case d.Transient:
		return "what is written to it is discarded"
	case d.Special != "":
		return d.Special
	case d.Format == "":
		return "format not stated"
	case d.Format != "raw" && d.Format != "qcow2":
		return "format " + d.Format
	}
	return ""
}
