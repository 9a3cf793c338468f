package vmtest

import (
	"context"
	"iter"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// Host is a [virt.Host] in memory: make one by [New]. It is safe for concurrent use.
type Host struct {
	// OnKill, if not nil, is called at the moment of a kill, before the call
	// returns: what is tested acts no more from then on, so that a test closes
	// here what the program would have lost, such as its journal. It may call
	// methods of Other.
	OnKill func()

	world *world
	conn  *connection
}

var _ virt.Host = (*Host)(nil)

// New returns a host without machines whose disks will be in a folder. To ask it for what
// makes no sense, such as to write to a machine that it does not know, is a panic.
func New(dir string) *Host {
	return &Host{world: newWorld(dir), conn: newConnection()}
}

// Other is the same host as somebody else reaches it: its calls are not counted, no
// fault is for them, and it is not closed when h is.
func (h *Host) Other() *Host {
	return &Host{world: h.world, conn: newConnection()}
}

// Hostname is "vmtest".
func (h *Host) Hostname(ctx context.Context) (name string, err error) {
	err = h.call(ctx, "Hostname", noMachine, func(*machine) error { name = "vmtest"; return nil })
	return name, err
}

// Machines is as [virt.Host] says.
func (h *Host) Machines(ctx context.Context) (all []virt.Machine, err error) {
	err = h.call(ctx, "Machines", noMachine, func(*machine) error { all = h.world.machines(); return nil })
	return all, err
}

// Machine is as [virt.Host] says.
func (h *Host) Machine(ctx context.Context, uuid string) (now virt.Machine, err error) {
	err = h.call(ctx, "Machine", uuid, func(m *machine) error { now = m.now(); return nil })
	return now, err
}

// XML is as [virt.Host] says.
func (h *Host) XML(ctx context.Context, uuid string, inactive bool) (xml []byte, err error) {
	err = h.call(ctx, "XML", uuid, func(m *machine) error { xml = m.xml(inactive); return nil })
	return xml, err
}

// Define is as [virt.Host] says. The XML needs a UUID, and what a machine that runs does
// now stays as it is.
func (h *Host) Define(ctx context.Context, xml []byte) (now virt.Machine, err error) {
	err = h.call(ctx, "Define", noMachine, func(*machine) error { now, err = h.world.define(xml); return err })
	return now, err
}

// Undefine is as [virt.Host] says.
func (h *Host) Undefine(ctx context.Context, uuid string) error {
	return h.call(ctx, "Undefine", uuid, h.world.undefine)
}

// Start is as [virt.Host] says.
func (h *Host) Start(ctx context.Context, uuid string, paused bool) error {
	return h.call(ctx, "Start", uuid, func(m *machine) error { return m.start(paused) })
}

// Shutdown is as [virt.Host] says.
func (h *Host) Shutdown(ctx context.Context, uuid string, by virt.Means) error {
	return h.call(ctx, "Shutdown", uuid, func(m *machine) error { return m.shutdown(by) })
}

// Destroy is as [virt.Host] says.
func (h *Host) Destroy(ctx context.Context, uuid string) error {
	return h.call(ctx, "Destroy", uuid, (*machine).destroy)
}

// Suspend is as [virt.Host] says.
func (h *Host) Suspend(ctx context.Context, uuid string) error {
	return h.call(ctx, "Suspend", uuid, (*machine).suspend)
}

// Resume is as [virt.Host] says.
func (h *Host) Resume(ctx context.Context, uuid string) error {
	return h.call(ctx, "Resume", uuid, (*machine).resume)
}

// Snapshot is as [virt.Host] says.
func (h *Host) Snapshot(ctx context.Context, uuid string, overlays []virt.Overlay) error {
	return h.call(ctx, "Snapshot", uuid, func(m *machine) error { return m.snapshot(overlays) })
}

// Commit is as [virt.Host] says. Half of the overlay is merged when it returns, the rest
// when BlockJob says that it is ready.
func (h *Host) Commit(ctx context.Context, uuid, disk string, bytesPerSecond uint64) error {
	return h.call(ctx, "Commit", uuid, func(m *machine) error { return m.commit(disk, bytesPerSecond) })
}

// BlockJob is as [virt.Host] says.
func (h *Host) BlockJob(ctx context.Context, uuid, disk string) (job virt.BlockJob, err error) {
	err = h.call(ctx, "BlockJob", uuid, func(m *machine) error { job, err = m.blockJob(disk); return err })
	return job, err
}

// Pivot is as [virt.Host] says.
func (h *Host) Pivot(ctx context.Context, uuid, disk string) error {
	return h.call(ctx, "Pivot", uuid, func(m *machine) error { return m.pivot(disk) })
}

// AbortBlockJob is as [virt.Host] says. It is [virt.ErrNotFound] if there is none.
func (h *Host) AbortBlockJob(ctx context.Context, uuid, disk string) error {
	return h.call(ctx, "AbortBlockJob", uuid, func(m *machine) error { return m.abort(disk) })
}

// Files is as [virt.Host] says.
func (h *Host) Files(ctx context.Context, uuid, disk string) (files []string, err error) {
	err = h.call(ctx, "Files", uuid, func(m *machine) error { files, err = m.files(disk); return err })
	return files, err
}

// BlockInfo is as [virt.Host] says.
func (h *Host) BlockInfo(ctx context.Context, uuid, disk string) (info virt.BlockInfo, err error) {
	err = h.call(ctx, "BlockInfo", uuid, func(m *machine) error { info, err = m.blockInfo(disk); return err })
	return info, err
}

// Job is what SetJob set.
func (h *Host) Job(ctx context.Context, uuid string) (job string, err error) {
	err = h.call(ctx, "Job", uuid, func(m *machine) error { job = m.job; return nil })
	return job, err
}

// Ping is as [virt.Host] says.
func (h *Host) Ping(ctx context.Context, uuid string) error {
	return h.call(ctx, "Ping", uuid, (*machine).ping)
}

// Freeze is as [virt.Host] says. [virt.ErrAgent] if it is frozen already.
func (h *Host) Freeze(ctx context.Context, uuid string) (filesystems int, err error) {
	err = h.call(ctx, "Freeze", uuid, func(m *machine) error { filesystems, err = m.freeze(); return err })
	return filesystems, err
}

// Thaw is as [virt.Host] says.
func (h *Host) Thaw(ctx context.Context, uuid string) error {
	return h.call(ctx, "Thaw", uuid, (*machine).thaw)
}

// Metadata is as [virt.Host] says.
func (h *Host) Metadata(ctx context.Context, uuid, namespace string) (element string, err error) {
	err = h.call(ctx, "Metadata", uuid, func(m *machine) error { element = m.meta.get(namespace); return nil })
	return element, err
}

// SetMetadata is as [virt.Host] says.
func (h *Host) SetMetadata(ctx context.Context, uuid, prefix, namespace, element string) error {
	return h.call(ctx, "SetMetadata", uuid, func(m *machine) error { return m.meta.set(prefix, namespace, element) })
}

// Watch is as [virt.Host] says: it yields all that happens from when it is ranged over.
func (h *Host) Watch(ctx context.Context) iter.Seq2[virt.Event, error] {
	return func(yield func(virt.Event, error) bool) {
		var w *watcher
		err := h.call(ctx, "Watch", noMachine, func(*machine) error { w = h.world.watch(); return nil })
		if err != nil {
			yield(virt.Event{}, err)
			return
		}
		defer h.world.unwatch(w)
		w.run(ctx, h.conn.lostNow(), yield)
	}
}

// Close is as [virt.Host] says; Revive opens the connection anew.
func (h *Host) Close() error {
	h.conn.close()
	return nil
}
