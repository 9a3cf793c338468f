package ingest

import (
	"slices"
	"time"

	"github.com/obskeep/obskeep/ingest/sample"
)

// Kind says why a batch is sent. Of those that wait, the least is sent first.
type Kind uint8

const (
	Live       Kind = iota // the newest rows of a stream
	Correction             // rows that were accepted with other values
	Backfill               // older rows that were not there, or could not be sent
)

func (k Kind) String() string { return [...]string{"live", "correction", "backfill"}[k] }

// Cut says how the rows of a stream are cut into batches. The zero Cut makes a batch
// of each row, as soon as it is there.
type Cut struct {
	// Every is how much time the newest rows have to cover before they are a batch, or
	// how long they have waited.
	Every time.Duration

	// Least is how many rows a batch has at least. One that stands alone gets a
	// neighbour that is not there, as missing, or repeats one that was accepted. Zero
	// means 1, and more than 2 is not wanted by anybody.
	Least int

	// Fill is the longest run of missing rows that may stand between others in a batch.
	// Where more are missing it ends.
	Fill int

	// Age is how old a row has to be: younger ones are held back, as by an embargo.
	Age time.Duration
}

// piece is a batch that is to be cut of a day.
type piece struct {
	span
	kind   Kind
	rows   []sample.Row
	repeat int // rows that were accepted with the same values
}

// view is what is known of a day where something may have to be cut.
type view struct {
	dayOf
	from     int          // slot of the first of these
	source   []sample.Row // as the source has them
	accepted []sample.Row // as the sink has them
	busy     []span       // under way to the sink
	refused  []sample.Row // by their time, in the state in which they were refused
	cut      []span       // batches of earlier
	newest   bool         // no later day of the stream has rows
	foreign  bool         // the rows are from the file of another day, which does not change any
	until    int64        // rows of a later time are held back

	states []state
	rows   []sample.Row // as they would be sent
}

// state is what is to be done with a row.
type state uint8

const (
	absent   state = iota // neither side has values
	held                  // it is too young
	settled               // the sink has what the source has
	rejected              // the sink will not take what the source has
	inFlight              // it is under way
	fresh                 // the sink has no values
	changed               // the sink has others
)

// judge finds the state of each row, and how it would be sent: an element that the source
// has lost stays as it was accepted.
func (v *view) judge() {
	states := make([]state, len(v.source))
	rows := make([]sample.Row, len(v.source))
	for i, src := range v.source {
		have := v.accepted[i]
		row := src
		for e := range v.Elements {
			if !src.Values[e].Measured() && have.Values[e].Measured() {
				row.Values[e] = have.Values[e]
			}
		}
		rows[i] = row
		slot := v.from + i
		switch {
		case slices.ContainsFunc(v.busy, func(s span) bool { return s.first <= slot && slot < s.end }):
			states[i] = inFlight
		case !measured(row):
			states[i] = absent
		case v.time(slot) > v.until:
			states[i] = held
		case row == have:
			states[i] = settled
		case slices.Contains(v.refused, row):
			states[i] = rejected
		case !measured(have):
			states[i] = fresh
		case v.foreign:
			states[i] = settled
		default:
			states[i] = changed
		}
	}
	v.states, v.rows = states, rows
}

// unsettled returns the rows of the source for which something is left to be done.
func (v *view) unsettled() []sample.Row {
	var rows []sample.Row
	for i, s := range v.states {
		if s == held || s == inFlight || s == fresh || s == changed {
			rows = append(rows, v.source[i])
		}
	}
	return rows
}

func measured(r sample.Row) bool { return slices.ContainsFunc(r.Values[:], sample.Value.Measured) }

// pieces cuts what is pending. now is the time in milliseconds. rest says that something is
// left for later: the newest rows, that do not cover enough time yet, those that are held
// back, one that stands alone, and those under way. due is when, in milliseconds.
func (c Cut) pieces(v *view, now int64) (cut []piece, rest bool, due int64) {
	later := func(t int64) {
		if !rest || t < due {
			due = t
		}
		rest = true
	}
	states, rows := v.states, v.rows
	spans := slices.Clone(v.cut)
	last := -1
	for i, s := range states {
		if s != absent && s != held {
			last = i
		}
	}
	for i := 0; i < len(states); i++ {
		s := states[i]
		switch s {
		case inFlight:
			later(now)
		case held:
			later(v.time(v.from+i) + c.Age.Milliseconds())
		}
		if s != fresh && s != changed {
			continue
		}
		end := i + 1 // of the run that begins here
		for j := end; j < len(states) && j-end <= c.Fill; j++ {
			if states[j] == s {
				end = j + 1
			} else if states[j] != absent || s == changed {
				break
			}
		}
		p := piece{span: span{v.from + i, v.from + end}, kind: Backfill}
		switch {
		case s == changed:
			p.kind = Correction
		case end > last && (v.newest || slices.Contains(states[end:], held)): // more is to come
			p.kind = Live
			enough := time.Duration(p.len())*v.Cadence >= c.Every && p.len() >= c.Least
			// A batch that is not full goes when the next row is late as well.
			late := v.time(p.first) + (max(c.Every, time.Duration(c.Least)*v.Cadence) + v.Cadence + c.Age).Milliseconds()
			if !enough && now < late {
				later(late)
				i = end - 1
				continue
			}
		}
		if !c.widen(v, &p, states, now, spans) {
			later(now)
		} else {
			p.rows = rows[p.first-v.from : p.end-v.from]
			cut, spans = append(cut, p), append(spans, p.span)
		}
		i = end - 1
	}
	return cut, rest, due
}

// widen makes a piece long enough, and gives it a beginning that no batch had, so that it
// has a name of its own. It reports whether that can be done now.
func (c Cut) widen(v *view, p *piece, states []state, now int64, cut []span) bool {
	at := func(slot int) (state, bool) {
		i := slot - v.from
		if i < 0 || i >= len(states) {
			return absent, false
		}
		return states[i], true
	}
	free := func(slot int, want state) bool {
		s, ok := at(slot)
		return ok && s == want && v.time(slot) <= now
	}
	begun := func(slot int) bool {
		return slices.ContainsFunc(cut, func(s span) bool { return s.first == slot })
	}
	if p.len() < c.Least {
		switch {
		case free(p.end, absent):
			p.end++
		case free(p.first-1, absent):
			p.first--
		case free(p.first-1, settled):
			p.first--
			p.repeat++
		case free(p.end, settled):
			p.end++
			p.repeat++
		default:
			return false
		}
	}
	// A name that was used once may be refused, whatever the rows behind it are now.
	for first := p.first; begun(first); first-- {
		if !free(first-1, settled) && !free(first-1, absent) {
			return true // there is none: the receiver decides
		}
		if !begun(first - 1) {
			p.repeat += p.first - (first - 1)
			p.first = first - 1
			break
		}
	}
	return true
}
