package report

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/obskeep/obskeep/julian"
)

// Job is one piece of work and how it ended. Every field may be zero; what
// is zero is left out of the renderings, or shown as "-" in a table.
type Job struct {
	Name    string      // unique in its report
	Day     julian.Date // the day the job was about; zero: not about a day
	Outcome Outcome     // OK together with an Err counts as Failed

	// Start and End are the window in which the job ran; printed in UTC.
	Start, End time.Time

	Files   int   // files now held
	Bytes   int64 // bytes of data now held
	Literal int64 // bytes that crossed the wire to get there

	Verified   int // files whose bytes were read back and compared
	Unverified int // files taken on trust

	Err   error    // why it is not OK; nil if the notes say enough
	Notes []string // what else a reader wants to know, a line each
}

// Duration returns the length of the window; zero if an end of the window is
// not known, or if a clock was set back in between.
func (j *Job) Duration() time.Duration { return elapsed(j.Start, j.End) }

// Speed returns literal bytes per second; zero if the duration is zero.
func (j *Job) Speed() float64 {
	d := j.Duration()
	if d == 0 {
		return 0
	}
	return float64(j.Literal) / d.Seconds()
}

// outcome is the outcome to show: an error is never OK, and a number that is
// no outcome is never better than Failed.
func (j *Job) outcome() Outcome {
	if j.Outcome > Failed || j.Outcome == OK && j.Err != nil {
		return Failed
	}
	return j.Outcome
}

// label is the name of the job with its day, which many names already hold.
func (j *Job) label() string {
	name := printable(j.Name)
	if j.Day == (julian.Date{}) {
		if name == "" {
			return "(no name)"
		}
		return name
	}
	day := j.Day.String()
	if strings.Contains(name, day) {
		return name
	}
	return strings.TrimLeft(name+" "+day, " ")
}

// Report is what was done by one run of one task. Fields that are zero are
// left out of the renderings. A Report is not safe for concurrent use while
// it is being changed; all methods but Expect leave it as it is.
type Report struct {
	Name       string      // of the task: "supim"
	Host       string      // the machine that ran it
	Day        julian.Date // the day the run was for
	Start, End time.Time   // of the run; printed in UTC
	Jobs       []Job       // in the order in which they ran
	Notes      []string    // about the whole run, a line each
	Version    string      // of the program: "backup v1.2.0"
}

// Expect adds a Missed job for each name that no job has. Call it once all
// jobs have reported; calling it again changes nothing.
func (r *Report) Expect(names ...string) {
	heard := make(map[string]bool, len(r.Jobs))
	for i := range r.Jobs {
		heard[r.Jobs[i].Name] = true
	}
	for _, name := range names {
		if !heard[name] {
			heard[name] = true
			r.Jobs = append(r.Jobs, Job{
				Name: name, Outcome: Missed, Notes: []string{"expected, and nothing was heard of it"},
			})
		}
	}
}

// Outcome returns the worst outcome of the jobs. A report without any job is
// Missed: a run that did nothing says so with an OK job of its own.
func (r *Report) Outcome() Outcome {
	if len(r.Jobs) == 0 {
		return Missed
	}
	worst := OK
	for i := range r.Jobs {
		worst = max(worst, r.Jobs[i].outcome())
	}
	return worst
}

// maxName is the number of characters of a report's name that a subject holds.
const maxName = 48

// Subject returns one line for the subject of a mail: the outcome, the task,
// its day, and how many jobs had each outcome, in the order of the constants:
//
//	[FAILED] supim 2026-268: 2 ok, 1 failed
//
// It is valid UTF-8 without control characters, whatever the name holds, and
// a name of more than 48 characters is cut. A report without a name shows
// its host.
func (r *Report) Subject() string {
	return fmt.Sprintf("[%s] %s: %s", strings.ToUpper(r.Outcome().String()), cut(r.title(), maxName, r.daySuffix()), r.counts())
}

func (r *Report) title() string {
	for _, name := range []string{r.Name, r.Host} {
		if name = strings.TrimSpace(printable(name)); name != "" {
			return name
		}
	}
	return "report"
}

func (r *Report) daySuffix() string {
	if r.Day == (julian.Date{}) {
		return ""
	}
	return " " + r.Day.String()
}

// tally returns the number of jobs by outcome.
func (r *Report) tally() (n [Failed + 1]int) {
	for i := range r.Jobs {
		n[r.Jobs[i].outcome()]++
	}
	return n
}

func (r *Report) counts() string {
	var parts []string
	for o, n := range r.tally() {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, Outcome(o)))
		}
	}
	if parts == nil {
		return "nothing reported"
	}
	return strings.Join(parts, ", ")
}

func elapsed(start, end time.Time) time.Duration {
	if start.IsZero() || end.IsZero() {
		return 0
	}
	return max(end.Sub(start), 0)
}

// cut returns s with at most n characters, and then suffix.
func cut(s string, n int, suffix string) string {
	if utf8.RuneCountInString(s) <= n {
		return s + suffix
	}
	return string([]rune(s)[:n-1]) + "…" + suffix
}
