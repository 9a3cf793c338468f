package gin

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is a row of a search listing: a file that the service holds. Its form has
// fixed columns: id (19), station (3), type (1), format (1), start (19), duration in
// seconds (5), upload (19), with a blank between them.
//
//	1234567 CPL P B 2024-03-15 03:55:00   300 2024-03-15 04:01:09
type Entry struct {
	ID       int64
	Station  string        // IAGA code, "CPL"
	Type     byte          // R, A, P, D or T
	Format   byte          // A IMF, B IAGA-2002 minutes, C IAGA-2002 seconds
	Start    time.Time     // of the data, in UTC
	Duration time.Duration // of the data
	Uploaded time.Time     // UTC
}

// String returns the row, without its end.
func (e Entry) String() string {
	return fmt.Sprintf("%19d %-3s %c %c %s %5d %s", e.ID, e.Station, e.Type, e.Format,
		e.Start.UTC().Format(time.DateTime), int64(e.Duration/time.Second), e.Uploaded.UTC().Format(time.DateTime))
}

// ParseListing reads a plain search listing, which is empty if nothing was found.
// Columns are told by blanks, as a station may have four letters. The error is an
// [ErrReply].
func ParseListing(body []byte) ([]Entry, error) {
	var list []Entry
	n := 0
	for line := range bytes.Lines(body) {
		n++
		e, ok := parseEntry(string(bytes.TrimRight(line, "\r\n")))
		if !ok {
			return nil, fmt.Errorf("%w: line %d of the listing is %q", ErrReply, n, line[:min(len(line), 100)])
		}
		list = append(list, e)
	}
	return list, nil
}

func parseEntry(line string) (Entry, bool) {
	f := strings.Fields(line)
	if len(f) != 9 || len(f[1]) < 3 || len(f[1]) > 4 || len(f[2]) != 1 || len(f[3]) != 1 {
		return Entry{}, false
	}
	id, err1 := strconv.ParseInt(f[0], 10, 64)
	start, err2 := time.Parse(time.DateTime, f[4]+" "+f[5])
	seconds, err3 := strconv.ParseUint(f[6], 10, 24)
	uploaded, err4 := time.Parse(time.DateTime, f[7]+" "+f[8])
	ok := err1 == nil && err2 == nil && err3 == nil && err4 == nil && id > 0
	return Entry{id, f[1], f[2][0], f[3][0], start, time.Duration(seconds) * time.Second, uploaded}, ok
}

// Query asks for files. The zero Query asks for all of them; so does a field that
// is zero. Times count whole seconds.
type Query struct {
	Stations                     []string // IAGA codes
	Type, Format                 byte     // as in Entry
	EarliestData, LatestData     time.Time
	EarliestUpload, LatestUpload time.Time
	SmallestID, LargestID        int64
	MaxResults                   int
}

// Matches reports whether an entry is asked for: its data lie at least in part
// between the times. MaxResults is not looked at.
func (q Query) Matches(e Entry) bool {
	within := func(from, to, earliest, latest time.Time) bool {
		return (earliest.IsZero() || !to.Before(earliest)) && (latest.IsZero() || !from.After(latest))
	}
	station := func(code string) bool { return strings.EqualFold(code, e.Station) }
	return (len(q.Stations) == 0 || slices.ContainsFunc(q.Stations, station)) &&
		(q.Type == 0 || q.Type == e.Type) && (q.Format == 0 || q.Format == e.Format) &&
		within(e.Start, e.Start.Add(max(0, e.Duration-time.Second)), q.EarliestData, q.LatestData) &&
		within(e.Uploaded, e.Uploaded, q.EarliestUpload, q.LatestUpload) &&
		q.SmallestID <= e.ID && (q.LargestID == 0 || e.ID <= q.LargestID)
}
