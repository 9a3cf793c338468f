// Package ingest delivers growing instrument files to a data centre: each row once, none
// lost, whatever fails on the way.
//
// A [Stream] is a series of rows at a steady cadence, found in a file for each day of
// UTC. A [Feed] has the streams of one account, looks at their files, and delivers to
// one [Sink] what it has not: what is new, what was corrected, and what could not be
// sent before. [Feed.Sweep] does that once, for cron; [Feed.Run] goes on. Feeds know
// nothing of each other, so that a receiver that is down, or a source that is broken,
// delays no other; two sinks of the same streams are two feeds.
//
//	source -> parser -> filter -> what the sink has not -> batches -> journal -> sink
//
// [Feed.Status] tells how far a feed has come, and [Verify] compares a day: what the source
// has, what the sink has accepted, and what it says it holds.
//
// # Rows, not files
//
// What the sink has accepted is remembered by rows, with their values, in a mirror of
// each day. So it does not matter how a file has changed: it grows, its last line is
// torn, it is filled in or corrected in the middle, truncated, replaced, gone and back,
// or holds rows of another day. Polling is the truth; hints that something has changed
// only save waiting. A last line without an end is taken when it has stood for a minute.
// Rows that a source has lost are not withdrawn.
//
// A [Batch] is cut from rows that the sink does not have, or has with other values. Its
// name and bytes never change, however often it is offered. It has no hole but those
// that [Cut] allows, and does not overlap another that is under way. The newest rows go
// first; then corrections, and then what is older, merged into the fewest batches, as
// far as the budget of the day allows. A batch that the sink refuses is offered again
// after a day, since what it has against it may be mended there.
//
// # State
//
// What is about to be offered, and what became of it, is in a journal before anything
// else is done: a list of lines with checksums, forced to the disk. A batch that was
// offered and has no outcome is in doubt. An [Asker] is asked before it is offered
// again, so that it takes each batch effectively once; any other sink at least once.
// The mirror is made from the journal, lags behind it, and is never ahead of it.
//
// # Guarantees
//
//   - A row that a source has within the days is delivered, whatever fails on the way.
//   - An Asker is never offered a row again, with the same values, after its acceptance
//     is known; [Counts] tells the exceptions, rows that a batch needs to be one.
//   - A batch is offered again only after it was asked for, byte for byte as it was.
//   - Older values of a row never follow newer ones.
//   - A value that was accepted is never replaced by a missing one.
//   - What was written down when a call returns survives a crash of the process and of
//     the machine; so does what was under way.
//   - No more batches are offered on a day of UTC than the budget has; what is live
//     leaves a fifth of it to the rest.
//   - A damaged journal is an error, never a guess.
//   - Nothing is delivered of a file that says that it is of something else.
//   - A row in the future is delivered when its time has come, and one of days ahead never.
//   - The same rows make the same batches.
//   - One process at a time has the state.
//
// # Not promised
//
// A file whose size and time stay the same while its rows change is noticed when it is
// read again as a whole: after ten minutes today, an hour yesterday, and a day before.
// What changes in files older than [Config].Days is not noticed. A clock that is wrong
// by hours makes rows wait, or a batch be cut early; none is lost.
//
// # Packages
//
//   - ingest/sample: rows, rules and faults; the contract of a row parser, and the
//     reader that drives one over a file that grows.
//   - ingest/iaga2002, ingest/imf: the IAGA-2002 exchange format and INTERMAGNET's
//     IMFV1.22 and IMFV1.23.
//   - ingest/columns: text in columns, described by a value.
//   - ingest/filter: elements chosen and turned, minutes made of seconds, values that
//     cannot be set aside.
//   - ingest/gin, ingest/gin/gintest: the upload service of INTERMAGNET's Geomagnetic
//     Information Nodes, as a sink and as a server.
//   - ingest/files: a folder, here or on another machine, as a sink.
//   - ingest/mail: mail of the closed day, as a sink.
//   - ingest/impf: INTERMAGNET's messages over MQTT, as a sink.
//   - ingest/watch: hints from the operating system that files have changed.
package ingest
