// Package sample has the words that the formats of observatory data share, and
// the narrow contract between a format and those who read growing files.
//
// A [Row] is what was measured at one time: a [Value] for each element, an
// integer in the element's own decimals. A value that is [Missing] was to be
// measured and is not there; one that is [NotObserved] belongs to an element
// that the observatory does not measure. A [Series] says what the values of a
// file are.
//
// A [Parser] understands the lines of one layout. It decides nothing: it hands
// over rows, and a [Fault] for each [Rule] that a line breaks. A [Reader] cuts
// its source into lines, drives the parser and decides by its [Mode] which
// faults end the reading. [Check] lists the faults of a file.
//
// # Growing files
//
// The reader of a growing file leaves a last line without an end alone: it is
// torn, not bad. [Reader.Position] is where the whole lines end and
// [Reader.Torn] how many bytes follow. Reading can go on from a Position later,
// with the same Parser, which remembers the header. A caller who has seen such
// a file unchanged for long enough reads it again as a finished one; its last
// line then stands or falls by the rules.
//
// # Guarantees
//
//   - A line without its end is never parsed while the file grows.
//   - Reading a growing file in pieces gives the rows and faults of reading it whole.
//   - The lines are the same whatever the sizes in which the source delivers them.
//   - A Reader's memory does not depend on its source.
//   - A fault names the file, the line, the column, the byte and the rule.
//   - Read allocates nothing for a line without faults.
//   - This package and the formats beside it know no clock, no disk and no local
//     time zone, and import the standard library and each other only.
package sample
