// Package columns reads text in columns whose layout is described by a value: the
// files of loggers that have a layout of their own.
//
// A [Layout] says what is in the fields of a line: parts of the time, values, or
// nothing of interest. A [Parser] made of it reads the lines of one file, and is
// driven by a [sample.Reader] as the parsers of the standard formats are. [Embrace]
// is the layout of the magnetometers of INPE's EMBRACE network.
//
// Values are exact: a text with more decimals than its element has is a fault. A
// time may have a day of the year, a month and a day, or both, which then agree. A
// marker of a missing value is never a number, and no other text is missing.
//
// # Guarantees
//
//   - Rows are read as their layout says; a line that breaks a rule gives none.
//   - A Layout that cannot be read by is refused before a file is.
//   - The minutes of an EMBRACE magnetometer are read with D and I in degrees.
//   - Reading a row allocates nothing.
package columns
