// Package imf reads, checks, writes and names files of INTERMAGNET's formats
// IMFV1.22 and IMFV1.23 for one-minute values.
//
// The formats are described in the INTERMAGNET Technical Reference Manual
// (doi 10.48440/INTERMAGNET.2025.001), appendix on IMFV1. A file is a row of
// blocks of an hour, each a header and 30 lines of two minutes, of 62 characters
// and CRLF; times are UTC. V1.23 has the type Q and the elements HDZG and XYZG
// more than V1.22; a file without them is one of either.
//
// A [Reader] gives the rows of a file, and a [Writer] writes one. [Check] lists
// the faults of a file by [Rules]. [ParseName] and [Header.Name] are for file
// names. A [Parser] is what a Reader and [sample.Check] drive; those who read
// growing files use it with a [sample.Reader] of their own.
//
// # Strict, receiver, lenient
//
// A rule is what the format asks, a check that content and names agree, or the
// one spelling out of several that this package writes: values filled with zeros,
// which the format allows, are faults of [RowForm]. Strict reading ends at the
// first fault of any rule: what passes conforms, and is written again as it was.
// Reading as the receiver does ends only at a rule with Refused, which the reader
// of a GIN (INTERMAGNET/lib_bgs, 2018) refuses too. Lenient reading never ends at
// a fault; it leaves out a minute of which a value cannot be read.
//
// The time of a minute is its place in its block. So its row is given when the
// block is there to its last line, and never if the block has no time that is
// sure, a line that is not whole, or too few of them.
//
// # Values
//
// A [sample.Value] counts tenths of a nanotesla, and for D hundredths of a minute
// of arc, relative to the header's baseline: declination is D/100 + DecBas/10
// minutes. 999999 is [sample.Missing] and 888888 is [sample.NotObserved].
//
// # Guarantees
//
//   - A file that the strict reader accepts is written again byte for byte.
//   - The strict reader accepts what a Writer has closed without an error, and
//     reads the rows that were written, and missing ones between them to the hour.
//   - A Writer writes no measured value as one of the format's codes.
//   - Missing, not observed and measured values are kept apart.
//   - Every rule has a file that breaks it, reported with its line and column.
//   - The Receiver mode accepts and refuses what the receiver's reader does.
//   - A torn last line is no fault while the file grows, and no row.
//   - A block that has lost a line, or a part of one, gives no row.
//   - ParseName(n.String()) returns n for every name of the format.
//   - A header names the file it stands in.
//   - Reading a row allocates nothing.
package imf
