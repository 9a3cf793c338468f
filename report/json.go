package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/obskeep/obskeep/julian"
)

// Schema names the JSON form that WriteJSON writes and ReadJSON reads. Fields
// may be added under this name; their meaning does not change.
const Schema = "obskeep/report/v1"

// SchemaError says that a document is not a report, or of a later form.
type SchemaError struct {
	Schema string // what the document calls itself; "" if nothing
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("report: schema %q: want %q", e.Schema, Schema)
}

type jsonReport struct {
	Schema   string         `json:"schema"`
	Name     string         `json:"name"`
	Host     string         `json:"host,omitzero"`
	Day      julian.Date    `json:"day,omitzero"`
	Outcome  Outcome        `json:"outcome"`
	Subject  string         `json:"subject"`
	Counts   map[string]int `json:"counts"`
	Start    time.Time      `json:"start,omitzero"`
	End      time.Time      `json:"end,omitzero"`
	Duration float64        `json:"duration_seconds"`
	Version  string         `json:"version,omitzero"`
	Jobs     []jsonJob      `json:"jobs"`
	Notes    []string       `json:"notes,omitempty"`
}

type jsonJob struct {
	Name       string      `json:"name"`
	Day        julian.Date `json:"day,omitzero"`
	Outcome    Outcome     `json:"outcome"`
	Start      time.Time   `json:"start,omitzero"`
	End        time.Time   `json:"end,omitzero"`
	Duration   float64     `json:"duration_seconds"`
	Files      int         `json:"files"`
	Bytes      int64       `json:"size_bytes"`
	Literal    int64       `json:"literal_bytes"`
	Speed      float64     `json:"speed_bytes_per_second"`
	Verified   int         `json:"verified_files"`
	Unverified int         `json:"unverified_files"`
	Errors     []string    `json:"errors,omitempty"`
	Notes      []string    `json:"notes,omitempty"`
}

// WriteJSON writes the report as one JSON object in the form [Schema]. Times
// are RFC 3339 in UTC, amounts have their unit in the name of the field, and
// an error is its text, in several lines if it was made by [errors.Join].
// What can be calculated (the outcome, the subject, counts, durations and
// speeds) is written too, for readers that are not this package.
func (r *Report) WriteJSON(w io.Writer) error {
	doc := jsonReport{
		Schema:   Schema,
		Name:     validUTF8(r.Name),
		Host:     validUTF8(r.Host),
		Day:      r.Day,
		Outcome:  r.Outcome(),
		Subject:  r.Subject(),
		Counts:   make(map[string]int),
		Start:    r.Start.UTC(),
		End:      r.End.UTC(),
		Duration: elapsed(r.Start, r.End).Seconds(),
		Version:  validUTF8(r.Version),
		Jobs:     make([]jsonJob, len(r.Jobs)),
		Notes:    validTexts(r.Notes),
	}
	for o, n := range r.tally() {
		doc.Counts[Outcome(o).String()] = n
	}
	for i := range r.Jobs {
		j := &r.Jobs[i]
		doc.Jobs[i] = jsonJob{
			Name:       validUTF8(j.Name),
			Day:        j.Day,
			Outcome:    j.outcome(),
			Start:      j.Start.UTC(),
			End:        j.End.UTC(),
			Duration:   j.Duration().Seconds(),
			Files:      j.Files,
			Bytes:      j.Bytes,
			Literal:    j.Literal,
			Speed:      j.Speed(),
			Verified:   j.Verified,
			Unverified: j.Unverified,
			Errors:     validTexts(errorLines(j.Err)),
			Notes:      validTexts(j.Notes),
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("report: write JSON: %w", err)
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote. The errors of the jobs have the texts
// of those written, and no more. A document in another form is a
// *[SchemaError]. Unknown fields are passed over.
func ReadJSON(rd io.Reader) (*Report, error) {
	text, err := io.ReadAll(rd)
	if err != nil {
		return nil, fmt.Errorf("report: read JSON: %w", err)
	}
	// The form first: what else a later form holds may mean something else.
	var form struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return nil, fmt.Errorf("report: read JSON: %w", err)
	}
	if form.Schema != Schema {
		return nil, &SchemaError{Schema: form.Schema}
	}
	var doc jsonReport
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("report: read JSON: %w", err)
	}
	r := &Report{
		Name: doc.Name, Host: doc.Host, Day: doc.Day, Start: doc.Start, End: doc.End,
		Notes: doc.Notes, Version: doc.Version,
	}
	for _, j := range doc.Jobs {
		r.Jobs = append(r.Jobs, Job{
			Name: j.Name, Day: j.Day, Outcome: j.Outcome, Start: j.Start, End: j.End,
			Files: j.Files, Bytes: j.Bytes, Literal: j.Literal,
			Verified: j.Verified, Unverified: j.Unverified, Err: textErrors(j.Errors), Notes: j.Notes,
		})
	}
	return r, nil
}

// textErrors is the opposite of errorLines.
func textErrors(texts []string) error {
	if len(texts) == 1 {
		return errors.New(texts[0])
	}
	var errs []error
	for _, text := range texts {
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

func validTexts(texts []string) []string {
	var valid []string
	for _, text := range texts {
		valid = append(valid, validUTF8(text))
	}
	return valid
}
