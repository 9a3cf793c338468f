package mailer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"strings"
)

// SendError says why a message did not reach everybody. Its text names the
// server and says what to do.
type SendError struct {
	Server string // host:port of the SMTP server, or the path of the program
	Step   string // "connect", "hello", "TLS", "login", "sender", "recipient", "data", or "run" for a program
	Code   int    // the reply (RFC 5321, 4.2) or the exit status; 0: there was none
	// Permanent: the server will refuse the same message again, until
	// somebody changes something.
	Permanent bool
	// Unknown: the connection broke after the message and before the reply,
	// so that the server may have taken it.
	Unknown bool
	// Remaining did not get it; all Recipients, unless the server took the
	// message for some of them.
	Remaining []mail.Address
	Err       error // the cause
}

func (e *SendError) Error() string {
	var who string
	if e.Step == "recipient" {
		addresses := make([]string, len(e.Remaining))
		for i, a := range e.Remaining {
			addresses[i] = a.Address
		}
		who = " " + strings.Join(addresses, ", ")
	}
	text := fmt.Sprintf("mailer: %s: %s%s: %v", e.Server, e.Step, who, e.Err)
	if advice := e.advice(); advice != "" {
		text += " (" + advice + ")"
	}
	return text
}

func (e *SendError) Unwrap() error { return e.Err }

// aboutMessage reports whether the server refused this message, so that it
// may take another.
func (e *SendError) aboutMessage() bool {
	switch e.Step {
	case "sender", "recipient", "data":
		// 421: the server closes the connection whatever comes (RFC 5321, 4.2.3).
		return e.Code != 0 && e.Code != 421
	case "run":
		return e.Permanent
	}
	return false
}

// advice is what the reader of the error can do.
func (e *SendError) advice() string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](e.Err)
	_, unresolved := errors.AsType[*net.DNSError](e.Err)
	switch {
	case e.Unknown:
		return "it may have been delivered; sending it again keeps its Message-ID"
	case e.Step == "run" && errors.Is(e.Err, os.ErrNotExist):
		return "install a mail server, or give the path of its sendmail program"
	case e.Step == "run" && e.Permanent:
		return "check the addresses and the mail server's configuration"
	case e.Step == "run":
		return "look at the mail server's log, and try again"
	case untrusted:
		return "use the name in the server's certificate, or trust its authority"
	case unresolved:
		return "check the server's name"
	case errors.Is(e.Err, errNoTLS):
		return "choose implicit TLS, usually port 465, or a server with STARTTLS"
	case errors.Is(e.Err, os.ErrDeadlineExceeded), e.Step == "connect":
		return "check that the server runs, its address, and the firewall"
	case e.Code >= 400 && e.Code < 500:
		return "try again later"
	case e.Step == "login":
		return "check the user name and the password"
	case e.Step == "sender":
		return "check the sender's address, and whether the server wants a login"
	case e.Step == "recipient":
		return "check the recipient's address, and whether this machine may relay"
	case e.Step == "data" && e.Code >= 500:
		return "the server refuses this text: see its reply"
	case e.Code == 0:
		return "try again later"
	}
	return ""
}
