package transfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Mirror makes the tree opts.To of dst hold what the tree opts.From of src
// holds: files, directories, symbolic links, their modes and times. It removes
// nothing. It is [PlanMirror] and [Plan.Run] in one.
func Mirror(ctx context.Context, dst, src Store, opts *Options) (*Result, error) {
	p, err := PlanMirror(ctx, dst, src, opts)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx)
}

// Result is what a mirror did.
type Result struct {
	Stats
	Sent    map[string][sha256.Size]byte // the SHA-256 of each file sent, by its name below From
	Skipped []Skip
	Failed  []*FileError // sorted by name
}

// Run carries the plan out. If single files could not be transferred the
// others are, and the error is an [*IncompleteError]. After any other error a
// new plan goes on where this one stopped. The result is never nil.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	c := newCopier(p.dst, &p.o)
	r := &run{plan: p, copier: c, res: &Result{
		Sent:    map[string][sha256.Size]byte{},
		Skipped: p.Skipped,
		Failed:  slices.Clone(p.Failed),
	}}
	for _, s := range p.Skipped {
		p.o.Logger.Warn("skipped", "file", s.Name, "reason", s.Reason)
	}
	for _, s := range p.Steps {
		if s.Info.Mode.IsRegular() {
			c.expect(s.Info)
		}
	}
	err := c.run(func() error { return r.all(ctx) })
	r.res.Stats = c.total()
	slices.SortFunc(r.res.Failed, func(a, b *FileError) int { return cmp.Compare(a.Name, b.Name) })
	if err != nil {
		return r.res, fmt.Errorf("transfer: %w", err)
	}
	if len(r.res.Failed) > 0 {
		return r.res, &IncompleteError{Files: r.res.Files, Failed: r.res.Failed}
	}
	return r.res, nil
}

// run is a plan being carried out.
type run struct {
	*copier
	plan     *Plan
	suspects map[string]bool // files that seem unchanged, but are to be looked at

	mu   sync.Mutex // of what follows
	res  *Result
	lost *task // the last whose commit was lost with the connection
	why  error
}

// task is one file or link to bring up to date.
type task struct {
	Step
	*delivery
	handed bool // to be committed
	done   bool // or given up
	alone  bool // to be sent alone, as it is known better, or changed when it was sent with others
}

