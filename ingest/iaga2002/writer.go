package iaga2002

import (
	"fmt"
	"io"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Writer writes one file, which the strict reader accepts. It is not safe for
// concurrent use.
type Writer struct {
	dst    io.Writer
	buf    []byte
	start  int // of the record that is being written, in buf
	eol    string
	parser *Parser
	out    sample.Out
	line   int
	offset int64
	err    error
}

// NewWriter returns a Writer of a file with a header, which is not kept. The
// error is a [*sample.Fault] of what is wrong with the header. What is written
// may reach dst as late as in Close.
func NewWriter(dst io.Writer, h *Header) (*Writer, error) {
	w := &Writer{dst: dst, eol: "\n", parser: NewParser("")}
	if h.CRLF {
		w.eol = "\r\n"
	}
	for i, label := range labels {
		value := formatName
		if i > 0 {
			value = *h.field(i)
		}
		if i == mandatory && value == "" {
			continue
		}
		if label == "IAGA Code" && h.CodeLabel != "" {
			label = h.CodeLabel
		}
		w.record(headerRecord(label, value))
	}
	for _, comment := range h.Comments {
		w.record(commentRecord(comment))
	}
	w.record(h.titles())
	return w, w.err
}

// Write writes a row. The error is a [*sample.Fault] if the file would break a
// rule with it, and otherwise of the destination; it is final. The row is not
// written then.
func (w *Writer) Write(r sample.Row) error {
	w.buf = time.UnixMilli(r.Time).UTC().AppendFormat(w.buf, "2006-01-02 15:04:05.000 002   ")
	for _, v := range r.Values[:4] {
		const blanks = "          "
		var text [16]byte
		digits := appendValue(text[:0], v)
		w.buf = append(w.buf, blanks[:max(1, len(blanks)-len(digits))]...)
		w.buf = append(w.buf, digits...)
	}
	for i, v := range r.Values[4:] {
		if v != sample.NotObserved {
			return w.fail(fmt.Errorf("iaga2002: write, on the row of %s: a file has four elements, and value %d is given", r.UTC(), i+5))
		}
	}
	w.finishRecord()
	if w.err == nil && w.out.Rows()[0] != r {
		return w.fail(fmt.Errorf("iaga2002: write, on the row of %s: a value is one of the format's codes", r.UTC()))
	}
	return w.err
}

// Close writes what is left, and must be called to finish the file; it does not
// close the destination. The error is a [*sample.Fault] of [MinSamples] or
// [NoRows] if there are not enough rows, or that of an earlier call.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.out.At(w.line+1, w.offset)
	w.parser.Finish(&w.out)
	if err := w.out.Err(); err != nil {
		return w.fail(err)
	}
	return w.flush()
}

func (w *Writer) record(s string) {
	w.buf = append(w.buf, s...)
	w.finishRecord()
}

// finishRecord lets the parser judge the record at the end of buf.
func (w *Writer) finishRecord() {
	if w.err != nil {
		w.buf = w.buf[:w.start]
		return
	}
	end := sample.LF
	if w.eol != "\n" {
		end = sample.CRLF
	}
	w.line++
	w.out.Reset()
	w.out.At(w.line, w.offset)
	w.parser.Parse(w.buf[w.start:], end, &w.out)
	if err := w.out.Err(); err != nil {
		w.fail(err)
		return
	}
	w.buf = append(w.buf, w.eol...)
	w.offset += int64(len(w.buf) - w.start)
	w.start = len(w.buf)
	if len(w.buf) >= flushAt {
		w.flush()
	}
}

const flushAt = 32 << 10

func (w *Writer) flush() error {
	if _, err := w.dst.Write(w.buf); err != nil {
		return w.fail(fmt.Errorf("iaga2002: write, after line %d: %w", w.line, err))
	}
	w.buf, w.start = w.buf[:0], 0
	return nil
}

// fail drops the record that is being written and makes err final.
func (w *Writer) fail(err error) error {
	w.buf = w.buf[:w.start]
	if w.err == nil {
		w.err = err
	}
	return w.err
}
