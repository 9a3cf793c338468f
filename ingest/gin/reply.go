package gin

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Word is the first line of a reply.
type Word string

// The words of the service.
const (
	Success     Word = "Success"     // stored
	Information Word = "Information" // stored; the text says something of it
	Warning     Word = "Warning"     // stored; something beside the point failed
	Error       Word = "Error"       // not stored: the file or the request is wrong
	Exception   Word = "Exception"   // not stored: a fault in the service
	Fatal       Word = "Fatal"       // not stored: the service is down
)

// Stored reports whether a file is held after this word.
func (w Word) Stored() bool { return w == Success || w == Information || w == Warning }

// Reply is an answer of the service to an upload:
//
//	Warning
//	Data loaded OK, data file id = 1234568
//	Unable to remove old cache element
type Reply struct {
	Word Word
	ID   int64  // of the data file; zero if it is not stored
	Text string // the lines after the first, without the last line's end
}

// ErrReply is what an answer is that is none of the service's.
var ErrReply = errors.New("not an answer of the upload service")

const idMark = "data file id = "

// ParseReply reads a plain reply. The whole first line is one of the words; when
// that says stored, a line ends with the id. The error is an [ErrReply].
func ParseReply(body []byte) (Reply, error) {
	first, rest, _ := strings.Cut(string(body), "\n")
	r := Reply{Word: Word(strings.TrimSuffix(first, "\r")), Text: strings.TrimRight(strings.ReplaceAll(rest, "\r", ""), "\n")}
	if !slices.Contains([]Word{Success, Information, Warning, Error, Exception, Fatal}, r.Word) {
		return Reply{}, fmt.Errorf("%w: it begins with %q", ErrReply, first[:min(len(first), 60)])
	}
	if !r.Word.Stored() {
		return r, nil
	}
	for line := range strings.Lines(r.Text) {
		_, digits, ok := strings.Cut(strings.TrimRight(line, " \n"), idMark)
		if id, err := strconv.ParseInt(digits, 10, 64); ok && err == nil && id > 0 {
			r.ID = id
			return r, nil
		}
	}
	return Reply{}, fmt.Errorf("%w: %s without an id", ErrReply, r.Word)
}

// Loaded returns the reply that a file is stored.
func Loaded(w Word, id int64, more string) Reply {
	r := Reply{Word: w, ID: id, Text: fmt.Sprintf("Data loaded OK, %s%d", idMark, id)}
	if more != "" {
		r.Text += "\n" + more
	}
	return r
}

// String returns the plain form of the reply.
func (r Reply) String() string { return string(r.Word) + "\n" + r.Text + "\n" }
