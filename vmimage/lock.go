package vmimage

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"time"
)

// The lock that keeps engines of other machines away is an element in the
// description of the machine.
const (
	lockNamespace = "https://github.com/obskeep/obskeep/vmimage"
	lockPrefix    = "obskeep"
)

type lockElement struct {
	XMLName xml.Name `xml:"lock"`
	Owner   string   `xml:"owner,attr"` // of the journal in which the job is
	Host    string   `xml:"host,attr"`
	Since   string   `xml:"since,attr"`
}

// TakenError says that an engine with another journal has a machine, or had it when it
// was killed. That engine's next run gives it free.
type TakenError struct{ Machine, Host, Since string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("another engine, on %s, has had %s since %s; if it is gone for good: virsh metadata %s %s --remove --config",
		e.Host, e.Machine, e.Since, e.Machine, lockNamespace)
}

// lockOf returns who has a machine, nil if nobody has.
func (e *Engine) lockOf(ctx context.Context, uuid string) (*lockElement, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	text, err := e.c.Host.Metadata(ctx, uuid, lockNamespace)
	if err != nil || text == "" {
		return nil, err
	}
	var l lockElement
	if err := xml.Unmarshal([]byte(text), &l); err != nil {
		return nil, fmt.Errorf("lock of the machine: %w", err)
	}
	return &l, nil
}

// lockMachine takes the lock. Of two engines that find it free at the same moment
// the one that writes last has it, so it is looked at again after a while.
func (j *job) lockMachine(ctx context.Context) error {
	for _, settle := range []time.Duration{0, 200 * time.Millisecond} {
		l, err := j.lockOf(ctx, j.UUID)
		if err != nil {
			return err
		}
		if l != nil && l.Owner != j.c.Journal.owner {
			return &TakenError{j.Name, l.Host, l.Since}
		}
		if settle > 0 {
			return nil
		}
		hostname, err := os.Hostname()
		if err != nil {
			return err
		}
		l = &lockElement{Owner: j.c.Journal.owner, Host: hostname, Since: j.now().Format(time.RFC3339)}
		element, err := xml.Marshal(l)
		if err != nil {
			return err
		}
		err = j.try(ctx, func(ctx context.Context, uuid string) error {
			return j.c.Host.SetMetadata(ctx, uuid, lockPrefix, lockNamespace, string(element))
		})
		if err != nil {
			return err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) lockedByUs(ctx context.Context) (bool, error) {
	l, err := j.lockOf(ctx, j.UUID)
	return l != nil && l.Owner == j.c.Journal.owner, err
}

func (j *job) unlockMachine(ctx context.Context) error {
	return j.try(ctx, func(ctx context.Context, uuid string) error {
		return j.c.Host.SetMetadata(ctx, uuid, lockPrefix, lockNamespace, "")
	})
}
