package iaga2002

import "github.com/obskeep/obskeep/ingest/sample"

// The rules of the format, in the order in which a file meets them. Those with
// Refused end the reading of the receiver's reader too.
var (
	Len70       = rules.Refused("LEN70", "a record has 70 characters")
	EOL         = rules.Add("EOL", "every record ends, all of a file alike, with CRLF or with LF")
	NoTab       = rules.Add("NOTAB", "a record is printable ASCII, without tabs")
	Format      = rules.Refused("FORMAT", "the first record is the header Format, IAGA-2002")
	HdrMissing  = rules.Refused("HDR-MISSING", "the headers Format to Data Type are there and not empty")
	HdrUnknown  = rules.Refused("HDR-UNKNOWN", "a record before the column titles is one of the headers, or a comment")
	HdrOrder    = rules.Add("HDR-ORDER", "the headers come once, in their order, before the comments")
	HdrForm     = rules.Add("HDR-FORM", "labels begin in column 2, spelled as the format spells them, values in column 25, comments after a number sign in column 2 and a blank; a bar ends the record")
	HdrLong     = rules.Add("HDR-LONG", "a file has at most 1000 comments")
	Code        = rules.Add("CODE", "the station code is three capital letters")
	LatLon      = rules.Refused("LATLON", "latitude and longitude are numbers")
	LatLonRange = rules.Add("LATLON-RANGE", "latitude is from -90 to 90 and longitude from -180 to 360 degrees")
	Elevation   = rules.Add("ELEVATION", "the elevation is a number")
	Elements    = rules.Refused("ELEMENTS", "Reported has three or four characters")
	ElementList = rules.Add("ELEMENT-LIST", "Reported is XYZ, HDZ, DHZ or DHI, E for D and V for I with variation data, and then F or G")
	Type        = rules.Add("TYPE", "the data type is variation, provisional, quasi-definitive or definitive")
	Interval    = rules.Add("INTERVAL", "the interval type names 1-second, 1-minute, 1-hour, 1-day or 1-month, and the rows come at it")
	Published   = rules.Add("PUBLISHED", "the publication date is a day, YYYY-MM-DD")
	Titles      = rules.Add("TITLES", "the column titles are the station code and each reported element, in their columns")
	RowFields   = rules.Refused("ROW-FIELDS", "a row has a date, a time, a day of the year and four values")
	RowColumns  = rules.Add("ROW-COLUMNS", "the fields of a row stand in their columns")
	RowNumber   = rules.Refused("ROW-NUMBER", "a value is a number")
	RowDecimal  = rules.Add("ROW-DECIMAL", "a value is written with two decimals, without a plus, an exponent, leading zeros or a negative zero")
	MissingCode = rules.Add("MISSING-CODE", "a missing value is 99999.00, one not observed 88888.00, and no other value is as large")
	TimeParse   = rules.Refused("TIME-PARSE", "date and time are YYYY-MM-DD hh:mm:ss.sss up to 23:59:59.999")
	TimeDay     = rules.Add("TIME-DAY", "the date is a day of the calendar, and midnight is 00:00:00.000 of the day it begins")
	TimeLeap    = rules.Add("TIME-LEAP", "a leap second has no row")
	TimeGrid    = rules.Add("TIME-GRID", "the time of a row is that of the centre of its interval")
	TimeOrder   = rules.Refused("TIME-ORDER", "a row is later than the one before it")
	TimeDup     = rules.Refused("TIME-DUP", "no time is repeated")
	TimeGap     = rules.Refused("TIME-GAP", "no row is missing")
	TimeStep    = rules.Refused("TIME-STEP", "rows do not come faster than the first two")
	DOY         = rules.Add("DOY", "the day of the year is that of the date")
	NoRows      = rules.Refused("NO-ROWS", "a file has rows")
	MinSamples  = rules.Add("MIN-SAMPLES", "a file has at least two rows")
	DayLimit    = rules.Add("DAY-LIMIT", "a file of minutes or seconds holds at most 24 hours")
	NameForm    = rules.Refused("NAME-FORM", "the file name is code, date, type letter, interval, dot, interval")
	NameDate    = rules.Add("NAME-DATE", "the date in the file name is in the calendar")
	NameEnd     = rules.Add("NAME-END", "the file name has its interval twice")
	NameMatch   = rules.Add("NAME-MATCH", "the file name has the code, type, interval and time of the content")
)

// Rules returns the rules in the order of the declarations above.
func Rules() []*sample.Rule { return rules.All() }

var rules = sample.NewRules("iaga2002")
