package vmimage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Config is what an Engine works with. Host, Target and Open are required, and for all
// but Plan a Journal.
type Config struct {
	Keeper // where the images go, and which of them stay

	Host    virt.Host
	Journal *Journal

	// Open opens what a disk consists of, such as disk.Open of package disk.
	Open func(path, format string) (Source, error)

	Machines []Machine // in the order in which they are imaged

	// Overlay is how much room is kept for what a machine writes to each disk while
	// it is imaged, in bytes. Zero means a tenth of the disk's size.
	Overlay int64

	// Overlays is the folder of the overlays, where the host can make files. Empty
	// means beside each disk.
	Overlays string

	// TPM is the folder in which the host keeps the state of each emulated TPM
	// under the UUID of its machine. Empty means /var/lib/libvirt/swtpm.
	TPM string

	// Patience is how long a host that does not answer, a commit that makes no
	// progress, and a guest whose agent answered before, are waited for. Zero
	// means 5 minutes.
	Patience time.Duration

	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
}

// Engine images machines. Its methods may not be called concurrently.
type Engine struct{ c Config }

// New returns an engine, or what is wrong with its configuration.
func New(c Config) (*Engine, error) {
	if c.Host == nil || c.Target == nil || c.Open == nil {
		return nil, errors.New("vmimage: Host, Target and Open are required")
	}
	machines, err := inOrder(c.Machines)
	if err != nil {
		return nil, fmt.Errorf("vmimage: %w", err)
	}
	c.Machines = machines
	if c.TPM == "" {
		c.TPM = "/var/lib/libvirt/swtpm"
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Engine{c}, nil
}

// RestartError says that a machine ran before and does not run now. It is
// tried again by the next run, but a person should look at once.
type RestartError struct {
	Machine string
	Err     error
}

func (e *RestartError) Error() string {
	return fmt.Sprintf("%s IS DOWN, or held: %v", e.Machine, e.Err)
}

func (e *RestartError) Unwrap() error { return e.Err }

// RefusedError says why a machine is not imaged. It was not touched.
type RefusedError struct{ Machine, Why string }

func (e *RefusedError) Error() string { return e.Machine + " is not touched: " + e.Why }

// ErrStarted says that somebody started a machine while it was to be imaged, or
// wrote to its disks.
var ErrStarted = errors.New("started or written to by somebody else in the middle")

// Run settles what an earlier run left, plans, makes room, and images each machine
// that the plan does not refuse. After each image that is verified, images of that
// machine go as the policy says. There is a result for each machine that was
// configured or settled. The error is about the whole: there is no room, or the
// host does not answer; then nothing more was touched.
//
// If ctx ends, the machine that is being imaged is put in order first, whatever
// that takes, and the others are not touched.
func (e *Engine) Run(ctx context.Context) ([]Result, error) {
	results, err := e.Recover(ctx)
	if err != nil {
		return results, err
	}
	plan, err := e.Plan(ctx)
	if err != nil {
		return results, err
	}
	if plan.Short != nil {
		return results, fmt.Errorf("vmimage: nothing is touched: %w", plan.Short)
	}
	if _, err := e.c.Remove(ctx, plan.MakeRoom, e.c.Logger); err != nil {
		return results, fmt.Errorf("vmimage: make room: %w", err)
	}
	ran := make(map[string]error)
	for _, r := range results {
		ran[r.Machine] = r.Err
	}
	for _, p := range plan.Machines {
		var r Result
		if err := blocked(p, ran); err != nil {
			r = Result{Machine: p.Name, Start: e.now(), End: e.now(), Err: err}
		} else if err := ctx.Err(); err != nil {
			r = Result{Machine: p.Name, Start: e.now(), End: e.now(), Err: &RefusedError{p.Name, "the run was stopped"}}
		} else if p, err = e.again(ctx, p); err != nil {
			r = Result{Machine: p.Name, Start: e.now(), End: e.now(), Err: err}
		} else {
			r = e.capture(ctx, p)
		}
		ran[p.Name] = errors.Join(ran[p.Name], r.Err)
		results = join(results, r)
	}
	return results, nil
}

// again looks at a machine once more when its turn has come: the plan may be hours old.
func (e *Engine) again(ctx context.Context, p Planned) (Planned, error) {
	m, err := e.c.Host.Machine(ctx, p.Domain.UUID)
	p.Disks = nil
	if err == nil {
		err = e.plan(ctx, m, &p)
	}
	if err != nil {
		return p, &RefusedError{p.Name, err.Error()}
	}
	return p, nil
}

// blocked returns why a planned machine is not to be touched after what became of
// others.
func blocked(p Planned, ran map[string]error) error {
	if p.Refused != "" {
		return &RefusedError{p.Name, p.Refused}
	}
	if ran[p.Name] != nil {
		return &RefusedError{p.Name, "its last run is not settled"}
	}
	for _, after := range p.Machine.After {
		if _, down := errors.AsType[*RestartError](ran[after]); down {
			return &RefusedError{p.Name, after + " is down"}
		}
	}
	return nil
}
