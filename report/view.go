package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obskeep/obskeep/internal/units"
	"github.com/obskeep/obskeep/julian"
)

// view is a report in the words of both renderings, safe to print. Only HTML
// escaping is left to do.
type view struct {
	Subject string
	Outcome Outcome
	Title   string // task and day
	Host    string
	Counts  string
	Window  string
	Trouble []entry // worse than OK, the worst first
	Columns []string
	Rows    []row    // a cell for each column, the worst first
	Total   []string // a cell for each column; nil if there is nothing to add up
	Notes   []string
	Details []entry // OK and with notes, in the order of the report
	Version string
	Legend  []string // a sentence for each column that needs one
}

// entry is what words say of a job.
type entry struct {
	Outcome Outcome
	Label   string
	Window  string
	Errors  []string
	Notes   []string
}

// row is what numbers say of a job.
type row struct {
	Outcome Outcome
	Cells   []string
}

const none = "-"

func (r *Report) view() *view {
	v := &view{
		Subject: r.Subject(),
		Outcome: r.Outcome(),
		Title:   r.title() + r.daySuffix(),
		Host:    printable(r.Host),
		Counts:  r.counts(),
		Window:  window(r.Start, r.End),
		Notes:   printables(r.Notes),
		Version: printable(r.Version),
	}
	var worstFirst []*Job
	for i := range r.Jobs {
		worstFirst = append(worstFirst, &r.Jobs[i])
	}
	slices.SortStableFunc(worstFirst, func(a, b *Job) int { return cmp.Compare(b.outcome(), a.outcome()) })
	for _, j := range worstFirst {
		e := entry{j.outcome(), j.label(), window(j.Start, j.End), printables(errorLines(j.Err)), printables(j.Notes)}
		switch {
		case e.Outcome != OK:
			v.Trouble = append(v.Trouble, e)
		case e.Notes != nil:
			v.Details = append(v.Details, e)
		}
	}
	v.table(r.Name, worstFirst)
	return v
}

// column is one column of numbers. A column in which no job has a number is
// left out.
type column struct {
	name   string
	cell   func(*Job) string
	total  bool // whether the sum over all jobs means something
	legend string
}

var columns = []column{
	{"files", func(j *Job) string { return number(j.Files) }, true, ""},
	{"size", func(j *Job) string { return size(j.Bytes) }, true, ""},
	{"wire", wireCell, true, "Size is the data now held, wire what crossed the network for it."},
	{"speed", speedCell, false, ""},
	{"time", func(j *Job) string { return duration(j.Duration()) }, false, ""},
	{"verified", verifiedCell, true, "Verified files were read back and compared."},
}

// table fills Columns, Rows, Total and Legend. The task that the report is
// named after is not repeated before each day.
func (v *view) table(task string, jobs []*Job) {
	var sum Job
	v.Columns = []string{"outcome", "job"}
	for _, j := range jobs {
		label := j.label()
		if j.Name == task && j.Day != (julian.Date{}) {
			label = j.Day.String()
		}
		v.Rows = append(v.Rows, row{j.outcome(), []string{j.outcome().String(), label}})
		sum.Files += j.Files
		sum.Bytes += j.Bytes
		sum.Literal += j.Literal
		sum.Verified += j.Verified
		sum.Unverified += j.Unverified
	}
	total := []string{"total", fmt.Sprintf("%d jobs", len(jobs))}
	for _, c := range columns {
		cells := make([]string, len(jobs))
		used := false
		for i, j := range jobs {
			cells[i] = c.cell(j)
			used = used || cells[i] != none
		}
		if !used {
			continue
		}
		v.Columns = append(v.Columns, c.name)
		if c.legend != "" {
			v.Legend = append(v.Legend, c.legend)
		}
		for i := range cells {
			v.Rows[i].Cells = append(v.Rows[i].Cells, cells[i])
		}
		if c.total {
			total = append(total, c.cell(&sum))
		} else {
			total = append(total, "")
		}
	}
	if len(jobs) > 1 && len(v.Columns) > 2 {
		v.Total = total
	}
}

// wireCell tells a job that had to move nothing from one that knows nothing.
func wireCell(j *Job) string {
	if j.Literal == 0 && (j.Files > 0 || j.Bytes > 0) {
		return units.Bytes(0)
	}
	return size(j.Literal)
}

func speedCell(j *Job) string {
	if j.Speed() <= 0 {
		return none
	}
	return units.Bytes(int64(j.Speed())) + "/s"
}

func verifiedCell(j *Job) string {
	if j.Verified == 0 && j.Unverified == 0 {
		return none
	}
	return fmt.Sprintf("%d/%d", j.Verified, j.Verified+j.Unverified)
}

func number(n int) string {
	if n == 0 {
		return none
	}
	return strconv.Itoa(n)
}

func size(n int64) string {
	if n == 0 {
		return none
	}
	return units.Bytes(n)
}

// duration rounds to seconds, or to milliseconds below one second.
func duration(d time.Duration) string {
	switch {
	case d <= 0:
		return none
	case d < time.Second:
		return max(d.Round(time.Millisecond), time.Millisecond).String()
	}
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// window returns both ends in UTC and, if both are known, the time between.
func window(start, end time.Time) string {
	const day, clock = "2006-01-02", "15:04:05"
	s, e := start.UTC(), end.UTC()
	from, to := s.Format(day+" "+clock), e.Format(day+" "+clock)
	switch {
	case start.IsZero() && end.IsZero():
		return ""
	case end.IsZero():
		return "began " + from + " UTC, end not known"
	case start.IsZero():
		return "ended " + to + " UTC, begin not known"
	case s.Format(day) == e.Format(day):
		to = e.Format(clock)
	}
	text := from + " to " + to + " UTC"
	if d := duration(elapsed(start, end)); d != none {
		text += " (" + d + ")"
	}
	return text
}

func printables(texts []string) []string {
	var safe []string
	for _, text := range texts {
		safe = append(safe, printable(text))
	}
	return safe
}
