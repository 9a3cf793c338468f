package vmimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Run settles what an earlier run left, plans, makes room, and images each machine
// that the plan does not refuse. After each image that is verified, images of that
// machine go as the policy says. There is a result for each machine that was
// configured or settled, the former in the order of the plan. The error is about the
// whole: there is no room, or the host does not answer; then nothing more was touched.
//
// If ctx ends, the machines that are being imaged are put in order first, whatever
// that takes, and the others are not touched.
func (e *Engine) Run(ctx context.Context) ([]Result, error) {
	recovered, err := e.Recover(ctx)
	r := &round{Engine: e, results: recovered}
	if err != nil {
		return r.results, err
	}
	plan, err := e.Plan(ctx)
	if err != nil {
		return r.results, err
	}
	if plan.Short != nil {
		return r.results, fmt.Errorf("vmimage: nothing is touched: %w", plan.Short)
	}
	removed, err := e.c.Remove(ctx, plan.MakeRoom, e.c.Logger)
	for _, i := range removed {
		r.add(Result{Machine: i.Machine, Start: e.now(), End: e.now(), MadeRoom: []Image{i}})
	}
	if err != nil {
		return r.results, fmt.Errorf("vmimage: make room: %w", err)
	}
	r.images(ctx, plan)
	late, err := e.recoverLate(context.WithoutCancel(ctx))
	for _, l := range late {
		r.add(l)
	}
	place := func(result Result) int {
		return slices.IndexFunc(plan.Machines, func(p Planned) bool { return p.Name == result.Machine })
	}
	slices.SortStableFunc(r.results, func(a, b Result) int { return cmp.Compare(place(a), place(b)) })
	return r.results, err
}

// round is one run over all machines.
type round struct {
	*Engine
	mu      sync.Mutex
	results []Result
}

func (r *round) add(result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = join(r.results, result)
}

// errOf is what is wrong with a machine so far.
func (r *round) errOf(machine string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range r.results {
		if result.Machine == machine {
			return result.Err
		}
	}
	return nil
}

// images images the machines of a plan. They begin in its order.
func (r *round) images(ctx context.Context, plan *Plan) {
	var under sync.WaitGroup
	slots := make(chan struct{}, r.c.Parallel)
	done := make(map[string]chan struct{})
	for _, p := range plan.Machines {
		for _, after := range p.After {
			<-done[after]
		}
		slots <- struct{}{}
		ended := make(chan struct{})
		done[p.Name] = ended
		under.Go(func() {
			defer func() { <-slots; close(ended) }()
			r.image(ctx, p)
		})
	}
	under.Wait()
}

// image images a machine, unless something is in the way.
func (r *round) image(ctx context.Context, p Planned) {
	began := r.now()
	if _, told := r.errOf(p.Name).(*RefusedError); told {
		return // another run has it
	}
	err := r.blocked(p)
	if err == nil && ctx.Err() != nil {
		err = &RefusedError{p.Name, "the run was stopped"}
	}
	if err == nil {
		p, err = r.again(ctx, p)
	}
	if err != nil {
		r.add(Result{Machine: p.Name, Start: began, End: r.now(), Err: err})
		return
	}
	r.add(r.capture(ctx, p))
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

// blocked returns why a planned machine is not to be touched after what became of it and of
// others.
func (r *round) blocked(p Planned) error {
	if p.Refused != "" {
		return &RefusedError{p.Name, p.Refused}
	}
	if r.errOf(p.Name) != nil {
		return &RefusedError{p.Name, "its last run is not settled"}
	}
	for _, after := range p.After {
		if _, down := errors.AsType[*RestartError](r.errOf(after)); down {
			return &RefusedError{p.Name, after + " is down"}
		}
	}
	return nil
}
