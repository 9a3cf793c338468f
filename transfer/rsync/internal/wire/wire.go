// Package wire reads and writes the values of which the rsync protocol is made,
// and the frames that carry them once a session is multiplexed.
//
// A session begins as a plain stream. After its handshake each direction may
// become a sequence of frames: [Reader.Multiplex] and [Writer.Multiplex] are
// called at that point. A frame is a header of four bytes, the length of the
// payload in the low 24 bits of a little-endian number and 7 + type in the high
// 8 bits, and the payload. The payloads of type 0 are the data stream, in which
// frame borders mean nothing; any other type is a [Message].
//
// The forms of the values are those of protocol versions 30 to 32, and of 29
// where [Reader.SetVersion] and [Writer.SetVersion] say so:
//
//	byte, short, int   1, 2 and 4 bytes, low first
//	varint             32 bits in 1 to 5 bytes; in version 29 an int
//	varlong(m)         64 bits in m to 9 bytes; in version 29 an int, or the
//	                   int -1 and 8 bytes
//	vstring            a length of 1 or 2 bytes, and the bytes
//	index              a number of the file list, as its difference from the
//	                   one before; in version 29 an int
//
// # Guarantees
//
//   - What a Writer writes a Reader reads back, whatever the borders of frames
//     and wherever messages stand between them.
//   - The first error sticks: after it reads return zero values and writes do
//     nothing.
//   - No peer makes a Reader panic, or allocate more than its caller asked for
//     and 64 KiB for a message.
//   - A Reader takes no byte of an item that nobody asked for out of the data
//     stream, and calls Read of the stream below only when it has no byte to go
//     on with.
//   - A frame is written whole: a message never stands inside one.
package wire

import "errors"

// ErrInvalid is wrapped by the errors about bytes that are not rsync's protocol.
var ErrInvalid = errors.New("invalid data from the peer")

// Values of an index that are no file of the list.
const (
	Done           = -1   // the end of a phase
	EndOfLists     = -2   // no more lists come
	DeletionCounts = -3   // five varints follow
	ListOffset     = -101 // ListOffset - d: the list of directory d follows
)

// MaxVstring is the length of the longest vstring.
const MaxVstring = 1<<15 - 1

// A MessageType says what a frame holds that is not data.
type MessageType uint8

// The messages. Those called text carry a line for a person; its bytes are the
// peer's and are to be escaped before they are shown.
const (
	MsgErrorXfer MessageType = 1   // text: an error in the transfer
	MsgInfo      MessageType = 2   // text
	MsgError     MessageType = 3   // text
	MsgWarning   MessageType = 4   // text
	MsgErrorUTF8 MessageType = 8   // text, to be shown in UTF-8
	MsgIOError   MessageType = 22  // int: error flags of the sender
	MsgIOTimeout MessageType = 33  // int: seconds
	MsgNoop      MessageType = 42  // nothing: an old keep-alive
	MsgErrorExit MessageType = 86  // nothing, or int: the peer ends with this exit code
	MsgSuccess   MessageType = 100 // int: the index of a file that is done
	MsgDeleted   MessageType = 101 // a name; a zero byte after it marks a directory
	MsgNoSend    MessageType = 102 // int: the index of a file that will not be sent
)

// A Message is what came beside the data.
type Message struct {
	Type MessageType
	Data []byte // valid during the call that hands the message over
}

const (
	frameHeader = 4
	frameBase   = 7         // the type byte of a data frame
	maxFrame    = 1<<24 - 1 // the longest payload a header can tell
	maxMessage  = 64 << 10  // the longest message that a Reader takes
	longVersion = 30        // the first version with varints and differences of indexes
)
