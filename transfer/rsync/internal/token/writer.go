package token

import (
	"fmt"

	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// A Writer writes the files of a session. Its errors are those of the
// wire.Writer below. It is for one goroutine.
type Writer struct {
	w        *wire.Writer
	c        compressor // nil: none
	literals bool       // c has data that is not flushed
	last     int32      // block of the run before
	first    int32      // block of the run that is not written yet
	run      int32      // its length
}

type compressor interface {
	write(p []byte)
	flush() // ends a stretch of literal data
	reset() // ends a file
}

// NewWriter returns a Writer to w. The method is "zstd", "lz4" or "zlibx", or
// "" or "none" for no compression; any other is an error.
func NewWriter(w *wire.Writer, method string) (*Writer, error) {
	t := &Writer{w: w}
	switch method {
	case "", "none":
	case "zstd":
		t.c = newZstdCompressor(w)
	case "lz4":
		t.c = newLZ4Compressor(w)
	case "zlibx":
		t.c = newZlibxCompressor(w)
	default:
		return nil, unknown(method)
	}
	return t, nil
}

// Literal writes bytes of the file. Of none it writes nothing.
func (t *Writer) Literal(p []byte) {
	if t.c != nil && len(p) > 0 {
		t.endRun()
		t.literals = true
		t.c.write(p)
		return
	}
	for len(p) > 0 {
		n := min(len(p), maxPlain)
		t.w.Int(int32(n))
		_, _ = t.w.Write(p[:n]) // the error sticks to w
		p = p[n:]
	}
}

// Block writes that block i of the basis comes next in the file.
func (t *Writer) Block(i int32) {
	if i < 0 {
		t.w.Fail(fmt.Errorf("a block with the number %d", i))
		return
	}
	if t.c == nil {
		t.w.Int(-i - 1)
		return
	}
	if t.run > 0 && t.run < maxRun && int64(i) == int64(t.first)+int64(t.run) {
		t.run++
		return
	}
	t.endRun()
	t.endLiterals()
	t.first, t.run = i, 1
}

// End ends the file. The next token is of another.
func (t *Writer) End() {
	if t.c == nil {
		t.w.Int(0)
		return
	}
	t.endRun()
	t.endLiterals()
	t.w.Byte(endOfFile)
	t.last = 0
	t.c.reset()
}

func (t *Writer) endLiterals() {
	if t.literals {
		t.c.flush()
		t.literals = false
	}
}

func (t *Writer) endRun() {
	if t.run == 0 {
		return
	}
	after, at := byte(blockAfter), byte(blockAt)
	if t.run > 1 {
		after, at = runAfter, runAt
	}
	if step := t.first - t.last; step >= 0 && step <= maxAfter {
		t.w.Byte(after | byte(step))
	} else {
		t.w.Byte(at)
		t.w.Int(t.first)
	}
	if t.run > 1 {
		t.w.Short(uint16(t.run - 1))
	}
	t.last = t.first + (t.run - 1)
	t.run = 0
}
