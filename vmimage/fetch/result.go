package fetch

import (
	"errors"
	"fmt"
	"time"

	"github.com/obskeep/obskeep/internal/units"
	"github.com/obskeep/obskeep/report"
	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/vmimage"
)

// Result is what became of an image that was to be fetched, or is damaged, or of a machine
// that has no new image, or is late; that has no ID.
type Result struct {
	Machine, ID string
	Start, End  time.Time

	Image   vmimage.Image   // that is here now, verified; zero if it is not
	Stats   transfer.Stats  // of its transfer
	Removed []vmimage.Image // to make room, or as the policy says

	// Newest and Age are those of [Machine]; Late that a machine has no image that
	// is new enough.
	Newest vmimage.Image
	Age    time.Duration
	Late   bool

	// Gone: the source has no image of the machine any more, or this one was
	// removed there since the plan was made, which is no failure.
	Gone bool

	// Err is why there is no image; if there is one, what could not be removed.
	// It is a [*DamagedError] for what is damaged.
	Err error

	alone bool // nothing else of the machine is told
}

// Job is the result for a report: under the name of the machine, with the ID if there is more
// of it than one result.
func (r Result) Job() report.Job {
	job := report.Job{Name: r.Machine, Start: r.Start, End: r.End, Err: r.Err, Literal: r.Stats.Literal}
	if r.ID != "" && !r.alone {
		job.Name += "/" + r.ID
	}
	damaged, isDamaged := errors.AsType[*DamagedError](r.Err)
	switch {
	case isDamaged && !damaged.Here, r.Late, r.Err != nil && r.Image.ID != "":
		job.Outcome = report.Warning
	case r.Err != nil:
		job.Outcome = report.Failed
	}
	if i := r.Image; i.ID != "" {
		var size int64
		for _, f := range i.Files {
			size += f.Size
		}
		job.Files, job.Verified, job.Bytes = len(i.Files), len(i.Files), i.Allocated()
		job.Notes = append(job.Notes,
			fmt.Sprintf("image %s, %s: %s, with holes %s", i.ID, i.Consistency, units.Bytes(i.Allocated()), units.Bytes(size)),
			fmt.Sprintf("%s were sent of %s: the rest was here, or is zeros", units.Bytes(r.Stats.Literal), units.Bytes(r.Stats.Size)))
		if i.Down > 0 {
			job.Notes = append(job.Notes, fmt.Sprintf("the machine was down for %v, of which its guest took %v to shut down",
				i.Down.Round(100*time.Millisecond), i.Shutdown.Round(100*time.Millisecond)))
		}
	}
	switch {
	case r.ID != "" && r.Gone:
		job.Notes = append(job.Notes, fmt.Sprintf("the source has removed image %s since the plan was made", r.ID))
	case r.ID == "" && r.Gone && r.Newest.ID != "":
		job.Notes = append(job.Notes, fmt.Sprintf("THE SOURCE HAS NO IMAGE OF IT; the newest here is %s, %s old", r.Newest.ID, age(r.Age)))
	case r.ID == "" && r.Gone:
		job.Notes = append(job.Notes, "there is no image of it that can be relied on")
	case r.ID == "" && r.Late:
		job.Notes = append(job.Notes, fmt.Sprintf("NO NEW IMAGE: the newest is %s, %s old", r.Newest.ID, age(r.Age)))
	case r.ID == "":
		job.Notes = append(job.Notes, fmt.Sprintf("no new image: the newest is %s, %s old", r.Newest.ID, age(r.Age)))
	}
	for _, i := range r.Removed {
		job.Notes = append(job.Notes, fmt.Sprintf("removed image %s, %s", i.ID, units.Bytes(i.Allocated())))
	}
	return job
}

// age is how a person tells it.
func age(d time.Duration) string {
	switch day := 24 * time.Hour; {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
