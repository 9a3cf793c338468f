package gin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/iaga2002"
	"github.com/obskeep/obskeep/ingest/sample"
	"github.com/obskeep/obskeep/julian"
)

// Sink delivers the batches of an [ingest.Feed], IAGA-2002 files of minutes or seconds. The
// service can be asked for each: it takes it effectively once. It is an
// [ingest.Asker] and an [ingest.Holder].
type Sink struct {
	Client *Client

	// Proof is how far the arrival of a batch is proved: of the first one, and then of
	// one in every Each; zero means 20. What is not there is offered again.
	Proof Level
	Each  int

	sent int
}

// Send implements [ingest.Sink].
func (s *Sink) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	r, err := s.Client.Upload(ctx, b.Name, b.Data)
	if err != nil {
		return ingest.Receipt{Outcome: outcome(err), Text: err.Error()}
	}
	proved := s.Proof > Replied && s.sent%cmp.Or(s.Each, 20) == 0
	s.sent++
	if proved {
		err := s.Client.Verify(ctx, file(b), r.ID, s.Proof)
		if missing, ok := errors.AsType[*MissingError](err); ok {
			return ingest.Receipt{Outcome: ingest.Later, Text: missing.Error()}
		}
	}
	return ingest.Receipt{Outcome: ingest.Stored, ID: strconv.FormatInt(r.ID, 10), Text: string(r.Word) + ": " + r.Text}
}

// Ask implements [ingest.Asker].
func (s *Sink) Ask(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	// What was offered a while ago, or refused, the service is not at work on any more.
	ask := s.Client.Find
	if age := time.Since(b.Doubt); !b.Doubt.IsZero() && age < s.Client.config.Settle {
		ask = s.Client.Reconcile
	}
	id, found, err := ask(ctx, file(b), 0)
	switch {
	case err != nil:
		return ingest.Receipt{Outcome: ingest.Unknown, Text: err.Error()}
	case !found:
		return ingest.Receipt{Outcome: ingest.Later, Text: "it is not there"}
	}
	return ingest.Receipt{Outcome: ingest.Stored, ID: strconv.FormatInt(id, 10), Text: "it is there"}
}

// Held implements [ingest.Holder]: it downloads what the service holds of the day. A file
// with a greater id takes the place of earlier ones.
func (s *Sink) Held(ctx context.Context, stream *ingest.Stream, day julian.Date) ([]sample.Row, error) {
	start := day.In(time.UTC)
	end := start.AddDate(0, 0, 1)
	entries, err := s.Client.Search(ctx, Query{
		Stations: []string{stream.Station}, Format: format(stream.Cadence), EarliestData: start, LatestData: end,
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.ID, b.ID) })
	held := map[int64]sample.Row{}
	for _, e := range entries {
		data, err := s.Client.Download(ctx, e.ID)
		if err != nil {
			return nil, err
		}
		if err := read(data, stream, held); err != nil {
			return nil, fmt.Errorf("file %d: %w", e.ID, err)
		}
	}
	var rows []sample.Row
	for t, r := range held {
		if t >= start.UnixMilli() && t < end.UnixMilli() {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b sample.Row) int { return cmp.Compare(a.Time, b.Time) })
	return rows, nil
}

// read adds the rows of a file, if it is of the level of a stream.
func read(data []byte, stream *ingest.Stream, held map[int64]sample.Row) error {
	r := iaga2002.NewReader(bytes.NewReader(data), &sample.Options{Mode: sample.Receiver})
	h, err := r.Header()
	if err != nil {
		return err
	}
	if h.Level() != stream.Level {
		return nil
	}
	// The elements of the file that are those of the stream.
	var from [sample.MaxElements]int
	for i, e := range stream.Elements {
		from[i] = slices.IndexFunc(r.Series().Elements, func(of sample.Element) bool { return of.Name == e.Name })
	}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		of := sample.RowAt(row.Time)
		for i := range stream.Elements {
			if from[i] >= 0 {
				of.Values[i] = row.Values[from[i]]
			}
		}
		held[row.Time] = of
	}
}

// outcome is what an error of Upload says of the file.
func outcome(err error) ingest.Outcome {
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return ingest.Refused
	}
	if _, ok := errors.AsType[*UnknownError](err); ok {
		return ingest.Unknown
	}
	return ingest.Later // *LaterError, *ConfigError: nothing was stored
}

func file(b *ingest.Batch) File {
	return File{Name: b.Name, Data: b.Data, Station: b.Stream.Station, First: b.Start(), Last: b.End()}
}

// format is what an Entry calls files with a row every so often.
func format(cadence time.Duration) byte {
	switch cadence {
	case time.Minute:
		return 'B'
	case time.Second:
		return 'C'
	}
	return 0
}
