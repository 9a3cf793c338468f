// Package mailer sends reports by mail, and keeps those that could not be
// sent until they can.
//
// [Compose] makes a [Message] of a report. [SMTP] and [Sendmail] send it;
// [Spool] is a Sender that stands before either of them, writes each message
// down first and sends what is left from earlier runs. A program that only
// mails its own report needs these two lines:
//
//	spool := &mailer.Spool{Dir: "/var/spool/supim", Sender: &mailer.SMTP{Addr: "localhost:25"}}
//	err := spool.Send(ctx, message)
//
// # At least once
//
// SMTP has a moment in which a client cannot know whether the server took
// the message: after its last byte, before the reply (RFC 5321, 4.5.3.2.6
// and RFC 1047). A Spool sends such a message again, as it does after a
// crash. Its Message-ID is the same each time, so that receivers can drop
// the repeat; many do, none must.
//
// # A full disk
//
// Nothing bounds a spool but its disk; a report takes about 20 kB. When a
// message cannot be written down, Spool still tries to send it and returns a
// *[NotSpooledError] whether that succeeded or not. What is in the spool
// already stays there.
//
// # What a crash leaves
//
// Before the file is in the spool: nothing, or one temporary file that is
// never read; Send has not returned. After it: the message, which the next
// Send or Flush sends. After the server took it and before the file was
// removed: the message, which is sent again with the same Message-ID.
//
// # Guarantees
//
//   - A message for which Spool.Send returned nil was accepted by the server
//     for every recipient.
//   - A message for which it returned a *[SpooledError] is on the disk or was
//     accepted; a later Send or Flush sends what is on the disk.
//   - Older messages go first, and one that the server refuses does not block
//     the others.
//   - Two processes never send one spooled message at the same time.
//   - A damaged file of a spool is set aside under the suffix .bad and
//     reported once; it blocks nothing.
//   - If a server takes a message for some recipients only, the others alone
//     are tried again.
//   - A message has the same bytes and the same Message-ID each time it is
//     written.
//   - No name, note or address can add a header or a recipient.
//   - A password is never sent over a connection without TLS, nor to a server
//     whose certificate was not verified, unless SMTP.TLS asks for that.
//   - Nothing is printed, and no error holds a password.
package mailer

import "context"

// Sender delivers messages.
//
// Send returns nil when another program has taken over the responsibility for
// m to reach all of its Recipients. It sends what m.WriteTo writes. An error
// that knows more is a *[SendError]. Send returns soon after ctx is done, and
// may be called by several goroutines at a time.
type Sender interface {
	Send(ctx context.Context, m *Message) error
}
