package impf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Metadata goes with the first message of a day, for the files that the portal makes of
// the data. What is empty is left out, and the portal uses what it knows. Numbers are
// written as they stand here.
type Metadata struct {
	GIN               string      `json:"ginCode,omitempty"`   // "edi", "gol", "kyo", "ott" or "par"
	DECBAS            json.Number `json:"decbas,omitempty"`    // tenths of a minute of arc, -10800 to 21600
	Latitude          json.Number `json:"latitude,omitempty"`  // degrees north
	Longitude         json.Number `json:"longitude,omitempty"` // degrees east, -180 to 360
	Elevation         json.Number `json:"elevation,omitempty"` // metres
	Institute         string      `json:"institute,omitempty"` // the source of the data
	Name              string      `json:"name,omitempty"`      // of the observatory
	SensorOrientation string      `json:"sensorOrientation,omitempty"`
	DigitalSampling   string      `json:"digitalSampling,omitempty"`  // "1 second"
	DataIntervalType  string      `json:"dataIntervalType,omitempty"` // "1-minute (00:30-01:29)"
	PublicationDate   string      `json:"publicationDate,omitempty"`  // "2024-03-15"
	StandardLevel     string      `json:"standardLevel,omitempty"`    // "None", "Partial" or "Full"
	StandardName      string      `json:"standardName,omitempty"`     // "INTERMAGNET_1-Second", "INTERMAGNET_1-Minute" or "INTERMAGNET_1-Minute_QD"
	StandardVersion   string      `json:"standardVersion,omitempty"`
	PartialStandDesc  string      `json:"partialStandDesc,omitempty"`
	Source            string      `json:"source,omitempty"` // "Institute", "Intermagnet" or "WDC"
	TermsOfUse        string      `json:"termsOfUse,omitempty"`
	UniqueIdentifier  string      `json:"uniqueIdentifier,omitempty"` // a DOI
	ParentIdentifiers []string    `json:"parentIdentifiers,omitempty"`
	ReferenceLinks    []string    `json:"referenceLinks,omitempty"`
	Comments          []string    `json:"comments,omitempty"`
}

// check returns what the schema does not allow.
func (m *Metadata) check() error {
	for _, f := range []struct {
		name  string
		value string
		of    []string
	}{
		{"ginCode", m.GIN, []string{"edi", "gol", "kyo", "ott", "par"}},
		{"standardLevel", m.StandardLevel, []string{"None", "Partial", "Full"}},
		{"standardName", m.StandardName, []string{"INTERMAGNET_1-Second", "INTERMAGNET_1-Minute", "INTERMAGNET_1-Minute_QD"}},
		{"source", m.Source, []string{"Institute", "Intermagnet", "WDC"}},
	} {
		if f.value != "" && !slices.Contains(f.of, f.value) {
			return fmt.Errorf("%s %q: want one of %s", f.name, f.value, strings.Join(f.of, ", "))
		}
	}
	for _, f := range []struct {
		name     string
		value    json.Number
		min, max float64
	}{
		{"decbas", m.DECBAS, -10800, 21600},
		{"latitude", m.Latitude, -90, 90},
		{"longitude", m.Longitude, -180, 360},
		{"elevation", m.Elevation, -10000, 10000},
	} {
		if f.value == "" {
			continue
		}
		n, err := f.value.Float64()
		if err != nil || !json.Valid([]byte(f.value)) || n < f.min || n > f.max {
			return fmt.Errorf("%s %q: want a number from %v to %v", f.name, f.value, f.min, f.max)
		}
	}
	if _, err := strconv.Atoi(string(m.DECBAS)); m.DECBAS != "" && err != nil {
		return fmt.Errorf("decbas %q: want a whole number", m.DECBAS)
	}
	if _, err := time.Parse(time.DateOnly, m.PublicationDate); m.PublicationDate != "" && err != nil {
		return fmt.Errorf("publicationDate %q: want a date such as 2024-03-15", m.PublicationDate)
	}
	return nil
}

// set sets the field of a name in JSON.
func (m *Metadata) set(name string, value json.RawMessage) error {
	fields := reflect.ValueOf(m).Elem()
	for i := range fields.NumField() {
		tag, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
		if tag != name {
			continue
		}
		// Unmarshal takes a number in quotes, and null, which the schema does not.
		_, number := fields.Field(i).Interface().(json.Number)
		if number && value[0] == '"' || hasNull(value) {
			return fmt.Errorf("%s: %.40q is of another type", name, value)
		}
		if err := json.Unmarshal(value, fields.Field(i).Addr().Interface()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	return errors.New(strconv.Quote(name) + ": the format has no such field")
}

func hasNull(value json.RawMessage) bool {
	d := json.NewDecoder(bytes.NewReader(value))
	for {
		t, err := d.Token()
		if err != nil {
			return false // it was read before: this is its end
		}
		if t == nil {
			return true
		}
	}
}
