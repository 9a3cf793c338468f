package imf

import (
	"fmt"
	"strings"
	"time"

	"github.com/obskeep/obskeep/ingest/internal/fixed"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// Header is what all headers of a file have in common.
type Header struct {
	Code       string // IAGA code, "TST"
	Elements   string // "HDZF", "XYZF"; V1.23 also "HDZG", "XYZG"
	Type       byte   // R reported, A adjusted, D definitive; V1.23 also Q quasi-definitive
	GIN        string // "EDI", "GOL", "KYO", "OTT", "PAR"
	Colatitude int    // tenths of a degree
	Longitude  int    // tenths of a degree east
	DecBas     int    // declination that D is relative to, tenths of a minute of arc east
}

// Level returns the level that Type stands for, or zero.
func (h *Header) Level() sample.Level {
	return sample.Level(strings.IndexByte("RAQD", h.Type) + 1)
}

// Name returns the name of the file of the day that contains t.
func (h *Header) Name(t time.Time) Name {
	return Name{Code: h.Code, Day: julian.DateOf(t.UTC())}
}

// columns returns the elements, one for each letter.
func (h *Header) columns() (elements []sample.Element) {
	for i := range min(len(h.Elements), 4) {
		e := sample.Element{Name: h.Elements[i : i+1], Unit: "nT", Decimals: 1}
		if e.Name == "D" {
			e = sample.Element{Name: "D", Unit: "arcmin", Decimals: 2}
		}
		elements = append(elements, e)
	}
	return elements
}

// append appends the header of a block that begins at start, in milliseconds.
func (h *Header) append(b []byte, start int64) []byte {
	t := time.UnixMilli(start).UTC()
	b = append(append(b, h.Code...), ' ')
	b = appendDate(b, julian.DateOf(t))
	return fmt.Appendf(b, " %03d %02d %s %c %s %04d%04d %06d %s",
		t.YearDay(), t.Hour(), h.Elements, h.Type, h.GIN, h.Colatitude, h.Longitude, h.DecBas, reserved)
}

const (
	reserved = "RRRRRRRRRRRRRRRR"
	months   = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
)

func appendDate(b []byte, d julian.Date) []byte {
	year, month, day := d.Civil()
	return fmt.Appendf(b, "%s%02d%02d", months[3*month-3:3*month], day, year%100)
}

// parseDate reads MMMDDYY, and reports whether it has that form and whether the
// calendar knows the day. The years are 1950 to 2049, as the receiver has them.
func parseDate(b []byte) (d julian.Date, known, ok bool) {
	if len(b) != 7 {
		return d, false, false
	}
	month := strings.Index(months, string(b[:3]))
	day, ok1 := number(b[3:5])
	year, ok2 := number(b[5:])
	if month < 0 || month%3 != 0 || !ok1 || !ok2 {
		return d, false, false
	}
	if year < 50 {
		year += 100
	}
	d, err := julian.FromCivil(1900+year, time.Month(month/3+1), day)
	return d, err == nil, true
}

// number reads up to nine digits.
func number(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || '9' < c {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, 0 < len(b) && len(b) <= 9
}

// block takes the header of a block.
func (p *Parser) block(line []byte, out *sample.Out) {
	p.blocks++
	p.lines, p.sure = linesOfBlock, false
	var fields [10]fixed.Field
	n := fixed.Fields(line, fields[:])
	if n < 9 {
		out.Fault(HdrFields, 1, line)
		return
	}
	text := func(i int) string { return string(fields[i].Text) }
	fault := func(r *sample.Rule, i int) { out.Fault(r, fields[i].Column, fields[i].Text) }
	for i, at := range [...]int{1, 5, 13, 17, 20, 25, 27, 31, 40} {
		if fields[i].Column != at {
			fault(HdrColumns, i)
			break
		}
	}
	h := Header{Code: text(0), Elements: text(4), Type: fields[5].Text[0], GIN: text(6)}
	if !letters(h.Code) {
		fault(Code, 0)
	}
	day, known, ok := parseDate(fields[1].Text)
	if !ok {
		fault(Date, 1)
	} else if !known {
		fault(DateDay, 1)
	}
	if doy, ok := number(fields[2].Text); known && (!ok || len(text(2)) != 3 || doy != day.Day) {
		fault(DOY, 2)
	}
	hour, inDay := number(fields[3].Text)
	inDay = inDay && hour < 24 && len(text(3)) <= 2
	if !inDay || len(text(3)) != 2 {
		fault(Hour, 3)
	}
	switch h.Elements {
	case "HDZF", "XYZF", "HDZG", "XYZG":
	default:
		fault(Comp, 4)
	}
	if h.Level() == 0 || len(text(5)) != 1 {
		fault(Type, 5)
	}
	switch h.GIN {
	case "EDI", "GOL", "KYO", "OTT", "PAR":
	default:
		fault(GIN, 6)
	}
	place, ok := number(fields[7].Text)
	h.Colatitude, h.Longitude = place/10000, place%10000
	if !ok || len(text(7)) != 8 {
		fault(Place, 7)
	} else if h.Colatitude > 1800 || h.Longitude > 3600 {
		fault(PlaceRange, 7)
	}
	decBas, ok := whole(fields[8].Text)
	h.DecBas = int(decBas)
	if !ok {
		fault(DecBas, 8)
	} else if s := text(8); len(s) != 6 || s[0] == '+' || decBas == 0 && s != "000000" || decBas != 0 && strings.HasPrefix(h.Elements, "XYZ") {
		fault(DecBasForm, 8)
	}
	if n != 10 || text(9) != reserved {
		out.Fault(Reserved, 47, line[min(46, len(line)):])
	}
	if p.blocks == 1 {
		p.header = h
	} else if h.DecBas = p.header.DecBas; h != p.header {
		out.Fault(HdrSame, 0, line)
	} else if int(decBas) != h.DecBas {
		fault(DecBasSame, 8)
	}
	// An hour of four digits is read as the minute of the day by some and as an
	// hour days away by others: no row is made of that block.
	if known && inDay {
		p.sure = true
		p.begin(day.In(time.UTC).UnixMilli()+int64(hour)*hourMs, line, out)
	}
}
