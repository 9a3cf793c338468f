package transfer

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sync/errgroup"
)

// Action is what a step of a plan does.
type Action uint8

const (
	Leave   Action = iota // unchanged
	Send                  // a file that is missing or differs
	MakeDir               // a directory that is missing
	Link                  // a symbolic link that is missing or differs
	SetInfo               // mode or time differ
)

// Step is what a plan does with one entry. The entry's Name is below From.
type Step struct {
	Action Action
	Info   Info // of the source
	Old    Info // of the destination; zero if there is none
}

// Skip is an entry that a mirror leaves out, and why.
type Skip struct{ Name, Reason string }

// Plan is what a mirror would do: a value to look at before [Plan.Run].
type Plan struct {
	Steps   []Step       // in the order of their names
	Skipped []Skip       // special files, reserved names
	Failed  []*FileError // what could not be listed, or is in the way

	dst, src Store
	o        Options
}

// Size is the number of bytes of all files, and of those to be sent.
func (p *Plan) Size() (all, send int64) {
	for _, s := range p.Steps {
		if s.Info.Mode.IsRegular() {
			all += s.Info.Size
			if s.Action == Send {
				send += s.Info.Size
			}
		}
	}
	return all, send
}

// PlanMirror compares two trees by size, time, mode and link target, and
// returns what [Mirror] would do, but for what only an [Identity] tells: that is
// found by [Plan.Run]. An error means that there is no plan; what could not be
// listed alone is in Failed.
func PlanMirror(ctx context.Context, dst, src Store, opts *Options) (*Plan, error) {
	o := opts.orDefault()
	p := &Plan{dst: dst, src: src, o: o}
	var from, to *listing
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		from, err = list(gctx, src, o.From, &o, true)
		return err
	})
	g.Go(func() (err error) {
		to, err = list(gctx, dst, o.To, &o, false)
		if isNotExist(err) {
			to, err = &listing{}, nil
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("transfer: %w", err)
	}
	p.Failed, p.Skipped = from.failed, from.skipped
	old := make(map[string]Info, len(to.infos))
	for _, info := range to.infos {
		old[info.Name] = info
	}
	unlisted := make(map[string]*FileError)
	for _, f := range to.failed {
		unlisted[f.Name] = f
	}
	_, isTree := dst.(Tree)
	blocked := make(map[string]bool) // directories whose entries have nowhere to go
	for _, info := range from.infos {
		if f := unlisted[info.Name]; f != nil {
			p.Failed = append(p.Failed, f)
			blocked[info.Name] = true
		} else if blocked[path.Dir(info.Name)] || !p.add(info, old[info.Name], isTree) {
			blocked[info.Name] = info.Mode.IsDir()
		}
	}
	return p, nil
}

// add plans for one entry, and reports whether something can be put under it.
func (p *Plan) add(info, old Info, isTree bool) bool {
	step := Step{Info: info, Old: old}
	exists := old.Name != ""
	switch {
	case exists && old.Mode.IsDir() != info.Mode.IsDir():
		p.Failed = append(p.Failed, &FileError{info.Name, "write", fmt.Errorf("a %s is in the way", kind(old.Mode))})
		return false
	case !info.Mode.IsRegular() && !isTree:
		if !info.Mode.IsDir() {
			p.Skipped = append(p.Skipped, Skip{info.Name, "the destination keeps files only"})
		}
		return true
	case info.Mode.IsDir() && !exists:
		step.Action = MakeDir
	case info.Mode&fs.ModeSymlink != 0:
		if old.Mode.Type() != info.Mode.Type() || old.Target != info.Target {
			step.Action = Link
		}
	case info.Mode.IsRegular() && !sameFile(info, old):
		step.Action = Send
	case isTree && (info.Mode&modeMask != old.Mode&modeMask || !sameTime(info.ModTime, old.ModTime)):
		step.Action = SetInfo
	}
	p.Steps = append(p.Steps, step)
	return true
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
