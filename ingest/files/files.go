// Package files delivers the batches of an [ingest.Feed] as files of a [transfer.Store]:
// a folder of this machine, of another one over SSH, or a bucket.
//
// A file has the name that the stream's format gives the batch, in a folder of the
// station and of the day of UTC on which its rows begin, such as
// TST/2026-268/tst202609250430vmin.min. It is never seen before it is complete. Its time
// is that of its last row.
//
// # One name, one batch
//
// Nothing that is there is overwritten: a batch whose name is taken by other bytes is
// refused, and a feed offers its rows again a day later. A feed begins each batch with a
// row that no earlier one began with, as long as the day has one; it has none for a
// correction of the first row of a day, or if each row was a batch of its own. Who wants
// those has a Path with the [ingest.Batch].Number in it.
//
// # Guarantees
//
//   - A batch that is Stored is under its name, whole, read back and durable.
//   - A file that is there is never overwritten.
//   - A batch that is there with the same bytes is Stored, and not written again.
//   - Ask says Stored of a file with the bytes of the batch, Later if there is none,
//     and Unknown if that could not be seen.
//   - Send says Later if the name was not given to the bytes, and Unknown if it may have been.
//   - A feed takes up after a fault at any step, and each file is written once.
//
// # Not promised
//
// That a file was not there is seen before it is written: two who write the same names
// at once may overwrite each other. A file that another process was showing when it and
// its machine crashed is taken to be durable.
package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/transfer"
)

// Sink puts each batch as a file into a store. It is an [ingest.Asker], and safe for
// concurrent use if Path is.
type Sink struct {
	Store transfer.Store

	// Path returns the name of a batch in the store, always the same one for a batch.
	// Nil means the station, the day, and the name that the format gives.
	Path func(b *ingest.Batch) string
}

// Send implements [ingest.Sink].
func (s *Sink) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	name := s.path(b)
	switch what, err := s.find(ctx, name, b.Data); {
	case err != nil:
		return receipt(ingest.Later, name, "look for it", err)
	case what == same:
		return ingest.Receipt{Outcome: ingest.Stored, ID: name, Text: "it was there"}
	case what == other:
		return taken(ingest.Refused, name)
	}
	up, err := s.Store.Create(ctx, transfer.Info{Name: name, Size: int64(len(b.Data)), ModTime: b.End(), Mode: 0o644})
	if err != nil {
		return receipt(ingest.Later, name, "create", err)
	}
	r := ingest.Receipt{Outcome: ingest.Later, ID: name}
	if _, err = up.Write(b.Data); err == nil {
		err = up.Commit(ctx, true)
		r.Outcome = s.committed(ctx, name, b.Data, err)
	}
	if err := errors.Join(err, up.Close()); err != nil {
		return receipt(r.Outcome, name, "write", err) // what is committed stays so, whatever Close says
	}
	return r
}

// committed is what became of data that Commit was called for.
func (s *Sink) committed(ctx context.Context, name string, data []byte, err error) ingest.Outcome {
	switch {
	case err == nil:
		return ingest.Stored
	case errors.Is(err, transfer.ErrLost):
		return ingest.Unknown // it may still be under way
	}
	if what, err := s.find(ctx, name, data); err == nil && what == nothing {
		return ingest.Later
	}
	return ingest.Unknown
}

// Ask implements [ingest.Asker].
func (s *Sink) Ask(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	name := s.path(b)
	switch what, err := s.find(ctx, name, b.Data); {
	case err != nil:
		return receipt(ingest.Unknown, name, "look for it", err)
	case what == same:
		return ingest.Receipt{Outcome: ingest.Stored, ID: name, Text: "it is there"}
	case what == other:
		return taken(ingest.Later, name)
	}
	return ingest.Receipt{Outcome: ingest.Later, Text: name + " is not there"}
}

func (s *Sink) path(b *ingest.Batch) string {
	if s.Path != nil {
		return s.Path(b)
	}
	return path.Join(b.Stream.Station, julian.DateOf(b.Start()).String(), b.Name)
}

// found is what there is under a name.
type found uint8

const (
	nothing found = iota
	same          // the bytes that are looked for
	other
)

// find compares what there is under a name with data.
func (s *Sink) find(ctx context.Context, name string, data []byte) (what found, err error) {
	info, err := s.Store.Stat(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nothing, nil
	case err != nil:
		return nothing, err
	case !info.Mode.IsRegular():
		return other, nil
	}
	r, err := s.Store.Open(ctx, name, 0)
	if err != nil {
		return nothing, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	there, err := io.ReadAll(io.LimitReader(r, int64(len(data))+1))
	if err == nil && !bytes.Equal(there, data) {
		return other, nil
	}
	return same, err
}

func taken(o ingest.Outcome, name string) ingest.Receipt {
	return ingest.Receipt{Outcome: o, Text: name + " is there with other bytes, and is not overwritten: remove it, or give files other names"}
}

func receipt(o ingest.Outcome, name, what string, err error) ingest.Receipt {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	return ingest.Receipt{Outcome: o, Text: fmt.Sprintf("files: %s, on %s: %s", what, name, text)}
}
