package ingest

import (
	"time"

	"github.com/obskeep/obskeep/julian"
)

// budget counts the batches that were offered on a day of UTC.
type budget struct {
	Day  julian.Date `json:"day,omitzero"`
	Live int         `json:"live"`
	All  int         `json:"all"`
}

// on returns the budget of the day of a time. A clock that was set back by hours does not
// give the batches of a day anew; after one that was wrong by days all begins anew.
func (b budget) on(at time.Time) budget {
	day := julian.DateOf(at.UTC())
	if ahead := b.Day.DaysSince(day); b.Day.IsValid() && (ahead == 0 || ahead == 1) {
		return b
	}
	return budget{Day: day}
}

func (b *budget) count(k Kind, at time.Time) {
	*b = b.on(at)
	b.All++
	if k == Live {
		b.Live++
	}
}

// allows reports whether one more batch may be offered, of so many a day. Live ones may use
// four fifths of them, spread over the day; the others what these leave.
func (b budget) allows(perDay int, k Kind, at time.Time) bool {
	if perDay == 0 {
		return true
	}
	today := b.on(at)
	if today.All >= perDay {
		return false
	}
	live := perDay - perDay/5
	part := float64(at.Sub(today.Day.In(time.UTC))) / float64(24*time.Hour) // of the day that has gone by
	due := int(float64(live) * min(max(part, 0), 1))
	if k == Live {
		return today.Live < min(due+perDay/50+1, live)
	}
	// What live batches have not used by now they will not use any more.
	return today.All-today.Live < perDay-live+max(0, due-today.Live)
}
