// Package ingest is a map of the packages by which growing instrument files reach a
// data centre; it has no code of its own yet.
//
//   - ingest/sample: samples, rows, rules and faults; the contract of a row
//     parser, and the reader that drives one over a file that grows.
//   - ingest/iaga2002, ingest/imf: the IAGA-2002 exchange format and
//     INTERMAGNET's IMFV1.22 and IMFV1.23: read, validate, write, file names.
//   - ingest/columns: text in columns, described by a value: the files of loggers
//     whose layout is their own, and of INPE's EMBRACE network.
//   - ingest/gin, ingest/gin/gintest: the upload service of INTERMAGNET's
//     Geomagnetic Information Nodes, as a client and as a server.
//
// The formats are pure: they know no network, no clock and no disk.
package ingest
