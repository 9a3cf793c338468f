package virt_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// odd is written as no program writes it.
const odd = "<?xml version=\"1.0\" encoding='UTF-8'?>\r\n" +
	`<!-- <name>no</name> -->
<domain   type = "kvm"
  xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' >
	<?editor <name>no</name> ?>
  <name
  >web01</name  ><uuid>0D0B9F6E-1111-4222-8333-444455556666</uuid>
  <title>a &lt;b&gt; &#x26; c<![CDATA[ <name>no</name> ]]></title>
  <metadata>
    <m:uuid xmlns:m='urn:m'>0D0B9F6E-1111-4222-8333-444455556666</m:uuid>
    <m:devices xmlns:m="urn:m"><disk><source file='/img/vda.qcow2'/><target dev='vda'/></disk></m:devices>
  </metadata>
  <sysinfo type='smbios'><system><entry name='serial'>x</entry><entry name='uuid'>0d0b9f6e-1111-4222-8333-444455556666</entry></system></sysinfo>
  <os><nvram template='/t'>/vars/web01.fd</nvram></os>
  <unheard of='1'><name>no</name></unheard>
  <devices>
    <disk device='disk' type='file'><!-- the system -->
      <driver cache = 'none' type = "qcow2"	name='qemu'/>
      <source startupPolicy='optional' file='/img/vda.qcow2'><seclabel model='dac' relabel='no'/></source>
      <backingStore type='file'><format type='raw'/><source file='/img/base'/><backingStore/></backingStore>
      <target dev='vda' bus='virtio' file='x'/>
    </disk>
    <disk type='block' device='disk'><driver type='raw'/><source dev='/dev/vg/b'/><backingStore/><target dev="vdb"/></disk>
    <disk type='file'><source file="/img/&quot;c&apos;"/><target dev='vdc'/></disk>
    <disk type='file' device='cdrom'><source file='/img/vda.qcow2'/><target dev='sda'/><readonly/></disk>
    <interface type='network'>
      <mac address='52:54:00:00:00:01'/><source network='default'/>
    </interface>
    <interface type='bridge'><mac address="52:54:00:00:00:02"></mac></interface>
  </devices>
  <qemu:commandline><qemu:arg value='-mac'/></qemu:commandline>
</domain>
<!-- end -->`

var all = virt.Changes{
	Name: "web01 <copy> & \"more\"", UUID: "aaaaaaaa-1111-4222-8333-444455556666", NVRAM: "/vars/copy.fd", MACs: true,
	Disks: map[string]virt.Source{"vda": {Path: "/new/a & b.img"}, "vdb": {Path: "/new/b"}, "vdc": {Path: "/new/'c'"}},
}

// Edit changes what is asked for and leaves every other byte as it is.
func TestEdit_LeavesAllElseByteForByte(t *testing.T) {
	t.Parallel()
	got, err := virt.Edit([]byte(odd), all)
	require.NoError(t, err)
	want := odd
	for _, change := range [][2]string{
		{"  >web01<", "  >web01 &lt;copy&gt; &amp; &#34;more&#34;<"},
		{"<uuid>0D0B9F6E-1111-4222-8333-444455556666<", "<uuid>aaaaaaaa-1111-4222-8333-444455556666<"},
		{"'uuid'>0d0b9f6e-1111-4222-8333-444455556666<", "'uuid'>aaaaaaaa-1111-4222-8333-444455556666<"},
		{">/vars/web01.fd<", ">/vars/copy.fd<"},
		{`type = "qcow2"`, `type = "raw"`},
		{"'optional' file='/img/vda.qcow2'", "'optional' file='/new/a &amp; b.img'"},
		{"<backingStore type='file'><format type='raw'/><source file='/img/base'/><backingStore/></backingStore>", ""},
		{"<disk type='block'", "<disk type='file'"},
		{"dev='/dev/vg/b'", "file='/new/b'"},
		{`"/img/&quot;c&apos;"`, `"/new/&#39;c&#39;"`},
		{"<mac address='52:54:00:00:00:01'/>", ""},
		{`<mac address="52:54:00:00:00:02"></mac>`, ""},
	} {
		require.Equal(t, 1, strings.Count(want, change[0]), change[0])
		want = strings.Replace(want, change[0], change[1], 1)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("XML (-want +got):\n%s", diff)
	}
}

