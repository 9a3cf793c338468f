// Package impf sends minutes and seconds of the geomagnetic field to INTERMAGNET over
// MQTT, in the Intermagnet MQTT Payload Format (INTERMAGNET Technical Reference Manual,
// draft of section 6, Submission via MQTT, and its appendix on the format).
//
// [Metadata.Message] makes a message of rows: it is an ingest.Format, and the topic is the
// name of the batch. [Parse] reads one. A [Publisher] is a sink that delivers at least
// once; a [Confirmed] reads its messages back with a second account, and delivers
// effectively once.
//
// # Values
//
// Minutes and seconds of X, Y, Z or H, D, Z or D, I, F, each with S or without, or of S
// alone, which is sent as one of XYZS. F is calculated from the vector. What a scalar
// instrument measures is S: in an IAGA-2002 file that is called F, and has to be renamed.
// D and I are sent in minutes of arc, as the manual's text has them; its schema says
// degrees. Ask the GIN, or send X, Y and Z.
//
// A vector or S is left out of a message of which it has no value, and of which a row
// says that it is not observed. Anything else that is not there is null.
//
// # Acknowledged and arrived
//
// A broker acknowledges what it then throws away, if the user may not publish to the
// topic (MQTT 3.1.1, 3.3.5), and it may as well close the connection. So the outcome of a
// Publisher is that of the broker, and that of a Confirmed is that of whoever subscribes.
//
// A broker knows one connection of each user, and a new one throws out the old. No other
// program may have the same account.
//
// # After a crash
//
// The session of the reader stays with the broker, which keeps what comes for it. So a
// Confirmed finds a message that was on its way when the process ended, and one that had
// come back if it was the last. Of those that had come back before it nothing is known:
// Ask says Later, and they are published again, as are all in doubt if the broker has
// lost the session. The same values twice are harmless at the GIN. Messages are told apart
// by their topic and bytes alone.
//
// # Guarantees
//
//   - Message writes the decimals of a value as they are, a missing one as null, and
//     never a fill value.
//   - Message leaves out what is not observed.
//   - Message writes the metadata with the first row of each hour, and the same bytes of
//     the same rows.
//   - Message refuses what the format does not allow.
//   - Parse returns the rows of which Message has made a message.
//   - Parse refuses what the schema or the topic does not allow.
//   - Publisher says Stored only after the broker has acknowledged the message.
//   - Confirmed says Stored only after a message with the same topic and bytes has come back.
//   - Confirmed takes duplicates for one message.
//   - Confirmed subscribes to a topic before it publishes on it.
//   - What has come back is acknowledged, but the last that was waited for.
//   - Ask finds what came back late, while the reader was away, or before a crash and last.
//     It does not say that a message is not there if the reader was away meanwhile.
//   - Where nothing was sent the outcome is Later; where it may have been it is Unknown.
//   - A batch that is no message of the format is refused, and not sent.
//   - A connection that is lost is made anew by the next call.
//   - A call ends within the limits for connecting and answers, and when its context does.
//   - The password is in no error; without TLS it goes to the loopback alone.
//   - After Close no goroutine and no connection is left.
package impf
