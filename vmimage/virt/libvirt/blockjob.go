package libvirt

import (
	"context"
	"fmt"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Commit is as virt.Host has it.
func (h *Host) Commit(ctx context.Context, uuid, name string, bytesPerSecond uint64) error {
	return h.on(ctx, "commit "+name+" of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		if _, err := running(lv, d, name); err != nil {
			return err
		}
		flags := libvirt.DomainBlockCommitActive | libvirt.DomainBlockCommitShallow | libvirt.DomainBlockCommitBandwidthBytes
		err := lv.DomainBlockCommit(d, name, nil, nil, bytesPerSecond, flags)
		if code(err) == libvirt.ErrInvalidArg { // there is nothing beneath what it writes to
			return as(err, virt.ErrState)
		}
		return err
	})
}

// BlockJob is as virt.Host has it.
func (h *Host) BlockJob(ctx context.Context, uuid, name string) (job virt.BlockJob, err error) {
	err = h.on(ctx, "job on "+name+" of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		job, _, err = blockJob(lv, d, name)
		return err
	})
	return job, err
}

// blockJob is the job of a disk, and where it copies to.
func blockJob(lv *libvirt.Libvirt, d libvirt.Domain, name string) (job virt.BlockJob, to string, err error) {
	found, kind, _, done, total, err := lv.DomainGetBlockJobInfo(d, name, 0)
	switch code(err) {
	case libvirt.ErrOperationInvalid: // it is off
		err, found = nil, 0
	case libvirt.ErrInvalidArg: // it has no such disk
		err = as(err, virt.ErrNotFound)
	}
	if err != nil {
		return job, "", err
	}
	k, err := find(lv, d, 0, name)
	if err != nil {
		return job, "", err
	}
	if found == 0 {
		return job, "", fmt.Errorf("no job: %w", virt.ErrNotFound)
	}
	job = virt.BlockJob{
		Commit: libvirt.DomainBlockJobType(kind) == libvirt.DomainBlockJobTypeActiveCommit,
		Done:   int64(done),
		Total:  int64(total),
	}
	// Not done == total, which is so before it begins, and of a job whose end moves on.
	if job.Commit && k.Mirror != nil {
		job.Ready = k.Mirror.Ready == "yes"
		to = k.Mirror.Source.path()
	}
	return job, to, nil
}

// Pivot is as virt.Host has it.
func (h *Host) Pivot(ctx context.Context, uuid, name string) error {
	return h.on(ctx, "pivot "+name+" of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		job, base, err := blockJob(lv, d, name)
		if err != nil {
			return err
		}
		if !job.Ready {
			return fmt.Errorf("no commit is ready: %w", virt.ErrBusy)
		}
		if err := lv.DomainBlockJobAbort(d, name, libvirt.DomainBlockJobAbortPivot); err != nil {
			return err
		}
		return until(ctx, func() (string, error) { return unsettled(lv, d, name, base) })
	})
}

// unsettled says where a running machine does not yet write to a file; "" if by all accounts
// it does.
func unsettled(lv *libvirt.Libvirt, d libvirt.Domain, name, path string) (string, error) {
	now, err := running(lv, d, name)
	if err != nil {
		return "", err
	}
	files, err := chain(lv, d, now)
	if err != nil {
		return "", err
	}
	next, err := find(lv, d, libvirt.DomainXMLInactive, name)
	if err != nil {
		return "", err
	}
	switch {
	case now.Mirror != nil || now.Source.path() != path:
		return "its description names " + now.Source.path(), nil
	case next.Source.path() != path:
		return "its lasting description names " + next.Source.path(), nil
	case files[0] != path:
		return "QEMU names " + files[0], nil
	}
	return "", nil
}

// AbortBlockJob is as virt.Host has it.
func (h *Host) AbortBlockJob(ctx context.Context, uuid, name string) error {
	return h.on(ctx, "abort the job on "+name+" of", uuid, func(lv *libvirt.Libvirt, d libvirt.Domain) error {
		if _, _, err := blockJob(lv, d, name); err != nil {
			return err
		}
		if err := lv.DomainBlockJobAbort(d, name, 0); err != nil {
			return err
		}
		return until(ctx, func() (string, error) {
			k, err := find(lv, d, 0, name)
			if err != nil {
				return "", err
			}
			found, _, _, _, _, err := lv.DomainGetBlockJobInfo(d, name, 0)
			if code(err) == libvirt.ErrOperationInvalid { // switched off meanwhile
				return "", nil
			}
			if found != 0 || k.Mirror != nil {
				return "the job goes on", err
			}
			return "", err
		})
	})
}

// settling is how long libvirt may take for what it has agreed to.
const settling = time.Minute

// until asks again and again what is missing, until nothing is.
func until(ctx context.Context, missing func() (string, error)) error {
	deadline := time.Now().Add(settling)
	for {
		what, err := missing()
		if what == "" || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v %s: %w", settling, what, virt.ErrBusy)
		}
		select {
		case <-ctx.Done():
			return lost(ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
