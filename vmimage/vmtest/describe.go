package vmtest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// description is the XML of a machine, and which files its disks are written to: those
// that the text names, or overlays of them.
type description struct {
	text   []byte // without metadata
	domain virt.Domain
	spots  []spot            // of the disks in the text
	top    map[string]string // by disk
}

// spot is where something lies in a text.
type spot struct{ from, to int }

func (d *description) clone() description {
	c := *d
	c.top = maps.Clone(d.top)
	return c
}

// describe reads XML as it was given to Define.
func describe(doc []byte) (description, metadata, error) {
	domain, err := virt.Parse(doc)
	if err != nil {
		return description{}, nil, err
	}
	text, meta, err := splitMetadata(bytes.Clone(doc))
	if err != nil {
		return description{}, nil, err
	}
	d := description{text: text, domain: domain, top: make(map[string]string)}
	d.spots, err = find(text, "domain/devices/disk")
	if err != nil {
		return description{}, nil, err
	}
	for _, disk := range domain.Disks {
		if _, twice := d.top[disk.Name]; twice {
			return description{}, nil, fmt.Errorf("disk %s is there twice", disk.Name)
		}
		d.top[disk.Name] = disk.Path
	}
	return d, meta, nil
}

// without is the description without a disk.
func (d *description) without(disk string) description {
	s := d.spots[slices.IndexFunc(d.domain.Disks, func(k virt.Disk) bool { return k.Name == disk })]
	rest, _, err := describe(slices.Concat(d.text[:s.from], d.text[s.to:]))
	must(err)
	for name := range rest.top {
		rest.top[name] = d.top[name]
	}
	return rest
}

// find is where the elements of a path lie.
func find(doc []byte, path string) (spots []spot, err error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	var open []string
	var begun int
	for {
		at := int(d.InputOffset())
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return spots, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			name := token.Name.Local
			if token.Name.Space != "" && path != "domain/metadata/*" {
				name = "other " + name
			}
			open = append(open, name)
			if len(open) == 3 && strings.HasSuffix(path, "/*") {
				open[2] = "*"
			}
			if strings.Join(open, "/") == path {
				begun = at
			}
		case xml.EndElement:
			if strings.Join(open, "/") == path {
				spots = append(spots, spot{begun, int(d.InputOffset())})
			}
			open = open[:len(open)-1]
		}
	}
}

var (
	driverType   = regexp.MustCompile(`(<driver\b[^>]*\stype=)(?:'[^']*'|"[^"]*")`)
	sourceFile   = regexp.MustCompile(`(<source\b[^>]*\s)(?:file|dev)=(?:'[^']*'|"[^"]*")`)
	backingStore = regexp.MustCompile(`(?s)<backingStore\b[^/>]*>.*?</backingStore>`)
	diskType     = regexp.MustCompile(`^(<disk\b[^>]*\stype=)(?:'[^']*'|"[^"]*")`)
)

// render is the description as the host tells it.
func (m *machine) render(d *description) []byte {
	text := m.text(d)
	end := bytes.LastIndex(text, []byte("</domain>"))
	return slices.Concat(text[:end], m.meta.render(), text[end:])
}

// text is that without metadata.
func (m *machine) text(d *description) []byte {
	live := d == &m.live
	var out []byte
	at := 0
	for i, disk := range d.domain.Disks {
		s := d.spots[i]
		text := d.text[s.from:s.to]
		top := d.top[disk.Name]
		if live || top != disk.Path {
			text = backingStore.ReplaceAll(text, nil)
		}
		if top != disk.Path {
			format := "raw"
			if m.w.overlays[top] != nil {
				format = "qcow2"
			}
			text = driverType.ReplaceAll(text, []byte("${1}'"+format+"'"))
			text = diskType.ReplaceAll(text, []byte("${1}'file'"))
			text = sourceFile.ReplaceAll(text, []byte("${1}file='"+strings.ReplaceAll(escape(top), "$", "$$")+"'"))
		}
		if live && disk.Path != "" {
			text = bytes.Replace(text, []byte("<target"), []byte(m.beneath(disk)+"<target"), 1)
		}
		out = append(append(out, d.text[at:s.from]...), text...)
		at = s.to
	}
	out = append(out, d.text[at:]...)
	if live {
		out = bytes.Replace(out, []byte("<domain"), fmt.Appendf(nil, "<domain id='%d'", m.run), 1)
	}
	return out
}

