package imf

import (
	"fmt"
	"io"
	"slices"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Writer writes one file, which the strict reader accepts. It is not safe for
// concurrent use.
type Writer struct {
	dst    io.Writer
	header Header
	hour   int64 // the block begins, in milliseconds
	rows   []sample.Row
	parser *Parser
	out    sample.Out
	buf    []byte
	line   int
	offset int64
	err    error
}

// NewWriter returns a Writer of a file with a header, which is not kept.
func NewWriter(dst io.Writer, h *Header) *Writer {
	return &Writer{dst: dst, header: *h, parser: NewParser("")}
}

// Write writes a row. Rows come in the order of their times, on the minute.
// Minutes left out of an hour are written as missing; an hour that is left out
// is a fault. The error is a [*sample.Fault] if the file would break a rule,
// and otherwise of the destination; it is final. An hour is judged and written
// when it is over: by the first row of the next, or by Close.
func (w *Writer) Write(r sample.Row) error {
	if w.err != nil {
		return w.err
	}
	if r.Time%minuteMs != 0 {
		return w.fail(fmt.Errorf("imf: write, on the row of %s: a row is on the minute", r.UTC()))
	}
	for i, v := range r.Values[4:] {
		if v != sample.NotObserved {
			return w.fail(fmt.Errorf("imf: write, on the row of %s: a file has four elements, and value %d is given", r.UTC(), i+5))
		}
	}
	if n := len(w.rows); n > 0 && r.Time <= w.rows[n-1].Time {
		return w.fail(&sample.Fault{Rule: TimeOrder, Line: w.line + 1, Offset: w.offset, Found: r.UTC().String()})
	}
	hour := r.Time - ((r.Time%hourMs)+hourMs)%hourMs
	if hour != w.hour && len(w.rows) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.hour = hour
	w.rows = append(w.rows, r)
	return nil
}

// Close writes the last hour, and must be called to finish the file; it does
// not close the destination. The error is a [*sample.Fault] of [NoRows] if
// there was no row, or that of an earlier call.
func (w *Writer) Close() error {
	if w.err == nil && len(w.rows) > 0 {
		w.flush()
	}
	if w.err != nil {
		return w.err
	}
	w.out.At(w.line+1, w.offset)
	w.parser.Finish(&w.out)
	if err := w.out.Err(); err != nil {
		return w.fail(err)
	}
	return nil
}

// flush writes a block, of which the parser judges each line.
func (w *Writer) flush() error {
	w.buf = w.buf[:0]
	w.endLine(w.header.append(w.buf, w.hour))
	rows, pad := w.rows, sample.RowAt(0)
	for i := range 4 {
		if rows[0].Values[i] != sample.NotObserved {
			pad.Values[i] = sample.Missing
		}
	}
	var block [60]sample.Row
	for i := range block {
		block[i] = pad
		block[i].Time = w.hour + int64(i)*minuteMs
		if len(rows) > 0 && rows[0].Time == block[i].Time {
			block[i], rows = rows[0], rows[1:]
		}
	}
	for pair := range slices.Chunk(block[:], 2) {
		line := appendRow(w.buf, &pair[0])
		line = append(line, "  "...)
		w.endLine(appendRow(line, &pair[1]))
	}
	if w.err == nil && !slices.Equal(w.out.Rows(), block[:]) {
		w.err = fmt.Errorf("imf: write, on the hour of %s: a value is one of the format's codes", block[0].UTC())
	}
	if w.err != nil {
		return w.err
	}
	w.rows = w.rows[:0]
	if _, err := w.dst.Write(w.buf); err != nil {
		return w.fail(fmt.Errorf("imf: write, after line %d: %w", w.line, err))
	}
	return nil
}

// endLine ends the line that buf has more than w.buf.
func (w *Writer) endLine(buf []byte) {
	if w.err != nil {
		return
	}
	w.line++
	w.out.Reset()
	w.out.At(w.line, w.offset)
	line := buf[len(w.buf):]
	w.parser.Parse(line, sample.CRLF, &w.out)
	if w.err = w.out.Err(); w.err != nil {
		return
	}
	w.offset += int64(len(line) + len("\r\n"))
	w.buf = append(buf, "\r\n"...)
}

func (w *Writer) fail(err error) error {
	w.err = err
	return err
}
