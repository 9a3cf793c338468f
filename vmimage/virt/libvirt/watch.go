package libvirt

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// watched are the kinds of events that are asked for.
var watched = []libvirt.DomainEventID{
	libvirt.DomainEventIDLifecycle,
	libvirt.DomainEventIDIoErrorReason,
	libvirt.DomainEventIDBlockJob,
	libvirt.DomainEventIDAgentLifecycle,
}

// Watch has a connection to itself. What happens before the first step of the loop over it, it
// does not see.
func (h *Host) Watch(ctx context.Context) iter.Seq2[virt.Event, error] {
	return func(yield func(virt.Event, error) bool) {
		c, err := h.connect(ctx)
		if err == nil {
			defer h.drop(c)
			err = h.watch(ctx, c, func(e virt.Event) bool { return yield(e, nil) })
		}
		if err != nil && ctx.Err() == nil {
			yield(virt.Event{}, fmt.Errorf("libvirt: watch %s: %w", h.addr.name, err))
		}
	}
}

// watch passes on events until there are no more, nobody wants them, or the context ends.
func (h *Host) watch(ctx context.Context, c *conn, pass func(virt.Event) bool) error {
	events := make(chan any)
	var pumps sync.WaitGroup
	subscribed, unsubscribe := context.WithCancel(context.WithoutCancel(ctx))
	// The library stands still for ever if a subscription ends before its connection, or if
	// nobody takes what it has. So the connection goes first, and all of them run dry.
	defer func() {
		c.cut()
		select {
		case <-c.lv.Disconnected():
		case <-time.After(time.Second): // it may have missed it
		}
		unsubscribe()
		go func() { pumps.Wait(); close(events) }()
		for range events {
		}
	}()
	for _, id := range watched {
		var from <-chan any
		err := c.do(ctx, func() (err error) {
			from, err = c.lv.SubscribeEvents(subscribed, id, nil)
			return err
		})
		if err != nil {
			return err
		}
		pumps.Go(func() {
			for e := range from {
				events <- e
			}
		})
	}
	for {
		select {
		case e := <-events:
			if event, ok := h.event(ctx, e); ok && !pass(event) {
				return nil
			}
		case <-c.wire.ended:
			return virt.ErrLost
		case <-ctx.Done():
			return nil
		}
	}
}

// event says an event of libvirt in virt's terms, if it has one.
func (h *Host) event(ctx context.Context, e any) (virt.Event, bool) {
	switch e := e.(type) {
	case *libvirt.DomainEventCallbackLifecycleMsg:
		switch libvirt.DomainEventType(e.Msg.Event) {
		case libvirt.DomainEventDefined, libvirt.DomainEventUndefined:
			return virt.Event{}, false
		}
		return virt.Event{UUID: uuidOf(e.Msg.Dom), Kind: virt.StateChanged}, true
	case *libvirt.DomainEventCallbackIOErrorReasonMsg:
		if libvirt.DomainEventIOErrorAction(e.Msg.Action) != libvirt.DomainEventIoErrorPause {
			return virt.Event{}, false
		}
		name := h.diskOf(ctx, e.Msg.Dom, func(k disk) bool { return k.Alias.Name == e.Msg.DevAlias })
		return virt.Event{UUID: uuidOf(e.Msg.Dom), Kind: virt.DiskStalled, Disk: name}, true
	case *libvirt.DomainEventCallbackBlockJobMsg:
		name := h.diskOf(ctx, e.Msg.Dom, func(k disk) bool { return k.Source.path() == e.Msg.Path })
		return virt.Event{UUID: uuidOf(e.Msg.Dom), Kind: virt.BlockJobChanged, Disk: name}, true
	case *libvirt.DomainEventCallbackAgentLifecycleMsg:
		return virt.Event{UUID: uuidOf(e.Dom), Kind: virt.AgentChanged}, true
	}
	return virt.Event{}, false
}

// diskOf is the name of the disk of a machine that an event is about, or "" if that is
// not known any more.
func (h *Host) diskOf(ctx context.Context, d libvirt.Domain, is func(disk) bool) (name string) {
	// An event is a hint: without the disk it is still one.
	_ = h.call(ctx, "disks of", uuidOf(d), func(lv *libvirt.Libvirt) error {
		all, err := disks(lv, d, 0)
		if i := slices.IndexFunc(all, is); i >= 0 {
			name = all[i].Target.Dev
		}
		return err
	})
	return name
}
