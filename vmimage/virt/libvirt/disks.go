package libvirt

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// disk is what the driver itself reads of the description of a running machine.
type disk struct {
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	Alias struct {
		Name string `xml:"name,attr"`
	} `xml:"alias"`
	Source source  `xml:"source"`
	Mirror *mirror `xml:"mirror"`
}

type source struct {
	File string `xml:"file,attr"`
	Dev  string `xml:"dev,attr"` // of a block device
}

func (s source) path() string {
	if s.File != "" {
		return s.File
	}
	return s.Dev
}

// mirror is where a job is copying to.
type mirror struct {
	Job    string `xml:"job,attr"`
	Ready  string `xml:"ready,attr"` // "yes", also "abort" or "pivot" while it ends
	Source source `xml:"source"`
}

// disks are those of a machine as it runs, or will be started next.
func disks(lv *libvirt.Libvirt, d libvirt.Domain, flags libvirt.DomainXMLFlags) ([]disk, error) {
	text, err := lv.DomainGetXMLDesc(d, flags)
	if err != nil {
		return nil, err
	}
	var m struct {
		Disks []disk `xml:"devices>disk"`
	}
	if err := xml.Unmarshal([]byte(text), &m); err != nil {
		return nil, fmt.Errorf("description: %w", err)
	}
	return m.Disks, nil
}

func find(lv *libvirt.Libvirt, d libvirt.Domain, flags libvirt.DomainXMLFlags, name string) (disk, error) {
	all, err := disks(lv, d, flags)
	if err != nil {
		return disk{}, err
	}
	i := slices.IndexFunc(all, func(k disk) bool { return k.Target.Dev == name })
	if i < 0 {
		return disk{}, fmt.Errorf("it has no disk %s: %w", name, virt.ErrNotFound)
	}
	return all[i], nil
}

// running returns a disk of a machine that must be on.
func running(lv *libvirt.Libvirt, d libvirt.Domain, name string) (disk, error) {
	if err := mustBeOn(lv, d); err != nil {
		return disk{}, err
	}
	return find(lv, d, 0, name)
}

func mustBeOn(lv *libvirt.Libvirt, d libvirt.Domain) error {
	s, err := state(lv, d)
	if err == nil && s == virt.Off {
		err = fmt.Errorf("it is off: %w", virt.ErrState)
	}
	return err
}

// Snapshot is as virt.Host has it. The overlays are qcow2. On another host an empty file is
// not told from none, and overwritten.
func (h *Host) Snapshot(ctx context.Context, uuid string, overlays []virt.Overlay) error {
	return h.on(ctx, "snapshot of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		if err := mustBeOn(lv, d); err != nil { // libvirt would do it all the same
			return err
		}
		all, err := disks(lv, d, 0)
		if err != nil {
			return err
		}
		text, err := snapshot(all, overlays)
		if err != nil {
			return err
		}
		for _, o := range overlays {
			// libvirt refuses a file that holds something, but would overwrite an empty one.
			if _, err := os.Lstat(o.Path); err == nil && !h.addr.far {
				return &fs.PathError{Op: "create", Path: o.Path, Err: fs.ErrExist}
			}
		}
		flags := libvirt.DomainSnapshotCreateDiskOnly | libvirt.DomainSnapshotCreateAtomic | libvirt.DomainSnapshotCreateNoMetadata
		_, err = lv.DomainSnapshotCreateXML(d, text, uint32(flags))
		if code(err) == libvirt.ErrConfigUnsupported && slices.ContainsFunc(overlays, func(o virt.Overlay) bool {
			return strings.Contains(err.Error(), o.Path)
		}) { // the only objection that names an overlay is that it exists
			return as(err, fs.ErrExist)
		}
		return err
	})
}

// snapshot describes a snapshot to libvirt. It names each disk: those left out would
// get overlays too.
func snapshot(all []disk, overlays []virt.Overlay) (string, error) {
	type attr struct {
		Type string `xml:"type,attr,omitempty"`
		File string `xml:"file,attr,omitempty"`
	}
	type element struct {
		Name     string `xml:"name,attr"`
		Snapshot string `xml:"snapshot,attr"`
		Type     string `xml:"type,attr,omitempty"`
		Driver   *attr  `xml:"driver"`
		Source   *attr  `xml:"source"`
	}
	doc := struct {
		XMLName xml.Name  `xml:"domainsnapshot"`
		Disks   []element `xml:"disks>disk"`
	}{}
	rest := slices.Clone(overlays)
	for _, k := range all {
		e := element{Name: k.Target.Dev, Snapshot: "no"}
		if i := slices.IndexFunc(rest, func(o virt.Overlay) bool { return o.Disk == k.Target.Dev }); i >= 0 {
			e.Snapshot, e.Type = "external", "file"
			e.Driver, e.Source = &attr{Type: "qcow2"}, &attr{File: rest[i].Path}
			rest = slices.Delete(rest, i, i+1)
		}
		doc.Disks = append(doc.Disks, e)
	}
	if len(rest) > 0 {
		return "", fmt.Errorf("it has no disk %s: %w", rest[0].Disk, virt.ErrNotFound)
	}
	text, err := xml.Marshal(doc)
	return string(text), err
}

// Files are asked of QEMU itself, through its monitor. libvirt marks the machine in its log
// as "tainted" by that; it changes nothing of it.
func (h *Host) Files(ctx context.Context, uuid, name string) (files []string, err error) {
	err = h.on(ctx, "files of "+name+" of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		k, err := running(lv, d, name)
		if err == nil {
			files, err = chain(lv, d, k)
		}
		return err
	})
	return files, err
}

// image is a file and those beneath it, as QEMU tells it.
type image struct {
	Filename string `json:"filename"`
	Backing  *image `json:"backing-image"`
}

// chain returns the files that QEMU has open for a disk.
func chain(lv *libvirt.Libvirt, d libvirt.Domain, k disk) ([]string, error) {
	text, err := lv.QEMUDomainMonitorCommand(d, `{"execute":"query-block"}`, 0)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Return []struct {
			Device   string `json:"qdev"`
			Inserted struct {
				Image image `json:"image"`
			} `json:"inserted"`
		} `json:"return"`
		Error *struct {
			Text string `json:"desc"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("query-block: %w", err)
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("query-block: %s", answer.Error.Text)
	}
	for _, b := range answer.Return {
		// "/machine/peripheral/virtio-disk0/virtio-backend", or "ide0-0-0" alone.
		if !slices.Contains(strings.Split(b.Device, "/"), k.Alias.Name) {
			continue
		}
		var files []string
		for i := &b.Inserted.Image; i != nil; i = i.Backing {
			// While a job is at work its filter is in the chain, under the name of
			// what is beneath it.
			if len(files) == 0 || files[len(files)-1] != i.Filename {
				files = append(files, i.Filename)
			}
		}
		return files, nil
	}
	return nil, fmt.Errorf("QEMU has no disk %s: %w", k.Alias.Name, virt.ErrNotFound)
}

// BlockInfo is as virt.Host has it.
func (h *Host) BlockInfo(ctx context.Context, uuid, name string) (info virt.BlockInfo, err error) {
	err = h.on(ctx, "size of "+name+" of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		if _, err := find(lv, d, 0, name); err != nil {
			return err
		}
		allocation, capacity, _, err := lv.DomainGetBlockInfo(d, name, 0)
		info = virt.BlockInfo{Capacity: int64(capacity), Allocation: int64(allocation)}
		return err
	})
	return info, err
}
