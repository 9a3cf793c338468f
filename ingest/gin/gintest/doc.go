// Package gintest is the web service to which observatories upload files, as a real
// HTTP server: what Edinburgh runs as a GIN's cache (INTERMAGNET Technical Note 9).
// It serves tests, with faults on demand, and is good for more: as a receiver between
// an observatory and its own central server.
//
// A file comes as the form that the note describes, is read as the GIN's own reader
// reads it (IAGA-2002 minutes and seconds, IMFV1.2x; the name against the content),
// and is given an id. It can be searched for and downloaded. [Server.Files],
// [Server.Data], [Server.Holdings] and [Server.Identical] say what arrived.
//
// # What the note leaves open
//
// Every reply in the service's words has the HTTP status 200. The same file is one with
// the same bytes, or one with the same name and span of time: see [Repeat]. The upload
// limit counts what was stored in a day of UTC. Listings call variation data R, as IMF
// does, and quasi-definitive data Q. The pages for people are not served.
//
// # On disk
//
// In Config.Dir each file lies, unchanged, under STATION/YYYY-DDD/ID-NAME, by the day on
// which its data begin, for others to pick up. The file "index" has a line for each, with
// a checksum. A file belongs to the service once its line is there; a crash before that
// can leave one file without a line, which New removes, and a hidden temporary one.
// A line that was being written at a crash is cut off; other damage of the index is an error.
//
// # Guarantees
//
//   - When the reply says stored, file and id survive a crash of the process and of the machine.
//   - Ids only rise, also through restarts.
//   - A stored file is never changed, and a download has its bytes.
//   - The same file is not stored twice.
//   - A file that is not stored in whole is not stored at all, and is not in any listing.
//   - An observatory has no more than its daily number of uploads stored.
//   - An account uploads, finds and downloads files of its own stations alone.
//   - A later file's samples take the place of earlier ones in Holdings.
//   - Without TLS it listens on the loopback alone.
package gintest
