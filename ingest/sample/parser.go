package sample

// Parser understands the lines of one file, which it is given in their order.
// It keeps what it must remember of them, in bounded memory, and nothing else:
// no source, no position and no opinion of which faults are grave.
type Parser interface {
	// Parse takes the next line, without its end, and adds to out the rows it
	// completes and its faults. A line from which no row can be made adds only
	// faults. The line is not kept and not changed.
	Parse(line []byte, end End, out *Out)
	// Finish is called once, after the last line of a file that is complete.
	Finish(out *Out)
	// Series returns what is known of the rows so far; all of it once there is
	// a row. The caller does not change its Elements.
	Series() Series
}

// End is how a line ends.
type End uint8

const (
	None End = iota // with the end of the file
	LF
	CRLF
	CR
)

func (e End) String() string {
	return [...]string{"", "\n", "\r\n", "\r"}[e]
}

// Out takes what a Parser makes of a line. Parsers get it from a Reader; the
// zero Out collects rows and takes every fault for the end, as [Strict] does.
type Out struct {
	rows   []Row
	fault  *Fault // the first that ends the reading
	mode   Mode
	report func(*Fault)
	file   string
	line   int
	offset int64 // of the line
}

// Row adds a row at t, in milliseconds since 1970, in which nothing is observed
// yet. The row may be filled in until the next call of a method of o.
func (o *Out) Row(t int64) *Row {
	o.rows = append(o.rows, RowAt(t))
	return &o.rows[len(o.rows)-1]
}

// Fault adds a fault at a column of the line, counted in bytes from 1, or zero
// for the line as a whole. Found is what stands there; it is not kept.
func (o *Out) Fault(r *Rule, column int, found []byte) {
	refused := o.mode.refuses(r)
	if refused && o.fault != nil || !refused && o.report == nil {
		return
	}
	f := &Fault{
		Rule: r, File: o.file, Line: o.line, Column: column,
		Offset: o.offset + int64(max(column-1, 0)),
		Found:  string(found[:min(len(found), maxFound)]),
	}
	if refused {
		o.fault = f
		return
	}
	o.report(f)
}

// Rows returns the rows of the lines since the last Reset.
func (o *Out) Rows() []Row { return o.rows }

// Err returns the first fault since the last Reset that ends the reading, or nil.
func (o *Out) Err() error {
	if o.fault == nil {
		return nil
	}
	return o.fault
}

// Reset forgets rows and faults, and keeps their memory.
func (o *Out) Reset() { o.rows, o.fault = o.rows[:0], nil }

// At says which line the next faults belong to: its number, counted from 1, and
// its offset in bytes.
func (o *Out) At(line int, offset int64) { o.line, o.offset = line, offset }
