package imf

import (
	"slices"

	"github.com/obskeep/obskeep/ingest/sample"
)

// The rules of the format, in the order in which a file meets them. Those with
// Refused end the reading of the receiver's reader too.
var (
	Len62       = rule("LEN62", "a line has 62 characters")
	EOL         = rule("EOL", "every line ends with CRLF")
	NoTab       = rule("NOTAB", "a line is printable ASCII, without tabs")
	HdrFields   = refused("HDR-FIELDS", "a block begins with a header of station, date, day of the year, hour, elements, type, GIN, place and baseline")
	HdrColumns  = rule("HDR-COLUMNS", "the fields of a header stand in their columns, one blank apart")
	Code        = rule("CODE", "the station code is three capital letters")
	Date        = refused("DATE", "the date is MMMDDYY, an English month in capitals, a day and a year from 1950 to 2049")
	DateDay     = rule("DATE-DAY", "the date is a day of the calendar")
	DOY         = rule("DOY", "the day of the year is that of the date")
	Hour        = rule("HOUR", "the hour is 00 to 23")
	Comp        = rule("COMP", "the elements are HDZF or XYZF, or HDZG or XYZG")
	Type        = rule("TYPE", "the data type is R, A, Q or D")
	GIN         = rule("GIN", "the GIN is EDI, GOL, KYO, OTT or PAR")
	Place       = refused("COLALONG", "the place is four digits of colatitude and four of east longitude")
	PlaceRange  = rule("COLALONG-RANGE", "colatitude is at most 180 degrees and longitude at most 360")
	DecBas      = refused("DECBAS", "the declination baseline is a number")
	DecBasForm  = rule("DECBAS-FORM", "the declination baseline is filled with zeros, and is zero with XYZ")
	Reserved    = rule("RESERVED", "the last field of a header is sixteen R")
	HdrSame     = refused("HDR-SAME", "all headers have one station, elements, type, GIN and place")
	DecBasSame  = rule("DECBAS-SAME", "all headers have one declination baseline")
	TimeGap     = refused("TIME-GAP", "no hour is missing between two blocks")
	TimeDup     = refused("TIME-DUP", "no hour is repeated")
	TimeOrder   = refused("TIME-ORDER", "a block is later than the one before it")
	BlockShort  = refused("BLOCK-SHORT", "a block has 30 lines of data")
	RowFields   = refused("ROW-FIELDS", "a line of data has eight values")
	RowColumns  = rule("ROW-COLUMNS", "the values of a line stand in their columns")
	RowNumber   = refused("ROW-NUMBER", "a value is a whole number")
	RowForm     = rule("ROW-FORM", "a value is filled with blanks, without a plus and without a negative zero")
	MissingCode = rule("MISSING-CODE", "a missing value is 999999, one not observed 888888, and no other value is as large")
	Range       = rule("RANGE", "a value is from -999998 to 999998")
	NoRows      = refused("NO-ROWS", "a file has blocks")
	DayLimit    = rule("DAY-LIMIT", "a file has at most 24 blocks")
	NameForm    = refused("NAME-FORM", "the file name is MMMDDYY, perhaps a type letter, a dot and the code")
	NameDate    = rule("NAME-DATE", "the date in the file name is in the calendar")
	NameMatch   = rule("NAME-MATCH", "the file name has the code, type and day of the content")
)

// Rules returns the rules in the order of the declarations above.
func Rules() []*sample.Rule { return slices.Clone(rules) }

var rules []*sample.Rule

func rule(name, text string) *sample.Rule {
	rules = append(rules, &sample.Rule{Format: "imf", Name: name, Text: text})
	return rules[len(rules)-1]
}

func refused(name, text string) *sample.Rule {
	r := rule(name, text)
	r.Refused = true
	return r
}
