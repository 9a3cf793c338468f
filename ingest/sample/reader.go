package sample

import (
	"bytes"
	"fmt"
	"io"
	"iter"
)

// LineLimit is the length of the longest line, in bytes with its end, that is
// given to a Parser.
const LineLimit = 4096

// LineLong is the rule that no line is longer than LineLimit. Such a line is
// not parsed.
var LineLong = &Rule{"sample", "LINE-LONG", "a line has at most 4096 bytes", true}

// Options are the options of a [Reader]. The zero Options read a finished file
// strictly from its beginning.
type Options struct {
	Mode    Mode
	Report  func(*Fault) // is given the faults that Mode lets pass, before the rows of their line are; nil drops them
	Name    string       // of the file, for messages; the parser is told apart
	Growing bool         // leave a last line without an end for later, and never call Finish
	Start   Position     // of the source's first byte, if it is not the beginning of the file
}

// Position is a place between two lines of a file. The zero Position is the
// beginning.
type Position struct {
	Lines  int   // before it
	Offset int64 // bytes before it
}

// Reader reads the rows of a file. It is not safe for concurrent use.
type Reader struct {
	src     io.Reader
	parser  Parser
	opts    Options
	buf     []byte
	unread  []byte // part of buf
	skipped int64  // bytes of a line too long to be parsed
	eof     bool
	out     Out
	next    int // of out.rows
	at      Position
	err     error
}

// NewReader returns a Reader of src. Nil opts are the zero Options.
func NewReader(src io.Reader, p Parser, opts *Options) *Reader {
	r := &Reader{buf: make([]byte, 32<<10)}
	r.Reset(src, p, opts)
	return r
}

// Reset makes r the Reader that [NewReader] returns, and keeps its buffer.
func (r *Reader) Reset(src io.Reader, p Parser, opts *Options) {
	if opts == nil {
		opts = &Options{}
	}
	*r = Reader{
		src: src, parser: p, opts: *opts, buf: r.buf, at: opts.Start,
		out: Out{rows: r.out.rows[:0], mode: opts.Mode, report: opts.Report, file: opts.Name},
	}
}

// Read returns the next row. At the end of the source the error is [io.EOF];
// the Reader of a growing file may be asked again when there may be more. A
// file that breaks a rule that the mode does not let pass gives a [*Fault], and
// no row of the line at fault; that and an error of the source are final.
func (r *Reader) Read() (Row, error) {
	if err := r.more(); err != nil {
		return Row{}, err
	}
	r.next++
	return r.out.rows[r.next-1], nil
}

// Peek returns the next row, or the error, that Read will return.
func (r *Reader) Peek() (Row, error) {
	if err := r.more(); err != nil {
		return Row{}, err
	}
	return r.out.rows[r.next], nil
}

// Position returns the end of the last line that was parsed. Its rows have all
// been read when Read has returned io.EOF.
func (r *Reader) Position() Position { return r.at }

// Torn returns how many bytes after Position the source has delivered: when Read
// has returned io.EOF, those of the last line of a growing file, which has no
// end yet.
func (r *Reader) Torn() int64 { return r.skipped + int64(len(r.unread)) }

// more sees to it that there is a row to read.
func (r *Reader) more() error {
	for r.next == len(r.out.rows) {
		if r.err != nil {
			return r.err
		}
		if err := r.parse(); err != nil {
			if err != io.EOF || !r.opts.Growing {
				r.err = err
			}
			return err
		}
	}
	return nil
}

// parse gives the parser one line, or the end of the file.
func (r *Reader) parse() error {
	r.out.Reset()
	r.next = 0
	r.out.At(r.at.Lines+1, r.at.Offset)
	line, end, err := r.line()
	switch {
	case err == io.EOF && !r.opts.Growing:
		r.parser.Finish(&r.out)
		if r.out.fault == nil {
			r.err = io.EOF // after the rows that Finish may have added
			return nil
		}
	case err != nil:
		return err
	case r.skipped > 0:
		r.out.Fault(LineLong, 0, nil)
	default:
		r.parser.Parse(line, end, &r.out)
	}
	if r.out.fault != nil {
		r.out.rows = r.out.rows[:0]
		return r.out.fault
	}
	n := len(line) + len(end.String())
	r.unread = r.unread[n:]
	r.at.Lines++
	r.at.Offset += r.skipped + int64(n)
	r.skipped = 0
	return nil
}

// line finds the next line in unread, and reads more as long as there is none.
func (r *Reader) line() ([]byte, End, error) {
	for {
		if line, end := cut(r.unread); end != None {
			return line, end, nil
		}
		if len(r.unread) >= LineLimit {
			// The last byte may be the first half of the line's end.
			r.skipped += LineLimit - 1
			r.unread = r.unread[LineLimit-1:]
			continue
		}
		if r.eof {
			if n := len(r.unread); n > 0 && r.unread[n-1] == '\r' {
				return r.unread[:n-1], CR, nil
			}
			if r.Torn() > 0 {
				return r.unread, None, nil
			}
			return nil, None, io.EOF
		}
		if err := r.fill(); err != nil {
			return nil, None, err
		}
	}
}

// cut returns the first line of b, if that has an end within LineLimit bytes
// that is sure: a carriage return before the end of b may be half of CRLF.
func cut(b []byte) ([]byte, End) {
	b = b[:min(len(b), LineLimit)]
	line, end := b, None
	if i := bytes.IndexByte(b, '\n'); i > 0 && b[i-1] == '\r' {
		line, end = b[:i-1], CRLF
	} else if i >= 0 {
		line, end = b[:i], LF
	}
	if i := bytes.IndexByte(line, '\r'); i >= 0 && i+1 < len(b) {
		return line[:i], CR
	}
	return line, end
}

// fill reads once from the source behind what is unread.
func (r *Reader) fill() error {
	n := copy(r.buf, r.unread)
	r.unread = r.buf[:n]
	for range 100 {
		m, err := r.src.Read(r.buf[n:])
		r.unread = r.buf[:n+m]
		switch {
		case err == io.EOF && m > 0 && r.opts.Growing:
			return nil
		case err == io.EOF && r.opts.Growing:
			return io.EOF
		case err == io.EOF:
			r.eof = true
			return nil
		case err != nil:
			return fmt.Errorf("sample: read, on %s after line %d: %w", r.opts.Name, r.at.Lines, err)
		case m > 0:
			return nil
		}
	}
	return fmt.Errorf("sample: read, on %s after line %d: %w", r.opts.Name, r.at.Lines, io.ErrNoProgress)
}

// Check yields the faults of a finished file, whatever their number, in the
// order of their lines. The error is of the source, and the last pair; the fault
// is then nil.
func Check(src io.Reader, p Parser, name string) iter.Seq2[*Fault, error] {
	return func(yield func(*Fault, error) bool) {
		more := true
		report := func(f *Fault) { more = more && yield(f, nil) }
		r := NewReader(src, p, &Options{Mode: Lenient, Report: report, Name: name})
		for more {
			_, err := r.Read()
			if err == io.EOF || !more {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}
