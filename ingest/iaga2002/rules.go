package iaga2002

import (
	"slices"

	"github.com/obskeep/obskeep/ingest/sample"
)

// The rules of the format, in the order in which a file meets them. Those with
// Refused end the reading of the receiver's reader too.
var (
	Len70       = refused("LEN70", "a record has 70 characters")
	EOL         = rule("EOL", "every record ends, all of a file alike, with CRLF or with LF")
	NoTab       = rule("NOTAB", "a record is printable ASCII, without tabs")
	Format      = refused("FORMAT", "the first record is the header Format, IAGA-2002")
	HdrMissing  = refused("HDR-MISSING", "the headers Format to Data Type are there and not empty")
	HdrUnknown  = refused("HDR-UNKNOWN", "a record before the column titles is one of the headers, or a comment")
	HdrOrder    = rule("HDR-ORDER", "the headers come once, in their order, before the comments")
	HdrForm     = rule("HDR-FORM", "labels begin in column 2, spelled as the format spells them, values in column 25, comments after a number sign in column 2 and a blank; a bar ends the record")
	HdrLong     = rule("HDR-LONG", "a file has at most 1000 comments")
	Code        = rule("CODE", "the station code is three capital letters")
	LatLon      = refused("LATLON", "latitude and longitude are numbers")
	LatLonRange = rule("LATLON-RANGE", "latitude is from -90 to 90 and longitude from -180 to 360 degrees")
	Elevation   = rule("ELEVATION", "the elevation is a number")
	Elements    = refused("ELEMENTS", "Reported has three or four characters")
	ElementList = rule("ELEMENT-LIST", "Reported is XYZ, HDZ, DHZ or DHI, E for D and V for I with variation data, and then F or G")
	Type        = rule("TYPE", "the data type is variation, provisional, quasi-definitive or definitive")
	Interval    = rule("INTERVAL", "the interval type names 1-second, 1-minute, 1-hour, 1-day or 1-month, and the rows come at it")
	Published   = rule("PUBLISHED", "the publication date is a day, YYYY-MM-DD")
	Titles      = rule("TITLES", "the column titles are the station code and each reported element, in their columns")
	RowFields   = refused("ROW-FIELDS", "a row has a date, a time, a day of the year and four values")
	RowColumns  = rule("ROW-COLUMNS", "the fields of a row stand in their columns")
	RowNumber   = refused("ROW-NUMBER", "a value is a number")
	RowDecimal  = rule("ROW-DECIMAL", "a value is written with two decimals, without a plus, an exponent, leading zeros or a negative zero")
	MissingCode = rule("MISSING-CODE", "a missing value is 99999.00, one not observed 88888.00, and no other value is as large")
	TimeParse   = refused("TIME-PARSE", "date and time are YYYY-MM-DD hh:mm:ss.sss up to 23:59:59.999")
	TimeDay     = rule("TIME-DAY", "the date is a day of the calendar, and midnight is 00:00:00.000 of the day it begins")
	TimeLeap    = rule("TIME-LEAP", "a leap second has no row")
	TimeGrid    = rule("TIME-GRID", "the time of a row is that of the centre of its interval")
	TimeOrder   = refused("TIME-ORDER", "a row is later than the one before it")
	TimeDup     = refused("TIME-DUP", "no time is repeated")
	TimeGap     = refused("TIME-GAP", "no row is missing")
	TimeStep    = refused("TIME-STEP", "rows do not come faster than the first two")
	DOY         = rule("DOY", "the day of the year is that of the date")
	NoRows      = refused("NO-ROWS", "a file has rows")
	MinSamples  = rule("MIN-SAMPLES", "a file has at least two rows")
	DayLimit    = rule("DAY-LIMIT", "a file of minutes or seconds holds at most 24 hours")
	NameForm    = refused("NAME-FORM", "the file name is code, date, type letter, interval, dot, interval")
	NameDate    = rule("NAME-DATE", "the date in the file name is in the calendar")
	NameEnd     = rule("NAME-END", "the file name has its interval twice")
	NameMatch   = rule("NAME-MATCH", "the file name has the code, type, interval and time of the content")
)

// Rules returns the rules in the order of the declarations above.
func Rules() []*sample.Rule { return slices.Clone(rules) }

var rules []*sample.Rule

func rule(name, text string) *sample.Rule {
	rules = append(rules, &sample.Rule{Format: "iaga2002", Name: name, Text: text})
	return rules[len(rules)-1]
}

func refused(name, text string) *sample.Rule {
	r := rule(name, text)
	r.Refused = true
	return r
}