// Each change is made alone as it is with the others.
func TestEdit_MakesEachChangeAlone(t *testing.T) {
	t.Parallel()
	got := []byte(odd)
	for _, c := range []virt.Changes{
		{}, {UUID: all.UUID}, {MACs: true}, {Disks: map[string]virt.Source{"vdc": all.Disks["vdc"]}}, {Name: all.Name},
		{Disks: map[string]virt.Source{"vda": all.Disks["vda"], "vdb": all.Disks["vdb"]}}, {NVRAM: all.NVRAM},
	} {
		var err error
		got, err = virt.Edit(got, c)
		require.NoError(t, err)
	}
	want, err := virt.Edit([]byte(odd), all)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// Edit refuses what it would have to guess.
func TestEdit_RefusesInsteadOfGuessing(t *testing.T) {
	t.Parallel()
	to := map[string]virt.Source{"vda": {Path: "/new"}}
	disk := func(inside string) string {
		return "<domain><name>a</name><uuid>b</uuid><devices>" + inside + "</devices></domain>"
	}
	for _, row := range []struct {
		rule, xml string
		changes   virt.Changes
	}{
		{"no such disk", odd, virt.Changes{Disks: map[string]virt.Source{"vdz": {Path: "/new"}}}},
		{"a disk without a file", disk("<disk type='file'><target dev='vda'/></disk>"), virt.Changes{Disks: to}},
		{"a network disk", disk("<disk type='network'><source name='/a'/><target dev='vda'/></disk>"), virt.Changes{Disks: to}},
		{"two disks of one name", disk(strings.Repeat("<disk type='file'><source file='/a'/><target dev='vda'/></disk>", 2)), virt.Changes{Disks: to}},
		{"two sources", disk("<disk type='file'><source file='/a'/><source file='/b'/><target dev='vda'/></disk>"), virt.Changes{Disks: to}},
		{"an encrypted disk", disk("<disk type='file'><source file='/a'><encryption format='luks'/></source><target dev='vda'/></disk>"), virt.Changes{Disks: to}},
		{"a part of a file", disk("<disk type='file'><source file='/a'><slices/></source><target dev='vda'/></disk>"), virt.Changes{Disks: to}},
		{"data in another file", disk("<disk type='file'><source file='/a'><dataStore/></source><target dev='vda'/></disk>"), virt.Changes{Disks: to}},
		{"a disk in a block job", disk("<disk type='file'><source file='/a'/><mirror/><target dev='vda'/></disk>"), virt.Changes{Disks: to}},
		{"no UUID", "<domain><name>a</name></domain>", virt.Changes{UUID: "c"}},
		{"a comment in a name", "<domain><name>a<!-- b --></name></domain>", virt.Changes{Name: "c"}},
		{"an empty name", "<domain><name/></domain>", virt.Changes{Name: "c"}},
		{"no UEFI variables", odd[:strings.Index(odd, "<nvram")] + odd[strings.Index(odd, "</os>"):], virt.Changes{NVRAM: "/new"}},
		{"UEFI variables on the network", "<domain><name>a</name><os><nvram type='network'><source file='b'/></nvram></os></domain>", virt.Changes{NVRAM: "/new"}},
		{"a name that XML cannot hold", odd, virt.Changes{Name: "a\x00b"}},
		{"a name with space around it", odd, virt.Changes{Name: "a\n"}},
		{"a format with no place for it", disk("<disk type='file'><source file='/a'/><target dev='vda'/></disk>"), virt.Changes{Disks: map[string]virt.Source{"vda": {Path: "/new", Format: "qcow2"}}}},
		{"no path", odd, virt.Changes{Disks: map[string]virt.Source{"vda": {}}}},
		{"half a document", odd[:len(odd)/2], virt.Changes{}},
	} {
		got, err := virt.Edit([]byte(row.xml), row.changes)
		require.Error(t, err, row.rule)
		require.Nil(t, got, row.rule)
	}
}

// A disk that is given another file and then its own again is described as before, byte for
// byte, whether that is a file or a block device.
func TestEdit_PutsBackWhatADiskWas(t *testing.T) {
	t.Parallel()
	machine := strings.Replace(odd, "<backingStore type='file'><format type='raw'/><source file='/img/base'/><backingStore/></backingStore>", "", 1)
	overlaid, err := virt.Edit([]byte(machine), virt.Changes{Disks: map[string]virt.Source{
		"vda": {Path: "/o/vda", Format: "raw"},
		"vdb": {Path: "/o/vdb", Format: "qcow2", Beneath: &virt.Source{Path: "/dev/vg/b", Block: true}},
	}})
	require.NoError(t, err)
	d, err := virt.Parse(overlaid)
	require.NoError(t, err)
	require.Equal(t, virt.Disk{Name: "vdb", Device: "disk", Type: "file", Path: "/o/vdb", Format: "qcow2", Backing: []string{"/dev/vg/b"}}, d.Disks[1])
	back, err := virt.Edit(overlaid, virt.Changes{Disks: map[string]virt.Source{
		"vda": {Path: "/img/vda.qcow2", Format: "qcow2"}, "vdb": {Path: "/dev/vg/b", Block: true},
	}})
	require.NoError(t, err)
	// One that said that nothing is beneath it need not say so again.
	require.Equal(t, strings.Replace(machine, "b'/><backingStore/>", "b'/>", 1), string(back))
}

func FuzzEdit_WithoutChangesReturnsItsInput(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if got, err := virt.Edit(doc, virt.Changes{}); err == nil {
			require.Equal(t, string(doc), string(got))
		}
	})
}

func FuzzEdit_SaysWhatItWasAskedFor(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), "name", "uuid", "vda", "/new/path")
	}
	f.Fuzz(func(t *testing.T, doc []byte, name, uuid, disk, path string) {
		got, err := virt.Edit(doc, virt.Changes{Name: name, UUID: uuid, MACs: true, Disks: map[string]virt.Source{disk: {Path: path}}})
		if err != nil {
			return
		}
		d, err := virt.Parse(got)
		require.NoError(t, err)
		if name != "" {
			require.Equal(t, name, d.Name)
		}
		for _, of := range d.Disks {
			if of.Name == disk {
				require.Equal(t, path, of.Path)
			}
		}
		again, err := virt.Edit(got, virt.Changes{Name: name, UUID: uuid, MACs: true, Disks: map[string]virt.Source{disk: {Path: path}}})
		require.NoError(t, err)
		require.Equal(t, string(got), string(again))
	})
}

// seeds are the documents that fuzzing begins with.
var seeds = []string{running, odd, "<domain><name>a</name></domain>"}
