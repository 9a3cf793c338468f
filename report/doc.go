// Package report says what was done and what was not: to an operator who
// reads a mail, to a page in a browser and to a program.
//
// A [Report] holds a [Job] for each piece of work, such as a day that was
// fetched, a day that was kept already, and a day that was not there. Its
// Subject is the line of a mail, WriteText and WriteHTML are its two bodies,
// and WriteJSON is the form for programs, which [ReadJSON] reads. Expect
// names the jobs that had to report. Package mailer sends it.
//
// A job's Bytes are data now held; its Literal bytes crossed the wire to get
// there. Verified files were read back and compared; unverified ones were
// taken on trust. Sizes are shown in binary units (1 KiB is 1024 bytes), and
// times in UTC.
//
// # Guarantees
//
//   - A report is as bad as its worst job, and a job with an error is not OK.
//   - Silence is not success: a report without jobs is Missed, and so is an
//     expected job that reported nothing.
//   - A subject is one line of valid UTF-8 without control characters.
//   - No name, note or error can forge a line of the text, markup of the HTML
//     or a field of the JSON: control and invisible characters and bytes that
//     are not UTF-8 are shown as Go escapes, and the HTML is escaped.
//   - Trouble is shown before anything else, the worst first.
//   - Lines of the text have at most 78 characters, except where a single
//     word or the numbers of a table are longer.
//   - The HTML is one file: no script, no image, nothing loaded from elsewhere.
//   - On a screen too narrow for its table the HTML shows each number in lines
//     that wrap, with the name of its column. (A mail client that drops style
//     sheets scrolls the table.)
//   - ReadJSON(WriteJSON(r)) equals r, errors compared by their text, and is
//     rendered as r is. A byte that is not UTF-8 comes back as its escape, and
//     OK together with an error as Failed.
//   - No function reads the clock or the local time zone.
package report
