// Package mail sends batches by mail, as the Geomagnetic Information Nodes of INTERMAGNET
// take data (Technical Reference Manual, 6.2): the subject is the name of the file, and the
// plain text is the file, with nothing before or after it. It is the advised backup of
// the other ways.
//
// Mail of the closed day is a stream whose ingest.Cut has Every 24 h and Fill 1440: a batch
// goes when the day is complete, when the next day has begun, or a minute after the last
// row was due. What comes after that, or is corrected, is another mail.
//
// The Sender is a mailer.SMTP or a mailer.Sendmail. A Spool is not wanted before it: the
// feed keeps what could not be sent.
//
// # Guarantees
//
//   - The subject is the name of the batch, and the text its data, line by line. It is not
//     encoded if its lines have at most 76 characters of ASCII, without an equals sign or
//     a blank at the end, as IAGA-2002 and IMF have.
//   - Stored means that the mail server has taken over the mail, and says nothing of its
//     arrival. Where it has not the outcome is Later, or Refused if it does not take the
//     text; where it may have, Unknown.
//   - A batch that is sent again is the same mail, with the same Message-ID.
//   - One mail goes out for each closed day, with what is not there as missing.
package mail

import (
	"context"
	"errors"
	"fmt"
	"net/mail"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/report/mailer"
)

// Sink is an [ingest.Sink] that mails each batch, at least once. All fields are required.
type Sink struct {
	Sender mailer.Sender
	From   mail.Address
	To     mail.Address // of the GIN, such as e_gin@mail.nmh.ac.uk
}

// Send implements [ingest.Sink]. The date of the mail is the time of the last row.
func (s *Sink) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	m := &mailer.Message{From: s.From, To: []mail.Address{s.To}, Date: b.End(), Subject: b.Name, Text: b.Data}
	if err := s.Sender.Send(ctx, m); err != nil {
		return ingest.Receipt{Outcome: outcome(err), Text: fmt.Sprintf("mail: %s, to %s: %v", b.Name, s.To.Address, err)}
	}
	return ingest.Receipt{Outcome: ingest.Stored, ID: m.ID(), Text: "taken over by the mail server"}
}

func outcome(err error) ingest.Outcome {
	e, ok := errors.AsType[*mailer.SendError](err)
	switch {
	case !ok || e.Unknown:
		return ingest.Unknown
	case e.Permanent && e.Step == "data":
		return ingest.Refused
	}
	return ingest.Later // what is wrong with an address or a password can be mended
}
