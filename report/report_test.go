package report_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/obskeep/obskeep/julian"
	"github.com/obskeep/obskeep/report"
)

// at returns a time of 25 September 2026, day 268, in UTC.
func at(hour, minute, second int) time.Time {
	return time.Date(2026, 9, 25, hour, minute, second, 0, time.UTC)
}

func day(n int) julian.Date { return julian.Date{Year: 2026, Day: n} }

// A report is as bad as its worst job.
func TestReport_IsAsBadAsItsWorstJob(t *testing.T) {
	t.Parallel()
	all := []report.Outcome{report.OK, report.Warning, report.Missed, report.Failed}
	for _, first := range all {
		for _, second := range all {
			r := report.Report{Jobs: []report.Job{{Outcome: first}, {Outcome: second}}}
			require.Equal(t, max(first, second), r.Outcome())
		}
	}
}

// A job with an error is not OK, whatever its Outcome says, and a number
// that is no outcome is no better than Failed.
func TestReport_AJobWithAnErrorIsNotOK(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule string
		job  report.Job
		want report.Outcome
		text string
	}{
		{"an error with OK is failed", report.Job{Err: errors.New("cut")}, report.Failed, "[FAILED] supim: 1 failed"},
		{"an error with a warning is a warning", report.Job{Outcome: report.Warning, Err: errors.New("cut")}, report.Warning, "[WARNING] supim: 1 warning"},
		{"no such outcome is failed", report.Job{Outcome: 9}, report.Failed, "[FAILED] supim: 1 failed"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			r := report.Report{Name: "supim", Jobs: []report.Job{row.job}}
			require.Equal(t, row.want, r.Outcome())
			require.Equal(t, row.text, r.Subject())
			var b strings.Builder
			require.NoError(t, r.WriteText(&b))
			require.NoError(t, r.WriteHTML(&b))
			require.NoError(t, r.WriteJSON(&b))
			require.NotContains(t, strings.ToLower(b.String()), ">ok<")
		})
	}
}

// A report without jobs is Missed: a run that did nothing says so itself.
func TestReport_SilenceIsNotSuccess(t *testing.T) {
	t.Parallel()
	var r report.Report
	require.Equal(t, report.Missed, r.Outcome())
	require.Equal(t, "[MISSED] report: nothing reported", r.Subject())
	r.Expect()
	require.Equal(t, report.Missed, r.Outcome())
}

// An expected job that reported nothing is Missed; one that reported is left
// as it is, and expecting twice changes nothing.
func TestExpect_SilenceIsNotSuccess(t *testing.T) {
	t.Parallel()
	r := report.Report{Jobs: []report.Job{{Name: "supim"}}}
	r.Expect("supim", "imf", "imf")
	require.Equal(t, report.Missed, r.Outcome())
	require.Len(t, r.Jobs, 2)
	require.Equal(t, report.OK, r.Jobs[0].Outcome)
	require.Equal(t, "imf", r.Jobs[1].Name)
	require.Equal(t, report.Missed, r.Jobs[1].Outcome)

	r.Expect("imf", "supim")
	require.Len(t, r.Jobs, 2)
}

func TestReport_Subject(t *testing.T) {
	t.Parallel()
	job := func(o report.Outcome) report.Job { return report.Job{Outcome: o} }
	long := strings.Repeat("ñ", 60)
	for _, row := range []struct {
		rule string
		r    report.Report
		want string
	}{
		{
			"outcome, task, day and counts in the order of the constants",
			report.Report{Name: "supim", Day: day(268), Jobs: []report.Job{
				job(report.Failed), job(report.OK), job(report.Missed), job(report.OK), job(report.Warning),
			}},
			"[FAILED] supim 2026-268: 2 ok, 1 warning, 1 missed, 1 failed",
		},
		{
			"counts of zero are left out",
			report.Report{Name: "supim", Day: day(268), Jobs: []report.Job{job(report.OK), job(report.OK), job(report.Missed)}},
			"[MISSED] supim 2026-268: 2 ok, 1 missed",
		},
		{"no day", report.Report{Name: "vms", Jobs: []report.Job{job(report.OK)}}, "[OK] vms: 1 ok"},
		{"the host stands for a name", report.Report{Host: "backup1", Jobs: []report.Job{job(report.OK)}}, "[OK] backup1: 1 ok"},
		{
			"a long name is cut between characters",
			report.Report{Name: long, Day: day(268), Jobs: []report.Job{job(report.OK)}},
			"[OK] " + strings.Repeat("ñ", 47) + "… 2026-268: 1 ok",
		},
		{
			"control characters are escaped",
			report.Report{Name: "a\r\nBcc: x\x00\x1b[2J\u2028\u202e", Jobs: []report.Job{job(report.OK)}},
			`[OK] a\r\nBcc: x\x00\x1b[2J\u2028\u202e: 1 ok`,
		},
		{"bytes that are not UTF-8 are escaped", report.Report{Name: "a\xff\xfe", Jobs: []report.Job{job(report.OK)}}, `[OK] a\xff\xfe: 1 ok`},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, row.r.Subject())
		})
	}
}

