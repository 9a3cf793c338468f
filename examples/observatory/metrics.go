package main

import (
	"bytes"
	"fmt"

	"github.com/obskeep/obskeep/ingest"
)

// metrics are the newest statuses, as the textfile collector of node-exporter reads them.
func metrics(all []*accountStatus) []byte {
	var m exposition
	m.family("status_timestamp_seconds", "gauge", "When the account was swept last.")
	for _, a := range known(all) {
		m.sample(a.labels(), a.At.Unix())
	}
	m.family("trouble", "gauge", "1 if the account's own state or a source, the logger, or the receiver is in trouble.")
	for _, a := range known(all) {
		for _, of := range []struct{ what, text string }{{"account", a.Error}, {"logger", a.Logger}, {"receiver", a.Receiver}} {
			m.sample(a.labels()+fmt.Sprintf(",of=%q", of.what), oneIf(of.text != ""))
		}
	}
	for _, f := range []struct {
		name, help string
		of         func(*accountStatus) int
	}{
		{"files_offered_today", "Files that were offered on this day of UTC.", func(a *accountStatus) int { return a.Offered }},
		{"files_per_day", "Files that may be offered in a day; 0 for any number.", func(a *accountStatus) int { return a.PerDay }},
		{"files_under_way", "Files that were offered and are not settled.", func(a *accountStatus) int { return a.UnderWay }},
		{"files_in_doubt", "Files under way that may have arrived.", func(a *accountStatus) int { return a.InDoubt }},
	} {
		m.family(f.name, "gauge", f.help)
		for _, a := range known(all) {
			m.sample(a.labels(), int64(f.of(a)))
		}
	}
	m.family("files_total", "counter", "Files by what became of them when they were offered, since the program began.")
	for _, a := range known(all) {
		for outcome, n := range a.Counts.Batches {
			m.sample(a.labels()+fmt.Sprintf(",outcome=%q", ingest.Outcome(outcome)), int64(n))
		}
	}
	for _, f := range []struct {
		name, help string
		of         func(counts) int
	}{
		{"rows_read_total", "Rows that were read.", func(c counts) int { return c.Rows }},
		{"rows_accepted_total", "Rows that the receiver accepted.", func(c counts) int { return c.Accepted }},
		{"rows_corrected_total", "Rows accepted before with other values.", func(c counts) int { return c.Corrections }},
		{"rows_repeated_total", "Rows accepted before with the same values, which a file needed.", func(c counts) int { return c.Repeated }},
		{"rows_quarantined_total", "Rows of days ahead, or off the cadence.", func(c counts) int { return c.Quarantined }},
		{"rows_declared_missing_total", "Rows of days that were closed without them.", func(c counts) int { return c.Missing }},
		{"lines_at_fault_total", "Lines at fault that were read.", func(c counts) int { return c.Faults }},
		{"lines_torn_total", "Times that a last line had no end.", func(c counts) int { return c.Torn }},
		{"questions_total", "Questions what became of a file.", func(c counts) int { return c.Asked }},
	} {
		m.family(f.name, "counter", f.help+" Since the program began.")
		for _, a := range known(all) {
			m.sample(a.labels(), int64(f.of(a.Counts)))
		}
	}
	m.streams(all)
	return m.Bytes()
}

// streams adds what is known of each stream.
func (m *exposition) streams(all []*accountStatus) {
	m.family("newest_accepted_timestamp_seconds", "gauge", "The time of the newest row that was accepted.")
	for _, a := range known(all) {
		for _, s := range a.Streams {
			if s.Newest != nil {
				m.sample(a.labels()+fmt.Sprintf(",stream=%q", s.Stream), s.Newest.Unix())
			}
		}
	}
	for _, f := range []struct {
		name, help string
		of         func(*dayStatus) int
	}{
		{"rows_expected", "Rows whose time has come.", func(d *dayStatus) int { return d.Expected }},
		{"rows_accepted", "Rows that the receiver has.", func(d *dayStatus) int { return d.Accepted }},
		{"rows_waiting", "Rows that were read and are not settled.", func(d *dayStatus) int { return d.Waiting }},
		{"rows_refused", "Rows that the receiver has refused.", func(d *dayStatus) int { return d.Refused }},
		{"rows_missing", "Rows before the newest one that the receiver does not have.", (*dayStatus).holes},
		{"lines_at_fault", "Lines at fault in the files.", func(d *dayStatus) int { return d.Faults }},
	} {
		m.family(f.name, "gauge", f.help+" Of today, and of the days before that are not closed.")
		for _, a := range known(all) {
			for _, s := range a.Streams {
				today, before := s.today()
				m.sample(a.labels()+fmt.Sprintf(",stream=%q,day=%q", s.Stream, "today"), int64(f.of(&today)))
				m.sample(a.labels()+fmt.Sprintf(",stream=%q,day=%q", s.Stream, "before"), int64(f.of(&before)))
			}
		}
	}
}

// exposition is the text format of Prometheus, version 0.0.4. The samples of a family stand
// together.
type exposition struct {
	bytes.Buffer
	name string // of the family
}

func (m *exposition) family(name, kind, help string) {
	m.name = "obskeep_ingest_" + name
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", m.name, help, m.name, kind)
}

// sample adds a sample. Names and words of this program need no escape that %q does not give.
func (m *exposition) sample(labels string, value int64) {
	fmt.Fprintf(m, "%s{%s} %d\n", m.name, labels, value)
}

func (a *accountStatus) labels() string { return fmt.Sprintf("account=%q", a.Account) }

// known are the statuses that are there.
func known(all []*accountStatus) (there []*accountStatus) {
	for _, a := range all {
		if a != nil {
			there = append(there, a)
		}
	}
	return there
}

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
