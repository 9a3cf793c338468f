package imf

import (
	"bytes"
	"slices"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

const (
	lineLen      = 62
	linesOfBlock = 30
	minuteMs     = 60_000
	hourMs       = 60 * minuteMs
)

// Parser understands the lines of one file. It is a [sample.Parser].
type Parser struct {
	fileName string // empty if it is not to be compared
	name     Name   // its meaning; zero if it has none

	began        bool
	header       Header
	blocks       int
	timed        bool  // there was a block with a time
	first, start int64 // of the first of them and of the last, in milliseconds

	lines   int  // of the block, still to come
	sure    bool // the block has a time, and its lines so far are whole
	minutes [2 * linesOfBlock]minute
}

var _ sample.Parser = (*Parser)(nil)

// NewParser returns a Parser for a file with a name, which is compared with the
// content. An empty name is not.
func NewParser(name string) *Parser { return &Parser{fileName: name} }

// Header returns what the headers have in common; it is known once there is a row.
func (p *Parser) Header() Header { return p.header }

// Series returns what is known of the rows; all of it once there is a row.
func (p *Parser) Series() sample.Series {
	return sample.Series{Station: p.header.Code, Elements: p.header.columns(), Cadence: time.Minute, Level: p.header.Level()}
}

// Parse takes the next line. See [sample.Parser].
func (p *Parser) Parse(line []byte, end sample.End, out *sample.Out) {
	if !p.began {
		p.checkName(out)
	}
	if end != sample.CRLF {
		out.Fault(EOL, 0, []byte(end.String()))
	}
	if p.lines > 0 && len(line) == lineLen && p.clean((*[lineLen]byte)(line), p.pair()) {
		p.endLine(out)
		return
	}
	if len(line) != lineLen {
		out.Fault(Len62, 0, line)
	}
	if i := slices.IndexFunc(line, func(c byte) bool { return c < ' ' || '~' < c }); i >= 0 {
		out.Fault(NoTab, i+1, line[i:i+1])
	}
	if text := bytes.TrimLeft(line, " "); len(text) > 0 && 'a' <= text[0]|0x20 && text[0]|0x20 <= 'z' {
		p.closeBlock(out)
		p.block(line, out)
		return
	}
	if p.lines == 0 {
		out.Fault(HdrFields, 1, line)
		return
	}
	p.mend(line, p.pair(), out)
	p.endLine(out)
}

// Finish reports what only the end of a file shows.
func (p *Parser) Finish(out *sample.Out) {
	p.closeBlock(out)
	if p.blocks == 0 {
		out.Fault(NoRows, 0, nil)
	}
}

func (p *Parser) closeBlock(out *sample.Out) {
	if p.lines > 0 {
		out.Fault(BlockShort, 0, nil)
	}
	p.lines = 0
}

// checkName looks at the name, at the first line.
func (p *Parser) checkName(out *sample.Out) {
	p.began = true
	if p.fileName == "" {
		return
	}
	var err error
	if p.name, err = ParseName(p.fileName); err != nil {
		out.Fault(err.(*sample.Fault).Rule, 0, []byte(p.fileName))
	}
}

// begin begins the rows of a block.
func (p *Parser) begin(start int64, line []byte, out *sample.Out) {
	switch {
	case !p.timed:
		p.first = start
	case start == p.start:
		out.Fault(TimeDup, 5, line[4:])
	case start < p.start:
		out.Fault(TimeOrder, 5, line[4:])
	case start > p.start+hourMs:
		out.Fault(TimeGap, 5, line[4:])
	}
	if start >= p.first+24*hourMs {
		out.Fault(DayLimit, 0, line)
	}
	p.timed, p.start = true, start
	if p.name.Code == "" {
		return
	}
	want := Name{Code: p.header.Code, Day: julian.DateOf(time.UnixMilli(start).UTC()), Type: p.header.Type}
	if p.name.Type == 0 || p.name.Type == 'T' {
		want.Type = p.name.Type
	}
	if p.name != want {
		out.Fault(NameMatch, 0, []byte(p.fileName))
	}
}
