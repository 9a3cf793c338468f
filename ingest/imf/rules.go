package imf

import "github.com/obskeep/obskeep/ingest/sample"

// The rules of the format, in the order in which a file meets them. Those with
// Refused end the reading of the receiver's reader too.
var (
	Len62       = rules.Add("LEN62", "a line has 62 characters")
	EOL         = rules.Add("EOL", "every line ends with CRLF")
	NoTab       = rules.Add("NOTAB", "a line is printable ASCII, without tabs")
	HdrFields   = rules.Refused("HDR-FIELDS", "a block begins with a header of station, date, day of the year, hour, elements, type, GIN, place and baseline")
	HdrColumns  = rules.Add("HDR-COLUMNS", "the fields of a header stand in their columns, one blank apart")
	Code        = rules.Add("CODE", "the station code is three capital letters")
	Date        = rules.Refused("DATE", "the date is MMMDDYY, an English month in capitals, a day and a year from 1950 to 2049")
	DateDay     = rules.Add("DATE-DAY", "the date is a day of the calendar")
	DOY         = rules.Add("DOY", "the day of the year is that of the date")
	Hour        = rules.Add("HOUR", "the hour is 00 to 23")
	Comp        = rules.Add("COMP", "the elements are HDZF or XYZF, or HDZG or XYZG")
	Type        = rules.Add("TYPE", "the data type is R, A, Q or D")
	GIN         = rules.Add("GIN", "the GIN is EDI, GOL, KYO, OTT or PAR")
	Place       = rules.Refused("COLALONG", "the place is four digits of colatitude and four of east longitude")
	PlaceRange  = rules.Add("COLALONG-RANGE", "colatitude is at most 180 degrees and longitude at most 360")
	DecBas      = rules.Refused("DECBAS", "the declination baseline is a number")
	DecBasForm  = rules.Add("DECBAS-FORM", "the declination baseline is filled with zeros, and is zero with XYZ")
	Reserved    = rules.Add("RESERVED", "the last field of a header is sixteen R")
	HdrSame     = rules.Refused("HDR-SAME", "all headers have one station, elements, type, GIN and place")
	DecBasSame  = rules.Add("DECBAS-SAME", "all headers have one declination baseline")
	TimeGap     = rules.Refused("TIME-GAP", "no hour is missing between two blocks")
	TimeDup     = rules.Refused("TIME-DUP", "no hour is repeated")
	TimeOrder   = rules.Refused("TIME-ORDER", "a block is later than the one before it")
	BlockShort  = rules.Refused("BLOCK-SHORT", "a block has 30 lines of data")
	RowFields   = rules.Refused("ROW-FIELDS", "a line of data has eight values")
	RowColumns  = rules.Add("ROW-COLUMNS", "the values of a line stand in their columns")
	RowNumber   = rules.Refused("ROW-NUMBER", "a value is a whole number")
	RowForm     = rules.Add("ROW-FORM", "a value is filled with blanks, without a plus and without a negative zero")
	MissingCode = rules.Add("MISSING-CODE", "a missing value is 999999, one not observed 888888, and no other value is as large")
	Range       = rules.Add("RANGE", "a value is from -999998 to 999998")
	NoRows      = rules.Refused("NO-ROWS", "a file has blocks")
	DayLimit    = rules.Add("DAY-LIMIT", "a file has at most 24 blocks")
	NameForm    = rules.Refused("NAME-FORM", "the file name is MMMDDYY, perhaps a type letter, a dot and the code")
	NameDate    = rules.Add("NAME-DATE", "the date in the file name is in the calendar")
	NameMatch   = rules.Add("NAME-MATCH", "the file name has the code, type and day of the content")
)

// Rules returns the rules in the order of the declarations above.
func Rules() []*sample.Rule { return rules.All() }

var rules = sample.NewRules("imf")
