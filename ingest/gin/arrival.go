package gin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// File is a file that was offered, as far as the service can be asked for it.
type File struct {
	Name        string
	Data        []byte
	Station     string    // IAGA code
	First, Last time.Time // its first and last sample, missing ones too
}

// Reconcile finds out whether a file of unknown outcome is stored, by searching its
// station and time for ids greater than after, which is the last one known before the
// file was offered, or zero, and comparing what is held with Data. If it is not
// there, Reconcile asks once more when the service has had Config.Settle to end what
// it may be at. An error means that it cannot be told: [*LaterError],
// [*RefusedError] or [*ConfigError].
func (c *Client) Reconcile(ctx context.Context, f File, after int64) (id int64, found bool, err error) {
	id, found, err = c.Find(ctx, f, after)
	if err != nil || found || c.config.Settle < 0 {
		return id, found, err
	}
	select {
	case <-time.After(c.config.Settle):
	case <-ctx.Done():
		return 0, false, &LaterError{"reconcile, on " + f.Name, context.Cause(ctx)}
	}
	return c.Find(ctx, f, after)
}

// Find is Reconcile without the second question: for a file that nobody is sending.
func (c *Client) Find(ctx context.Context, f File, after int64) (id int64, found bool, err error) {
	list, err := c.Search(ctx, Query{
		Stations: []string{f.Station}, SmallestID: after + 1,
		EarliestData: f.First, LatestData: f.Last.Add(time.Minute), // whatever the end of a minute is
	})
	if err != nil {
		return 0, false, err
	}
	// Where a file begins is told best by a listing; the bytes decide.
	slices.SortStableFunc(list, func(a, b Entry) int {
		return cmp.Compare(a.Start.Sub(f.First).Abs(), b.Start.Sub(f.First).Abs())
	})
	for _, e := range list {
		if e.ID <= after || !strings.EqualFold(e.Station, f.Station) {
			continue
		}
		if err := c.compare(ctx, e.ID, f); err == nil {
			return e.ID, true, nil
		} else if !errors.Is(err, errDiffers) {
			return 0, false, err
		}
	}
	return 0, false, nil
}

var errDiffers = errors.New("the file that is held is another")

// compare has a file back. The error is errDiffers if it is surely not f.
func (c *Client) compare(ctx context.Context, id int64, f File) error {
	held, err := c.download(ctx, id, max(len(f.Data), maxReply))
	switch {
	case errors.Is(err, errTooLong):
		return errDiffers
	case err != nil:
		return err
	case bytes.Equal(held, f.Data):
		return nil
	case !isData(held):
		return &LaterError{fmt.Sprintf("download, on id %d", id), fmt.Errorf("%w: it is no data file", ErrReply)}
	}
	return errDiffers
}

// isData tells a data file, that begins with the header of IAGA-2002 or IMF, from
// what else a web server may send.
func isData(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Fields(string(line))
	return len(fields) > 1 && (strings.EqualFold(fields[0], "Format") && strings.EqualFold(fields[1], "IAGA-2002") ||
		len(fields[0]) == 3 && len(fields[1]) == len("MAR1524"))
}

// Level is how far the arrival of a file is proved.
type Level uint8

const (
	Replied    Level = iota // V0: the reply said so and gave an id
	Listed                  // V1: a search finds the id, with the station and the first sample
	Downloaded              // V2: also, the file with the id has the same bytes
)

// MissingError says that the service does not hold what its reply said. Send the
// samples again.
type MissingError struct {
	Name string
	ID   int64
	Text string // what is wrong
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("gin: verify, on %s: %s (id %d)", e.Name, e.Text, e.ID)
}

// Verify proves the arrival of a file that was stored with an id. The error is a
// [*MissingError] if the service does not hold it, and otherwise that of the question
// that could not be asked.
func (c *Client) Verify(ctx context.Context, f File, id int64, level Level) error {
	missing := func(text string) error { return &MissingError{f.Name, id, text} }
	if id <= 0 {
		return missing("no id was given for it")
	}
	if level == Replied {
		return nil
	}
	list, err := c.Search(ctx, Query{Stations: []string{f.Station}, SmallestID: id, LargestID: id})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(e Entry) bool { return e.ID == id })
	switch {
	case i < 0:
		return missing("a search does not find it")
	case !strings.EqualFold(list[i].Station, f.Station) || !list[i].Start.Equal(f.First.Truncate(time.Second)):
		return missing("a search finds another file: " + strings.TrimSpace(list[i].String()))
	case level == Listed:
		return nil
	}
	if err := c.compare(ctx, id, f); errors.Is(err, errDiffers) {
		return missing("its bytes are others")
	} else if err != nil {
		return err
	}
	return nil
}
