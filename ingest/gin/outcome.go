package gin

import (
	"fmt"
	"strings"
)

// Receipt is what the service gives for a file that it has stored.
type Receipt struct {
	ID   int64
	Word Word   // Success, Information or Warning
	Text string // of the reply
}

// RefusedError says that the service will not have a file, or will not answer a
// question, as it is. Nothing was stored by this request.
type RefusedError struct {
	What string // "upload, on cpl202403150355pmin.min"
	Text string // of the reply
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("gin: %s: the service refuses it: %s", e.What, oneLine(e.Text))
}

// LaterError says that something could not be done, and may be repeated after a
// while: the service was not reached, or is out of order. Nothing was stored.
type LaterError struct {
	What string
	Err  error
}

func (e *LaterError) Error() string {
	return fmt.Sprintf("gin: %s: not done, try again later: %v", e.What, e.Err)
}

func (e *LaterError) Unwrap() error { return e.Err }

// ConfigError says that a person has to look at the service's address, the user or the
// password. Nothing was stored.
type ConfigError struct {
	What string
	Err  error
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("gin: %s: %v", e.What, e.Err)
}

func (e *ConfigError) Unwrap() error { return e.Err }

// UnknownError says that a file may be stored or not.
type UnknownError struct {
	What string
	Err  error
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("gin: %s: whether it is stored is not known: %v", e.What, e.Err)
}

func (e *UnknownError) Unwrap() error { return e.Err }

// oneLine makes what a server wrote fit for a message.
func oneLine(text string) string {
	line := strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' }), "; ")
	return line[:min(len(line), 300)]
}
