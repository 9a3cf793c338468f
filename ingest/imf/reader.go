package imf

import (
	"io"
	"iter"
	"path"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Reader reads one file. It is not safe for concurrent use.
type Reader struct {
	*sample.Reader
	parser *Parser
}

// NewReader returns a Reader of src. The last element of opts.Name, if there is
// a name, is compared with the content. Nil opts read a finished file strictly.
func NewReader(src io.Reader, opts *sample.Options) *Reader {
	var name string
	if opts != nil {
		name = opts.Name
	}
	p := NewParser(base(name))
	return &Reader{sample.NewReader(src, p, opts), p}
}

// Header returns what the headers of all blocks have in common; the first is
// read if it has not been. The error is [io.EOF] if a growing file has none yet,
// and otherwise that of [sample.Reader.Read].
func (r *Reader) Header() (Header, error) {
	if _, err := r.Peek(); err != nil && (err != io.EOF || r.parser.blocks == 0) {
		return Header{}, err
	}
	return r.parser.Header(), nil
}

// Series returns what is known of the rows: all of it after Header.
func (r *Reader) Series() sample.Series { return r.parser.Series() }

// Check yields the faults of a finished file, in the order of its lines. The
// last element of name is compared with the content, if name is not empty. The
// error is of the source, and the last pair; the fault is then nil.
func Check(src io.Reader, name string) iter.Seq2[*sample.Fault, error] {
	return sample.Check(src, NewParser(base(name)), name)
}

func base(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(name)
}
