package transfer

import (
	"iter"
	"log/slog"
	"time"
)

// Options adjust a transfer. Nil means the defaults.
type Options struct {
	// From and To are the directories of the source and of the destination.
	// Empty means the top. [Push] and [Pull] do not use them.
	From, To string

	// Include, if not empty, names the only files to take; directories are
	// entered all the same, and made when they hold such a file. Exclude names
	// files and directories to leave out, a directory with all that is in it.
	// See [ValidPattern] for what a pattern is.
	Include, Exclude []string

	// Signatures is a directory of this machine, one for each destination and
	// made if missing, where the sums of the blocks of files of 16 MiB and more
	// are kept that were sent from here. Of one that has changed since, if less
	// than half of it has, only those blocks are sent that differ. One of equal
	// size and time, but of which the source is another file by its [Identity], is
	// read here, and sent if it differs. Empty means none.
	Signatures string

	// Changed, if not nil, is asked where a signature is kept which parts of the
	// source name, as it is called below From, or by [Push] and [Pull], may have
	// changed since it had the size and time of since; false: that is not known.
	// Only those parts are read and those behind the old end, in whole blocks of
	// 4 KiB or more. The bytes outside are taken to be those of since: where they
	// are not, the destination gets the old ones, and no later transfer that
	// Changed speaks for puts it right. Proved is the SHA-256 of the copy that the
	// destination makes of what it has, before the parts are written over it, and
	// these, by reading them back; [Result.Sent] then has the SHA-256 that the
	// destination tells in the end. A file is read whole all the same if it is
	// shorter than it was, if the signature is in doubt, or if the destination
	// cannot hash files where they lie. Changed may be called concurrently.
	Changed func(name string, since Info) (parts iter.Seq[Range], ok bool)

	// Verify says what is read back and compared. Zero is VerifyTransferred.
	Verify Verify

	// Workers is how many files are in flight. Zero means 16.
	Workers int

	// Bandwidth limits the data read from the source, in bytes per second.
	// Zero means no limit.
	Bandwidth int64

	// Retries is how often one file or listing is tried again after a lost
	// connection without getting any further. Zero means 5; a negative
	// number means never.
	Retries int

	// Pause is the wait before the first retry; it doubles with each, up to
	// a minute. Zero means a second.
	Pause time.Duration

	// Progress is called on the caller's goroutine several times a second
	// with running totals, and once at the end. Nil means not at all.
	Progress func(Stats)

	// Logger gets each step at Debug, what was skipped or tried again at Warn.
	// Nil means none.
	Logger *slog.Logger
}

// Range is a part of a file.
type Range struct{ Off, Len int64 } // bytes

// Verify says which files are read back from the destination and compared by
// SHA-256. A file that differs is never shown under its name, and reported.
type Verify uint8

const (
	// VerifyTransferred reads back each file that was sent, before it is
	// shown, and compares it with what was read from the source.
	VerifyTransferred Verify = iota

	// VerifyNone trusts the destination.
	VerifyNone

	// VerifyAll also reads unchanged files, on both sides. One that
	// differs in spite of its size and time is sent again.
	VerifyAll
)

// Stats count one transfer. Size = Matched + Literal + Resumed when all is done.
type Stats struct {
	Size     int64 // bytes of all files in the transfer
	Matched  int64 // bytes that the destination had
	Literal  int64 // bytes that were sent
	Resumed  int64 // bytes that an interrupted transfer had left
	Files    int   // regular files in the transfer
	Copied   int   // files sent
	Verified int   // files whose bytes were read back and compared
}

func (o *Options) orDefault() Options {
	var v Options
	if o != nil {
		v = *o
	}
	if v.From == "" {
		v.From = "."
	}
	if v.To == "" {
		v.To = "."
	}
	if v.Workers <= 0 {
		v.Workers = 16
	}
	switch {
	case v.Retries == 0:
		v.Retries = 5
	case v.Retries < 0:
		v.Retries = 0
	}
	if v.Pause <= 0 {
		v.Pause = time.Second
	}
	if v.Logger == nil {
		v.Logger = slog.New(slog.DiscardHandler)
	}
	return v
}