// A subject is one line of valid UTF-8 without control characters.
func FuzzSubject_IsSafeForAHeader(f *testing.F) {
	f.Add("supim", "backup1", 2)
	f.Add("a\r\nBcc: x", "\xff", 0)
	f.Add(strings.Repeat("日", 100)+"\n", "\u2029", 1)
	f.Fuzz(func(t *testing.T, name, host string, jobs int) {
		r := report.Report{Name: name, Host: host, Jobs: make([]report.Job, uint(jobs)%100)}
		s := r.Subject()
		require.True(t, utf8.ValidString(s), "%q", s)
		require.NotContains(t, s, "\n")
		require.Equal(t, -1, strings.IndexFunc(s, unicode.IsControl), "%q", s)
		require.LessOrEqual(t, utf8.RuneCountInString(s), 120)
	})
}

func TestJob_Duration(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule       string
		start, end time.Time
		want       time.Duration
	}{
		{"the length of the window", at(6, 0, 2), at(6, 14, 40), 14*time.Minute + 38*time.Second},
		{"zero if the begin is not known", time.Time{}, at(6, 0, 0), 0},
		{"zero if the end is not known", at(6, 0, 0), time.Time{}, 0},
		{"zero if the clock was set back", at(6, 0, 1), at(6, 0, 0), 0},
		{"zones do not matter", at(6, 0, 0).In(time.FixedZone("BRT", -3*3600)), at(6, 0, 1), time.Second},
	} {
		t.Run(row.rule, func(t *testing.T) {
			require.Equal(t, row.want, (&report.Job{Start: row.start, End: row.end}).Duration())
		})
	}
}

// The speed is that of the data that crossed the wire, not of the data held.
func TestJob_SpeedCountsLiteralBytes(t *testing.T) {
	t.Parallel()
	j := report.Job{Start: at(6, 0, 0), End: at(6, 0, 10), Bytes: 1 << 30, Literal: 5000}
	require.InDelta(t, 500.0, j.Speed(), 0)
	j.End = j.Start
	require.Zero(t, j.Speed())
	require.False(t, math.IsNaN((&report.Job{}).Speed()))
}

func TestOutcome_TextRoundTrips(t *testing.T) {
	t.Parallel()
	for o := report.OK; o <= report.Failed; o++ {
		text, err := o.MarshalText()
		require.NoError(t, err)
		require.Equal(t, o.String(), string(text))
		back := report.Outcome(9)
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, o, back)
	}
}

func TestOutcome_RefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	_, err := report.Outcome(4).MarshalText()
	require.ErrorIs(t, err, report.ErrOutcome)
	require.Equal(t, "outcome(4)", report.Outcome(4).String())
	for _, text := range []string{"", "OK", "fail", "ok "} {
		o := report.Missed
		require.ErrorIs(t, o.UnmarshalText([]byte(text)), report.ErrOutcome)
		require.Equal(t, report.Missed, o)
	}
}

// Rendering leaves the report as it was.
func TestReport_RenderingChangesNothing(t *testing.T) {
	t.Parallel()
	for name, r := range situations() {
		want := situations()[name]
		var b strings.Builder
		require.NoError(t, r.WriteText(&b))
		require.NoError(t, r.WriteHTML(&b))
		require.NoError(t, r.WriteJSON(&b))
		require.Empty(t, cmp.Diff(want, r, byText), name)
	}
}

func ExampleReport_Subject() {
	r := report.Report{
		Name: "supim",
		Day:  julian.Date{Year: 2026, Day: 268},
		Jobs: []report.Job{
			{Name: "2026-268"},
			{Name: "2026-267"},
			{Name: "2026-266", Outcome: report.Missed},
		},
	}
	fmt.Println(r.Subject())
	// Output: [MISSED] supim 2026-268: 2 ok, 1 missed
}

// A weekly run must image every machine: one that nobody reported is missed.
func ExampleReport_Expect() {
	r := report.Report{Name: "images", Jobs: []report.Job{{Name: "web01"}}}
	r.Expect("web01", "db01")
	fmt.Println(r.Outcome())
	fmt.Println(r.Jobs[1].Name, r.Jobs[1].Outcome)
	// Output:
	// missed
	// db01 missed
}
