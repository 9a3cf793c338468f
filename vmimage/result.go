package vmimage

import (
	"errors"
	"fmt"
	"time"

	"github.com/obskeep/obskeep/internal/units"
	"github.com/obskeep/obskeep/report"
)

// Result is what became of a machine in a run.
type Result struct {
	Machine    string
	Start, End time.Time

	Image    Image    // the new one, verified; zero if there is none
	MadeRoom []Image  // removed before anything was begun, so that there is room
	Removed  []Image  // once there was a new one, as the policy says
	Settled  []string // what was put in order after a run that did not end
	Notes    []string // what to look at, a line each

	// Err is why there is no image, or what could not be put in order: a
	// [*RestartError] if the machine does not run.
	Err error
}

// join adds a result to what is already known of the machine.
func join(results []Result, r Result) []Result {
	for i := range results {
		if old := &results[i]; old.Machine == r.Machine {
			r.Start = old.Start
			if r.Image.ID == "" {
				r.Image = old.Image
			}
			r.MadeRoom = append(old.MadeRoom, r.MadeRoom...)
			r.Removed = append(old.Removed, r.Removed...)
			r.Settled = append(old.Settled, r.Settled...)
			r.Notes = append(old.Notes, r.Notes...)
			if old.Err != nil && r.Err != nil {
				r.Err = errors.Join(old.Err, r.Err)
			} else if old.Err != nil {
				r.Err = old.Err
			}
			*old = r
			return results
		}
	}
	return append(results, r)
}

// Job is the result for a report. A machine that was not touched is missed, one whose run
// had to be settled, or that has notes, a warning.
func (r Result) Job() report.Job {
	job := report.Job{Name: r.Machine, Start: r.Start, End: r.End, Err: r.Err}
	_, refused := r.Err.(*RefusedError) // and nothing else
	switch {
	case refused:
		job.Outcome = report.Missed
	case r.Err != nil:
		job.Outcome = report.Failed
	case len(r.Settled)+len(r.Notes) > 0:
		job.Outcome = report.Warning
	}
	if i := r.Image; i.ID != "" {
		job.Files, job.Verified, job.Bytes = len(i.Files), len(i.Files), i.Allocated()
		job.Notes = append(job.Notes, fmt.Sprintf("image %s, %s", i.ID, i.Consistency))
		if i.Down > 0 {
			job.Notes = append(job.Notes, fmt.Sprintf("down for %v, of which its guest took %v to shut down; then it booted",
				i.Down.Round(100*time.Millisecond), i.Shutdown.Round(100*time.Millisecond)))
		}
	}
	for _, i := range r.MadeRoom {
		job.Notes = append(job.Notes, fmt.Sprintf("removed image %s, %s, to make room", i.ID, units.Bytes(i.Allocated())))
	}
	for _, i := range r.Removed {
		job.Notes = append(job.Notes, fmt.Sprintf("removed image %s, %s", i.ID, units.Bytes(i.Allocated())))
	}
	if len(r.Settled) > 0 {
		job.Notes = append(job.Notes, "put in order after a run that did not end:")
		for _, s := range r.Settled {
			job.Notes = append(job.Notes, "  "+s)
		}
	}
	job.Notes = append(job.Notes, r.Notes...)
	return job
}
