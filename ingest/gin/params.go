package gin

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// anyLetter stands in TypeCode and FormatCode for all of them.
const anyLetter = "Z"

// Values returns the parameters of a query; those that are zero are left out.
func (q Query) Values() url.Values {
	v := url.Values{"Request": {"Search"}, "Format": {"plain"}}
	set := func(name, value string, given bool) {
		if given {
			v.Set(name, value)
		}
	}
	set("IAGACode", strings.Join(q.Stations, ","), len(q.Stations) > 0)
	set("TypeCode", string(rune(q.Type)), q.Type != 0)
	set("FormatCode", string(rune(q.Format)), q.Format != 0)
	set("EarliestData", q.EarliestData.UTC().Format(time.DateTime), !q.EarliestData.IsZero())
	set("LatestData", q.LatestData.UTC().Format(time.DateTime), !q.LatestData.IsZero())
	set("EarliestUpload", q.EarliestUpload.UTC().Format(time.DateTime), !q.EarliestUpload.IsZero())
	set("LatestUpload", q.LatestUpload.UTC().Format(time.DateTime), !q.LatestUpload.IsZero())
	set("SmallestID", strconv.FormatInt(q.SmallestID, 10), q.SmallestID != 0)
	set("LargestID", strconv.FormatInt(q.LargestID, 10), q.LargestID != 0)
	set("MaxNResults", strconv.Itoa(q.MaxResults), q.MaxResults != 0)
	return v
}

// ParseQuery reads the parameters of a query. The error names the one at fault.
func ParseQuery(v url.Values) (Query, error) {
	var q Query
	var err error
	parse := func(name string, f func(s string) bool) {
		if s := v.Get(name); s != "" && err == nil && !f(s) {
			err = fmt.Errorf("gin: search: %s is %q", name, s)
		}
	}
	letter := func(to *byte) func(string) bool {
		return func(s string) bool {
			if s != anyLetter {
				*to = s[0]
			}
			return len(s) == 1
		}
	}
	instant := func(to *time.Time) func(string) bool {
		return func(s string) bool {
			t, err := time.Parse(time.DateTime, s)
			*to = t
			return err == nil
		}
	}
	id := func(to *int64) func(string) bool {
		return func(s string) bool {
			n, err := strconv.ParseInt(s, 10, 64)
			*to = n
			return err == nil && n >= 0
		}
	}
	var most int64
	parse("IAGACode", func(s string) bool { q.Stations = strings.Split(s, ","); return true })
	parse("TypeCode", letter(&q.Type))
	parse("FormatCode", letter(&q.Format))
	parse("EarliestData", instant(&q.EarliestData))
	parse("LatestData", instant(&q.LatestData))
	parse("EarliestUpload", instant(&q.EarliestUpload))
	parse("LatestUpload", instant(&q.LatestUpload))
	parse("SmallestID", id(&q.SmallestID))
	parse("LargestID", id(&q.LargestID))
	parse("MaxNResults", id(&most))
	q.MaxResults = int(min(most, 1<<30))
	return q, err
}
