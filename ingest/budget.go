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

func (b *budget) count(k Kind, at time.Time) {
	if day := julian.DateOf(at.UTC()); day != b.Day {
		// A clock that was set back does not give the day's batches anew.
		if day.Compare(b.Day) < 0 {
			day = b.Day
		} else {
			*b = budget{Day: day}
		}
	}
	b.All++
	if k == Live {
		b.Live++
	}
}

// allows reports whether one more batch may be offered, of so many a day. Live ones may use
// four fifths of them, spread over the day; the others what these leave.
func (b *budget) allows(perDay int, k Kind, at time.Time) bool {
	if perDay == 0 {
		return true
	}
	today := *b
	if day := julian.DateOf(at.UTC()); day.Compare(b.Day) > 0 {
		today = budget{Day: day}
	}
	if today.All >= perDay {
		return false
	}
	live := perDay * 4 / 5
	part := float64(at.Sub(today.Day.In(time.UTC))) / float64(24*time.Hour) // of the day that has gone by
	due := int(float64(live)*min(max(part, 0), 1)) + perDay/50 + 1
	if k == Live {
		return today.Live < min(due, live)
	}
	// What live batches have not used by now they will not use any more.
	return today.All-today.Live < perDay-live+max(0, due-perDay/50-1-today.Live)
}
