package vmimage

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// stamp is what changes when a file is written to.
type stamp struct {
	size    int64
	changed time.Time
}

func (j *job) stamps() ([]stamp, error) {
	var stamps []stamp
	for _, d := range j.Disks {
		info, err := os.Stat(d.Base)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, stamp{info.Size(), info.ModTime()})
	}
	return stamps, nil
}

// unchanged returns an error if what was read is not what it was before.
func (j *job) unchanged(ctx context.Context, before []stamp) error {
	after, err := j.stamps()
	if err != nil {
		return err
	}
	for i := range before {
		if before[i] != after[i] {
			return fmt.Errorf("%s: %w", j.Disks[i].Base, ErrStarted)
		}
	}
	return j.stillOff(ctx)
}

// stillOff returns an error if a machine that was off is not: it has no overlay that takes what it
// writes.
func (j *job) stillOff(ctx context.Context) error {
	if j.Ran {
		return nil
	}
	m, err := j.machine(ctx)
	if err == nil && m.State != virt.Off {
		err = ErrStarted
	}
	return err
}
