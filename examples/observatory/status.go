package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/internal/durable"
	"github.com/obskeep/obskeep/julian"
)

// statusFile is in the folder of an account's state.
const statusFile = "status.json"

// accountStatus is what is known of an account after a sweep: [statusFile].
type accountStatus struct {
	Schema  string    `json:"schema"`
	Account string    `json:"account"`
	Station string    `json:"station"`
	At      time.Time `json:"at"`

	Error    string `json:"error,omitempty"`    // of its own state, or of a source
	Logger   string `json:"logger,omitempty"`   // why nothing can be fetched
	Receiver string `json:"receiver,omitempty"` // why it does not take files
	Refusal  string `json:"refusal,omitempty"`  // of the last file that it will not have

	Offered  int            `json:"offered_today"`
	PerDay   int            `json:"per_day"`   // 0: any number
	UnderWay int            `json:"under_way"` // files that were offered and are not settled
	InDoubt  int            `json:"in_doubt"`  // of these, those that may have arrived
	Closed   *julian.Date   `json:"closed,omitempty"`
	Counts   counts         `json:"counts"` // since the program began
	Streams  []streamStatus `json:"streams"`
}

// counts are those of an [ingest.Counts].
type counts struct {
	Rows        int    `json:"rows"`
	Torn        int    `json:"torn"`
	Faults      int    `json:"faults"`
	Quarantined int    `json:"quarantined"`
	Batches     [4]int `json:"batches"` // of unknown outcome, stored, refused, to be offered later
	Accepted    int    `json:"accepted"`
	Corrections int    `json:"corrections"`
	Repeated    int    `json:"repeated"`
	Asked       int    `json:"asked"`
	Missing     int    `json:"missing"`
}

// streamStatus is a stream of an account.
type streamStatus struct {
	Stream string      `json:"stream"`
	Newest *time.Time  `json:"newest,omitempty"` // the newest row that was accepted
	Days   []dayStatus `json:"days"`             // that are not closed, today first
}

// dayStatus is a day of a stream, in rows.
type dayStatus struct {
	Day      julian.Date    `json:"day"`
	Expected int            `json:"expected"`
	Accepted int            `json:"accepted"`
	Waiting  int            `json:"waiting"`
	Refused  int            `json:"refused"`
	Faults   int            `json:"faults"` // lines
	SetAside map[string]int `json:"set_aside,omitempty"`
	Holes    []span         `json:"holes,omitempty"`
}

// span is an [ingest.Span].
type span struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Rows  int       `json:"rows"`
}

func spans(all []ingest.Span) []span {
	var list []span
	for _, s := range all {
		list = append(list, span(s))
	}
	return list
}

// add adds what a feed says.
func (a *accountStatus) add(s ingest.Status) {
	a.At, a.Counts = s.At, counts(s.Counts)
	a.Receiver, a.Refusal = s.Trouble, s.Refusal
	a.Offered, a.PerDay, a.UnderWay, a.InDoubt = s.Offered, s.PerDay, s.UnderWay, s.InDoubt
	if s.Closed.IsValid() {
		a.Closed = &s.Closed
	}
	for _, of := range s.Streams {
		stream := streamStatus{Stream: of.Stream}
		if !of.Newest.IsZero() {
			stream.Newest = &of.Newest
		}
		for _, d := range of.Days {
			stream.Days = append(stream.Days, dayStatus{
				Day: d.Day, Expected: d.Expected, Accepted: d.Accepted, Waiting: d.Waiting, Refused: d.Refused,
				Faults: d.Faults, SetAside: d.SetAside, Holes: spans(d.Holes),
			})
		}
		a.Streams = append(a.Streams, stream)
	}
}

// today is the newest day; before are the others, as one.
func (s *streamStatus) today() (today, before dayStatus) {
	for i, d := range s.Days {
		if i == 0 {
			today = d
			continue
		}
		before.Expected += d.Expected
		before.Accepted += d.Accepted
		before.Waiting += d.Waiting
		before.Refused += d.Refused
		before.Faults += d.Faults
		before.Holes = append(before.Holes, d.Holes...)
	}
	return today, before
}

// nothing reports whether nothing of the stream was ever there.
func (s *streamStatus) nothing() bool {
	return s.Newest == nil && !slices.ContainsFunc(s.Days, func(d dayStatus) bool { return d.Accepted+d.Waiting+d.Refused > 0 })
}

// holes is how many rows are missing before the newest.
func (d *dayStatus) holes() (rows int) {
	for _, h := range d.Holes {
		rows += h.Rows
	}
	return rows
}

// write replaces an account's status file.
func (a *accountStatus) write(dir string) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return replace(filepath.Join(dir, statusFile), append(text, '\n'))
}

// replace writes a file that is there as a whole, or as it was.
func replace(file string, text []byte) error {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(durable.WriteFile(root, filepath.Base(file), text, 0o644), root.Close())
}

// readStatus reads what [accountStatus.write] has written; nil if there is nothing yet.
func readStatus(dir string) (*accountStatus, error) {
	text, err := os.ReadFile(filepath.Join(dir, statusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := new(accountStatus)
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; the next sweep writes it anew", filepath.Join(dir, statusFile), err)
	}
	return a, nil
}
