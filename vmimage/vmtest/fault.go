package vmtest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Fault is something that goes wrong at a call.
type Fault struct {
	// N is the call at which it happens: of those made from now on the N-th,
	// from 1.
	N int

	// Method is the method whose calls are counted, such as "Snapshot"; "" for
	// all.
	Method string

	Kind Kind
}

// Kind is how a call goes wrong.
type Kind uint8

// The kinds of faults. In each the call returns [virt.ErrLost].
const (
	Lost       Kind = iota // it has no effect
	Applied                // it has its effect
	KillBefore             // it has no effect, and no call has one until Revive
	KillAfter              // it has its effect, and no later call has one until Revive
	Hang                   // it and all later ones have no effect and return when their context ends, until Revive
)

func (k Kind) String() string {
	return [...]string{"lost", "applied but reported as lost", "killed before", "killed after", "hung"}[k]
}

// Fail sets faults, beside those that are set already. Each happens once.
func (h *Host) Fail(faults ...Fault) {
	c := h.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range faults {
		c.faults = append(c.faults, &f)
	}
}

// Failed reports whether every fault that was set has happened.
func (h *Host) Failed() bool {
	c := h.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.faults) == 0
}

// Before has do called when a method is called for the N-th time from now, before
// anything else of that call: somebody else acts in the middle. It may call methods of
// Other. An empty method counts all calls.
func (h *Host) Before(method string, n int, do func()) {
	c := h.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = append(c.hooks, &hook{Fault{N: n, Method: method}, do})
}

// Calls are the methods that were called, such as "Snapshot", in order. Calls after
// a kill are none.
func (h *Host) Calls() []string {
	c := h.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// Revive makes calls work again, after a kill, a hang or Close: it is the next run of
// the program.
func (h *Host) Revive() {
	c := h.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hung != nil {
		close(c.hung)
	}
	if c.dead {
		c.lost = make(chan struct{})
	}
	c.dead, c.hung = false, nil
}

// connection is how a program reaches the host.
type connection struct {
	mu     sync.Mutex // held for no call of the host
	calls  []string
	faults []*Fault
	hooks  []*hook
	dead   bool          // killed or closed
	lost   chan struct{} // closed when dead
	hung   chan struct{} // closed when no more hung; nil if it is not
}

type hook struct {
	Fault
	do func()
}

func newConnection() *connection { return &connection{lost: make(chan struct{})} }

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		c.dead = true
		close(c.lost)
	}
}

func (c *connection) lostNow() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// reached counts a call and reports whether it is the one.
func (f *Fault) reached(method string) bool {
	if f.Method != "" && f.Method != method {
		return false
	}
	f.N--
	return f.N == 0
}

// begin counts a call and returns what is to go wrong at it, and what comes before it.
func (c *connection) begin(method string) (kind Kind, faulty, dead bool, before []func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return 0, false, true, nil
	}
	c.calls = append(c.calls, method)
	var hooks []*hook
	for _, h := range c.hooks {
		if h.reached(method) {
			before = append(before, h.do)
		} else {
			hooks = append(hooks, h)
		}
	}
	var faults []*Fault
	for _, f := range c.faults {
		switch {
		case !f.reached(method):
			faults = append(faults, f)
		case !faulty:
			kind, faulty = f.Kind, true
		}
	}
	c.hooks, c.faults = hooks, faults
	if faulty && kind == Hang && c.hung == nil {
		c.hung = make(chan struct{})
	}
	return kind, faulty, false, before
}

// noMachine stands for the UUID in calls that are about the host itself.
const noMachine = "host"

// call makes one call of the host, with all that may go wrong at it.
func (h *Host) call(ctx context.Context, method, uuid string, effect func(*machine) error) error {
	if err := h.attempt(ctx, method, uuid, effect); err != nil {
		return fmt.Errorf("%s, %s: %w", strings.ToLower(method), uuid, err)
	}
	return nil
}

func (h *Host) attempt(ctx context.Context, method, uuid string, effect func(*machine) error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	kind, faulty, dead, before := h.conn.begin(method)
	if dead {
		return virt.ErrLost
	}
	for _, do := range before {
		do()
	}
	if err := h.conn.wait(ctx); err != nil {
		return err
	}
	if faulty && kind == KillBefore {
		h.kill()
	}
	if faulty && (kind == Lost || kind == KillBefore) {
		return virt.ErrLost
	}
	err := h.world.apply(uuid, effect)
	if faulty && kind == KillAfter {
		h.kill()
	}
	select {
	case <-h.conn.lostNow():
		faulty = true
	default:
	}
	if faulty {
		return virt.ErrLost
	}
	return err
}

func (h *Host) kill() {
	h.conn.close()
	if h.OnKill != nil {
		h.OnKill()
	}
}

// wait returns at once, or, if the host hangs, an error when the context ends or the
// hang does.
func (c *connection) wait(ctx context.Context) error {
	c.mu.Lock()
	hung := c.hung
	c.mu.Unlock()
	if hung == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ended(ctx)
	case <-hung:
		return virt.ErrLost
	}
}

func ended(ctx context.Context) error {
	return fmt.Errorf("%w: %w", virt.ErrLost, context.Cause(ctx))
}

func (w *world) apply(uuid string, effect func(*machine) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uuid == noMachine {
		return effect(nil)
	}
	m := w.known[uuid]
	if m == nil {
		return virt.ErrNotFound
	}
	return effect(m)
}
