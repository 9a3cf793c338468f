package virt

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Changes are what is to be different in the XML of a machine. The zero value is
// nothing.
type Changes struct {
	Name, UUID string // "" leaves it

	// NVRAM is the new path of the UEFI variables; "" leaves it. A copy of
	// a machine must not share those of the original.
	NVRAM string

	// Disks are what disks consist of, by target. Of files beneath them nothing else is
	// said any more.
	Disks map[string]Source

	// MACs drops the addresses of the network interfaces, for the host to make
	// new ones.
	MACs bool
}

// Source is what a disk consists of.
type Source struct {
	Path   string
	Format string // such as "qcow2"; "" means "raw"
	Block  bool   // it is a block device, else a file

	// Beneath is the file directly beneath it, which libvirt takes out of the description once it
	// is merged; nil says nothing of it.
	Beneath *Source
}

func (s Source) format() string { return cmp.Or(s.Format, "raw") }

// kind is the type that libvirt calls it by, and the attribute that names its path.
func (s Source) kind() (kind, attribute string) {
	if s.Block {
		return "block", "dev"
	}
	return "file", "file"
}

// Edit makes changes to the XML of a machine. All else stays byte for byte. What it
// cannot be sure of, such as a disk that is not there or is not a file or block device,
// it refuses.
func Edit(xml []byte, c Changes) ([]byte, error) {
	edited, err := edit(xml, c)
	if err != nil {
		return nil, fmt.Errorf("virt: edit the description of a machine: %w", err)
	}
	return edited, nil
}

func edit(doc []byte, c Changes) ([]byte, error) {
	was, root, err := parse(doc)
	if err != nil {
		return nil, err
	}
	e := &editor{doc: doc}
	if c.Name != "" {
		e.setText(root, c.Name, "name")
	}
	if c.UUID != "" {
		e.setText(root, c.UUID, "uuid")
		// libvirt refuses a machine whose firmware tables have another UUID.
		for _, entry := range root.all("sysinfo", "system", "entry") {
			if entry.attr("name") == "uuid" && strings.EqualFold(strings.TrimSpace(entry.text), was.UUID) {
				e.setElement(entry, c.UUID)
			}
		}
	}
	if c.NVRAM != "" {
		e.setNVRAM(root, c.NVRAM)
	}
	if c.MACs {
		for _, mac := range root.all("devices", "interface", "mac") {
			e.replace(mac.start, mac.end, "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Disks)) {
		e.setDisk(root, name, c.Disks[name])
	}
	edited, err := e.done()
	if err != nil {
		return nil, err
	}
	return edited, check(edited, c)
}

// editor collects what is to be replaced in a document, and the first thing that is in
// the way of it.
type editor struct {
	doc    []byte
	pieces []piece
	err    error
}

type piece struct {
	from, to int
	with     string
}

func (e *editor) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

func (e *editor) replace(from, to int, with string) {
	e.pieces = append(e.pieces, piece{from, to, with})
}

// done is the document with all that replaced.
func (e *editor) done() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	slices.SortStableFunc(e.pieces, func(a, b piece) int { return cmp.Compare(a.from, b.from) })
	var out []byte
	at := 0
	for _, p := range e.pieces {
		if p.from < at {
			return nil, errors.New("two changes of one place")
		}
		out = append(append(out, e.doc[at:p.from]...), p.with...)
		at = p.to
	}
	return append(out, e.doc[at:]...), nil
}

// escaped is a value as it is written between tags or quotes.
func (e *editor) escaped(value string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(value)) // a buffer takes all
	if strings.TrimSpace(value) != value || value == "" {
		e.fail("%q is empty or has space around it", value)
	}
	return b.String()
}

// setText replaces the text of the one element where a path leads.
func (e *editor) setText(root *element, value string, path ...string) {
	found := root.all(path...)
	if len(found) != 1 {
		e.fail("it has %d elements %s, not one", len(found), strings.Join(path, "/"))
		return
	}
	e.setElement(found[0], value)
}