func (r *run) all(ctx context.Context) error {
	r.findSuspects(ctx)
	touched := r.touched()
	levels := r.levels()
	blocked := make(map[string]bool) // directories that cannot be made
	for _, level := range levels {
		oks := make([]bool, len(level))
		err := sideBySide(ctx, level, func(ctx context.Context, i int, s Step) (err error) {
			if !blocked[path.Dir(s.Info.Name)] {
				oks[i], err = r.openDir(ctx, s, touched[s.Info.Name])
			}
			return err
		})
		if err != nil {
			return err
		}
		for i, s := range level {
			blocked[s.Info.Name] = !oks[i]
		}
	}
	if err := r.entries(ctx, blocked); err != nil {
		return err
	}
	// Last and from the bottom up: every entry made changes its directory.
	for _, level := range slices.Backward(levels) {
		err := sideBySide(ctx, level, func(ctx context.Context, _ int, s Step) error {
			if (s.Action != Leave || touched[s.Info.Name]) && !blocked[s.Info.Name] {
				return r.setInfo(ctx, s)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// levels are the directories, level by level from the top.
func (r *run) levels() (levels [][]Step) {
	for _, s := range r.plan.Steps {
		if !s.Info.Mode.IsDir() {
			continue
		}
		depth := 0
		if s.Info.Name != "." {
			depth = 1 + strings.Count(s.Info.Name, "/")
		}
		for len(levels) <= depth {
			levels = append(levels, nil)
		}
		levels[depth] = append(levels[depth], s)
	}
	return levels
}

// sideBySide calls f for the directories of a level. On a long line one after the
// other would take longer than all that is in them.
func sideBySide(ctx context.Context, level []Step, f func(ctx context.Context, i int, s Step) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i, s := range level {
		g.Go(func() error { return f(ctx, i, s) })
	}
	return g.Wait()
}

// openDir makes a directory that is missing. Whoever may not write into a
// directory must be able to while something is made in it.
func (r *run) openDir(ctx context.Context, s Step, touched bool) (ok bool, err error) {
	info := s.Info
	info.Name, info.Mode = join(r.o.To, info.Name), info.Mode|0o700
	switch {
	case s.Action == MakeDir:
		return r.step(ctx, "write", s, func() error { return r.dst.(Tree).Mkdir(ctx, info) })
	case touched && s.Old.Mode&0o700 != 0o700:
		return r.step(ctx, "write", s, func() error { return r.dst.(Tree).SetInfo(ctx, info) })
	}
	return true, nil
}

// entries brings all files and links up to date.
func (r *run) entries(ctx context.Context, blocked map[string]bool) error {
	var tasks []*task
	for _, s := range r.plan.Steps {
		if !s.Info.Mode.IsDir() && !blocked[path.Dir(s.Info.Name)] {
			tasks = append(tasks, &task{Step: s, delivery: r.delivery(s)})
		}
	}
	best := int64(0) // bytes, whether they are under their names or only on the way
	for len(tasks) > 0 {
		err := r.o.retry(ctx, "group of files", func() (further bool, err error) {
			n := len(tasks)
			err = r.round(ctx, tasks)
			tasks = slices.DeleteFunc(tasks, func(t *task) bool { return t.done })
			s := r.total()
			now := s.Resumed + s.Matched + s.Literal
			further = len(tasks) < n || now > best
			best = max(best, now)
			return further, err
		})
		if _, ok := errors.AsType[*opError](err); ok {
			err = fileError("copy", r.lost.Info.Name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) delivery(s Step) *delivery {
	d := &delivery{name: s.Info.Name, src: storeSource(r.plan.src, join(r.o.From, s.Info.Name)), info: s.Info, old: s.Old}
	d.info.Name = join(r.o.To, s.Info.Name)
	if s.Old.Name != "" {
		d.old.Name = d.info.Name
	}
	return d
}

// round does all tasks, several at once. Those whose commit was lost, or that
// changed when they were fetched, are left.
func (r *run) round(ctx context.Context, tasks []*task) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var commits *commits
	if group, ok := r.dst.(GroupCommitter); ok {
		commits = newCommits(ctx, cancel, group, r.o.Verify != VerifyNone)
	}
	r.lost = nil
	for _, t := range tasks {
		t.handed = false
	}
	err := r.believeEach(ctx, tasks)
	if err == nil {
		err = r.fetch(ctx, tasks, commits)
	}
	if err == nil {
		err = r.take(ctx, tasks)
	}
	if err == nil {
		err = r.each(ctx, tasks, commits)
	}
	// What is whole is committed even if something has failed for good.
	err = cmp.Or(err, commits.wait(), context.Cause(ctx))
	if err == nil && r.lost != nil {
		err = r.why
	}
	return err
}

// each does what is left of the tasks one by one, some side by side.
func (r *run) each(ctx context.Context, tasks []*task, commits *commits) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.o.Workers)
	for _, t := range tasks {
		if ctx.Err() != nil {
			break
		}
		if !t.handed {
			g.Go(func() error { return r.entry(ctx, t, commits) })
		}
	}
	return g.Wait()
}

// touched are the directories in which something is made. A Taker makes
// something of its own in the topmost.
func (r *run) touched() map[string]bool {
	dirs := make(map[string]bool)
	_, takes := r.dst.(Taker)
	for _, s := range r.plan.Steps {
		if s.Action != Leave && s.Action != SetInfo || s.Info.Mode.IsRegular() && r.o.Verify == VerifyAll || r.suspects[s.Info.Name] {
			dirs[path.Dir(s.Info.Name)] = true
			dirs["."] = dirs["."] || takes
		}
	}
	return dirs
}

func (r *run) setInfo(ctx context.Context, s Step) error {
	info := s.Info
	info.Name = join(r.o.To, info.Name)
	_, err := r.step(ctx, "write", s, func() error { return r.dst.(Tree).SetInfo(ctx, info) })
	return err
}

// step does one thing, again after a lost connection. What concerns only this
// entry is noted; an error is for all.
func (r *run) step(ctx context.Context, op string, s Step, f func() error) (ok bool, err error) {
	err = r.o.retry(ctx, s.Info.Name, func() (bool, error) { return false, f() })
	if err != nil {
		return false, r.failed(ctx, s.Info.Name, &opError{op, err})
	}
	return true, nil
}

func (r *run) failed(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fe := fileError("copy", name, err)
	if isFatal(err) {
		return fe
	}
	r.o.Logger.Warn("not copied", "file", name, "err", fe.Err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Failed = append(r.res.Failed, fe)
	return nil
}

// sent notes a file that is under its name.
func (r *run) sent(name string, sum [sha256.Size]byte) {
	r.copied()
	r.o.Logger.Debug("copied", "file", name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.res.Sent[name] = sum
}

// entry brings one file or link up to date.
func (r *run) entry(ctx context.Context, t *task, commits *commits) error {
	action := t.Action
	if t.Info.Mode.IsRegular() && action != Send {
		var same bool
		err := r.o.retry(ctx, t.Info.Name, func() (_ bool, err error) {
			same, err = r.unchanged(ctx, t.delivery, r.suspects[t.Info.Name])
			return false, err
		})
		if err != nil {
			return r.settled(ctx, t, sha256Sum{}, &opError{"verify", err})
		}
		if !same {
			r.o.Logger.Warn("equal size and time, but not the same bytes", "file", t.Info.Name)
			action = Send
		}
	}
	var err error
	switch action {
	case Send:
		return r.send(ctx, t, commits)
	case Link:
		_, err = r.step(ctx, "write", t.Step, func() error { return r.dst.(Tree).Symlink(ctx, t.info) })
	case SetInfo:
		err = r.setInfo(ctx, t.Step)
	}
	t.done = true
	return err
}

// send sends one file, to be committed with others if that can be.
func (r *run) send(ctx context.Context, t *task, commits *commits) error {
	if commits == nil {
		sum, err := r.file(ctx, t.delivery, r.commit)
		return r.settled(ctx, t, sum, err)
	}
	sum, err := r.file(ctx, t.delivery, func(_ context.Context, up Upload) error {
		r.hand(t, up, commits, nil)
		return nil
	})
	if err != nil || !t.handed { // if not, it had been committed before the connection was lost
		return r.settled(ctx, t, sum, err)
	}
	return nil
}

// hand hands a whole upload over to be committed, if check has no objection.
func (r *run) hand(t *task, up Upload, commits *commits, check func(context.Context) error) {
	t.handed = true
	sum := up.Sum()
	commits.add(up, check, func(ctx context.Context, err error) error {
		switch {
		case check != nil && errors.Is(err, ErrChanged):
			t.alone = true
			r.set(&t.tally, tally{})
			return nil
		case !errors.Is(err, ErrLost):
			return r.settled(ctx, t, sum, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lost, r.why = t, err
		return nil
	})
}

// settled notes the outcome of a file. An error is for all.
func (r *run) settled(ctx context.Context, t *task, sum sha256Sum, err error) error {
	t.done = true
	if err != nil {
		return r.failed(ctx, t.Info.Name, err)
	}
	r.sent(t.Info.Name, sum)
	r.keep(ctx, t.delivery, sum)
	return nil
}

type sha256Sum = [sha256.Size]byte

// join is path.Join for names that are clean already.
func join(dir, name string) string {
	switch {
	case dir == ".":
		return name
	case name == ".":
		return dir
	}
	return dir + "/" + name
}
