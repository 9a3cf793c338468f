package virt

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// element is an element of an XML document, and where in its bytes it lies.
type element struct {
	name     string // of libvirt's own, such as "disk"; of another name space with that in front
	attrs    []xml.Attr
	text     string // all that is directly in it
	mixed    bool   // it holds more than text
	children []*element

	start, inside, after, end int // where its start tag, its content and its end tag begin, and where that ends
}

// readElement reads a document that consists of one element, and nothing but comments
// and the like beside it.
func readElement(doc []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	top := &element{}
	open := []*element{top}
	for {
		start := int(d.InputOffset())
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		in := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: local(token.Name), attrs: token.Copy().Attr, start: start, inside: int(d.InputOffset())}
			if name := e.twice(); name != "" {
				return nil, fmt.Errorf("element %s has two attributes %s", e.name, name)
			}
			in.children = append(in.children, e)
			in.mixed = true
			open = append(open, e)
		case xml.EndElement:
			in.after, in.end = start, int(d.InputOffset())
			open = open[:len(open)-1]
		case xml.CharData:
			in.text += string(token)
		default:
			in.mixed = true
		}
	}
	if len(top.children) != 1 || strings.TrimSpace(top.text) != "" {
		return nil, errors.New("not one element")
	}
	return top.children[0], nil
}

// local is how a name is compared: in libvirt's own documents it has no name space.
func local(name xml.Name) string {
	if name.Space == "" {
		return name.Local
	}
	return name.Space + " " + name.Local
}

// twice is an attribute that e has twice, which XML forbids but the decoder takes.
func (e *element) twice() string {
	seen := make(map[xml.Name]bool, len(e.attrs))
	for _, a := range e.attrs {
		if seen[a.Name] {
			return a.Name.Local
		}
		seen[a.Name] = true
	}
	return ""
}

// all are the elements that a path leads to.
func (e *element) all(path ...string) []*element {
	found := []*element{e}
	for _, name := range path {
		var next []*element
		for _, f := range found {
			for _, c := range f.children {
				if c.name == name {
					next = append(next, c)
				}
			}
		}
		found = next
	}
	return found
}

// first is the first of them, or one that has nothing.
func (e *element) first(path ...string) *element {
	if found := e.all(path...); len(found) > 0 {
		return found[0]
	}
	return &element{}
}

func (e *element) attr(name string) string {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// has reports whether there is an element where a path leads.
func (e *element) has(path ...string) bool { return len(e.all(path...)) > 0 }

// attribute is where in the document an attribute of e lies: its name, and its value without
// the quotes. The decoder has read the tag before, so that it is in order.
func (e *element) attribute(doc []byte, name string) (from, value, to int, ok bool) {
	const space = " \t\r\n"
	i := e.start + 1
	skip := func(while func(c byte) bool) {
		for i < e.inside && while(doc[i]) {
			i++
		}
	}
	isSpace := func(c byte) bool { return strings.IndexByte(space, c) >= 0 }
	skip(func(c byte) bool { return !isSpace(c) && c != '/' && c != '>' })
	for {
		skip(isSpace)
		from = i
		skip(func(c byte) bool { return !isSpace(c) && c != '=' && c != '/' && c != '>' })
		found := string(doc[from:i])
		skip(isSpace)
		if i >= e.inside || doc[i] != '=' {
			return 0, 0, 0, false
		}
		i++
		skip(isSpace)
		if i >= e.inside {
			return 0, 0, 0, false
		}
		quote := doc[i]
		i++
		value = i
		skip(func(c byte) bool { return c != quote })
		if found == name {
			return from, value, i, true
		}
		i++
	}
}
