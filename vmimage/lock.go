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

// TakenError says that another engine has a machine, or had it when it was killed. Then
// the next run with its journal gives it free.
type TakenError struct {
	Machine, Host, Since string
	Ours                 bool // it has the same journal
}

func (e *TakenError) Error() string {
	if e.Ours {
		return "a run of this journal has it since " + e.Since + ", or did not end: the next run, or recover, puts it in order"
	}
	return fmt.Sprintf("another engine, on %s, has had %s since %s; if it is gone for good: virsh metadata %q %s --remove --config",
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
			return j.taken(j.Name, l)
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

func (e *Engine) taken(machine string, l *lockElement) error {
	return &TakenError{machine, l.Host, l.Since, e.c.Journal != nil && l.Owner == e.c.Journal.owner}
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