func (e *editor) setElement(in *element, value string) {
	if in.mixed || in.inside == in.end {
		e.fail("element %s holds something else than text", in.name)
		return
	}
	e.replace(in.inside, in.after, e.escaped(value))
}

// setAttribute replaces the value of an attribute, and its name by another.
func (e *editor) setAttribute(in *element, name, as, value string) {
	from, begin, end, ok := in.attribute(e.doc, name)
	if !ok {
		e.fail("element %s has no attribute %s", in.name, name)
		return
	}
	if name != as {
		e.replace(from, from+len(name), as)
	}
	e.replace(begin, end, e.escaped(value))
}

func (e *editor) setNVRAM(root *element, path string) {
	found := root.all("os", "nvram")
	if len(found) != 1 {
		e.fail("it has %d elements os/nvram, not one", len(found))
		return
	}
	switch source := found[0].all("source"); {
	case len(source) == 0:
		e.setElement(found[0], path)
	case len(source) == 1 && found[0].attr("type") == "file":
		e.setAttribute(source[0], "file", "file", path)
	default:
		e.fail("its UEFI variables are not in a file")
	}
}

func (e *editor) setDisk(root *element, name string, to Source) {
	var found []*element
	for _, d := range root.all("devices", "disk") {
		if d.first("target").attr("dev") == name {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		e.fail("it has %d disks %s, not one", len(found), name)
		return
	}
	in := found[0]
	d := disk(in)
	source, driver := in.all("source"), in.all("driver")
	switch {
	case d.Path == "" || len(source) != 1 || len(driver) > 1 || len(in.all("target")) != 1:
		e.fail("disk %s is not one file or block device", name)
		return
	case d.Job:
		e.fail("disk %s is in a block job", name)
		return
	case d.Special != "":
		e.fail("disk %s is %s", name, d.Special)
		return
	}
	_, old := Source{Block: d.Type == "block"}.kind()
	kind, attribute := to.kind()
	if d.Type != kind {
		e.setAttribute(in, "type", "type", kind)
	}
	e.setAttribute(source[0], old, attribute, to.Path)
	// Without a driver or its type libvirt takes a file for a raw one.
	if cmp.Or(d.Format, "raw") != to.format() {
		if len(driver) == 0 {
			e.fail("disk %s has no driver, so that its format cannot be said", name)
			return
		}
		e.setAttribute(driver[0], "type", "type", to.format())
	}
	if b := to.Beneath; b != nil {
		kind, attribute := b.kind()
		e.replace(source[0].end, source[0].end, fmt.Sprintf("<backingStore type='%s'><format type='%s'/><source %s='%s'/></backingStore>",
			kind, e.escaped(b.format()), attribute, e.escaped(b.Path)))
	}
	for _, beneath := range in.all("backingStore") {
		if beneath.mixed || to.Beneath != nil {
			e.replace(beneath.start, beneath.end, "")
		}
	}
}

// check reads what was written, so that a value that XML cannot hold, or a misread
// document, is an error and not a machine that writes to the disks of another.
func check(edited []byte, c Changes) error {
	d, root, err := parse(edited)
	if err != nil {
		return err
	}
	ok := (c.Name == "" || d.Name == c.Name) &&
		(c.UUID == "" || d.UUID == strings.ToLower(c.UUID)) &&
		(c.NVRAM == "" || d.NVRAM == c.NVRAM) &&
		(!c.MACs || !root.has("devices", "interface", "mac"))
	for name, to := range c.Disks {
		kind, _ := to.kind()
		i := slices.IndexFunc(d.Disks, func(d Disk) bool { return d.Name == name })
		var beneath []string
		if to.Beneath != nil {
			beneath = []string{to.Beneath.Path}
		}
		ok = ok && i >= 0 && d.Disks[i].Path == to.Path && d.Disks[i].Type == kind &&
			cmp.Or(d.Disks[i].Format, "raw") == to.format() && slices.Equal(d.Disks[i].Backing, beneath)
	}
	if !ok {
		return errors.New("it does not say what was asked for afterwards")
	}
	return nil
}