// beneath is what the XML of a machine that is on says besides of a disk.
func (m *machine) beneath(disk virt.Disk) string {
	files := m.w.chain(m.live.top[disk.Name])[1:]
	text, ends := "", ""
	for i, file := range files {
		format := "qcow2"
		if i == len(files)-1 {
			format = disk.Format
		}
		text += fmt.Sprintf("<backingStore type='file'><format type='%s'/><source file='%s'/>", format, escape(file))
		ends += "</backingStore>"
	}
	text += "<backingStore/>" + ends + "\n      "
	if job := m.jobs[disk.Name]; job != nil {
		ready := ""
		if job.ready {
			ready = " ready='yes'"
		}
		text += fmt.Sprintf("<mirror type='file' job='active-commit'%s><source file='%s'/></mirror>\n      ", ready, escape(job.beneath))
	}
	return text
}

func (m *machine) xml(inactive bool) []byte {
	if inactive {
		return m.render(&m.next)
	}
	return m.render(m.current())
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}

// metadata are the elements that programs keep with a machine.
type metadata []kept

type kept struct {
	namespace string
	element   string // as it was given
	text      string // as the XML of the machine has it
}

func (m metadata) get(namespace string) string {
	for _, k := range m {
		if k.namespace == namespace {
			return k.element
		}
	}
	return ""
}

func (m *metadata) set(prefix, namespace, element string) error {
	others := slices.DeleteFunc(slices.Clone(*m), func(k kept) bool { return k.namespace == namespace })
	if element != "" {
		var root struct{ XMLName xml.Name }
		if err := xml.Unmarshal([]byte(element), &root); err != nil {
			return err
		}
		name := root.XMLName.Local
		text := strings.Replace(element, "<"+name, "<"+prefix+":"+name+" xmlns:"+prefix+"='"+escape(namespace)+"'", 1)
		if i := strings.LastIndex(text, "</"+name); i >= 0 {
			text = text[:i] + "</" + prefix + ":" + text[i+2:]
		}
		others = append(others, kept{namespace, element, text})
	}
	*m = others
	return nil
}

func (m metadata) render() []byte {
	if len(m) == 0 {
		return nil
	}
	text := []byte("  <metadata>\n")
	for _, k := range m {
		text = append(text, "    "+k.text+"\n"...)
	}
	return append(text, "  </metadata>\n"...)
}

// declaration is that of a prefix, as metadata.set writes it.
var declaration = regexp.MustCompile(`^<([\w.-]+):([\w.-]+) xmlns:([\w.-]+)='[^']*'`)

// splitMetadata takes the metadata out of the XML of a machine.
func splitMetadata(doc []byte) ([]byte, metadata, error) {
	whole, err := find(doc, "domain/metadata")
	if err != nil || len(whole) == 0 {
		return doc, nil, err
	}
	elements, err := find(doc, "domain/metadata/*")
	if err != nil {
		return nil, nil, err
	}
	var meta metadata
	for _, s := range elements {
		text := string(doc[s.from:s.to])
		var root struct{ XMLName xml.Name }
		if err := xml.Unmarshal([]byte(text), &root); err != nil {
			return nil, nil, err
		}
		element := text
		if d := declaration.FindStringSubmatch(text); d != nil && d[1] == d[3] {
			element = "<" + d[2] + strings.ReplaceAll(text[len(d[0]):], "</"+d[1]+":"+d[2], "</"+d[2])
		}
		meta = append(meta, kept{root.XMLName.Space, element, text})
	}
	from, to := whole[0].from, whole[0].to
	from = len(bytes.TrimRight(doc[:from], " \t"))
	if bytes.HasPrefix(doc[to:], []byte("\n")) {
		to++
	}
	return slices.Concat(doc[:from], doc[to:]), meta, nil
}
