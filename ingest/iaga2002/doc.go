// Package iaga2002 reads, checks, writes and names files of the IAGA-2002 data
// exchange format, in which observatories of the geomagnetic field send minutes
// and seconds to INTERMAGNET.
//
// The format is described in the INTERMAGNET Technical Reference Manual
// (doi 10.48440/INTERMAGNET.2025.001), appendix on IAGA-2002; what is sent to a
// Geomagnetic Information Node, a GIN, in its sections 6.1 to 6.5. A file has
// records of 70 characters: headers, comments, column titles, and rows of a date,
// a time in UTC, the day of the year and four values with two decimals.
//
// A [Reader] gives the rows of a file, and a [Writer] writes one. [Check] lists
// the faults of a file by [Rules]. [ParseName] and [Header.Name] are for file
// names. A [Parser] is what a Reader and [sample.Check] drive; those who read
// growing files use it with a [sample.Reader] of their own.
//
// # Strict, receiver, lenient
//
// A rule is what the format asks, a check that content and names agree, or the
// one spelling out of several that this package writes: -0.00 and 24:00:00 are
// faults, of [RowDecimal] and [TimeDay]. Strict reading ends at the first fault of
// any rule: what passes conforms, and is written again as it was. Reading as the
// receiver does ends only at a rule with Refused, which the reader of a GIN
// (INTERMAGNET/lib_bgs, 2018) refuses too. Lenient reading, for the files of
// loggers, never ends at a fault. It reads by columns first, and by blanks where
// the columns do not hold; it leaves out a row whose time or one of whose values
// cannot be read. A NaN is missing.
//
// # Values
//
// A [sample.Value] counts hundredths: of a nanotesla, for D and I of a minute of
// arc. 99999.00 is [sample.Missing] and 88888.00 is [sample.NotObserved]; in
// lenient reading so is any number from there up.
//
// # Guarantees
//
//   - A file that the strict reader accepts is written again byte for byte.
//   - The strict reader accepts what a Writer has closed without an error, and
//     reads the rows that were written.
//   - A Writer writes no measured value as one of the format's codes.
//   - Missing, not observed and measured values are kept apart.
//   - Every rule has a file that breaks it, reported with its line and column.
//   - The Receiver mode accepts and refuses what the receiver's reader does.
//   - A torn last row is no fault while the file grows, and no row.
//   - No part of a torn row is ever a value.
//   - ParseName(n.String()) returns n for every name of the format.
//   - A header names the file it stands in.
//   - Reading a row allocates nothing.
//   - A header is kept in bounded memory.
//   - A fragment is made only of rows that the header describes, and is read as it was made.
package iaga2002
