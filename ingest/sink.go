package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// Batch is what a sink is offered: some rows of one stream and day, without a hole.
// It never changes, however often it is offered.
type Batch struct {
	Number uint64 // of its feed: it has this number for good, and no other has it
	Stream *Stream
	Rows   []sample.Row
	Kind   Kind
	Repeat int    // how many rows were delivered before, with the same values: a batch is never shorter than Cut.Least
	Name   string // of the file, as the format has it
	Data   []byte // the file

	// Doubt is when it was last offered, if nobody knows what became of that: by
	// another process perhaps, and the receiver may still be at work on it.
	Doubt time.Time
}

// Start and End are the times of the first and the last row.
func (b *Batch) Start() time.Time { return b.Rows[0].UTC() }
func (b *Batch) End() time.Time   { return b.Rows[len(b.Rows)-1].UTC() }

// Outcome is what became of a batch that was offered.
type Outcome uint8

const (
	Unknown Outcome = iota // it may have arrived, or not
	Stored                 // it has arrived
	Refused                // it will not be taken as it is
	Later                  // it has not arrived, and may be offered again
)

func (o Outcome) String() string { return [...]string{"unknown", "stored", "refused", "later"}[o] }

// Receipt is a sink's answer.
type Receipt struct {
	Outcome Outcome
	ID      string // by which the receiver knows the batch, if it says so
	Text    string // what else it says, a line
}

// Sink takes batches. Its methods are called by one goroutine at a time for each account.
type Sink interface {
	// Send offers a batch. Whatever leaves it open whether the batch has arrived is
	// Unknown. The end of ctx ends it.
	Send(ctx context.Context, b *Batch) Receipt
}

// Asker is a Sink that can tell what it has. An outcome that is not known is asked
// before anything is repeated: so it takes each batch effectively once, any other
// sink at least once.
type Asker interface {
	Sink

	// Ask returns Stored, or Later if the batch is not there, or Unknown.
	Ask(ctx context.Context, b *Batch) Receipt
}

// Holder is a Sink that can tell which rows it holds.
type Holder interface {
	Sink

	// Held returns the rows of a stream that are held of a day of UTC, in the order of
	// their times, each once.
	Held(ctx context.Context, s *Stream, day julian.Date) ([]sample.Row, error)
}

// ErrConfig is returned for a configuration that cannot be.
var ErrConfig = errors.New("ingest: wrong configuration")
