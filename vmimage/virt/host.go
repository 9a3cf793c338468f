// Package virt is what vmimage asks of a host of virtual machines: the [Host]
// contract, the values it speaks in, and the reading and editing of the XML that
// describes a machine. It imports no client of any hypervisor: package
// virt/libvirt is the driver, package vmtest an in-memory host and the suite that
// both pass.
//
// A machine is named by its UUID, which stays when it is renamed. A disk is named
// by its target, such as vda. An overlay is a file that takes all that a machine
// writes to a disk, while the file beneath it, its base, no longer changes.
package virt

import (
	"context"
	"errors"
	"iter"
)

// Host runs virtual machines. It is safe for concurrent use.
//
// Every call returns soon after its context ends, whatever the host does. A call
// that is cut off, by the context or by the connection, returns an error that is
// [ErrLost]: it may or may not have taken effect, and only asking again tells. The
// next call connects anew. Calls for a machine that the host does not know return
// [ErrNotFound].
type Host interface {
	// Hostname is the name of the machine that the host runs on.
	Hostname(ctx context.Context) (string, error)

	// Machines are all that the host knows, also those that are off, by name.
	Machines(ctx context.Context) ([]Machine, error)

	// Machine is one of them as it is now.
	Machine(ctx context.Context, uuid string) (Machine, error)

	// XML describes a machine, byte for byte as the host gives it: as it runs
	// now, or, if inactive is true or it is off, as it will be started next.
	XML(ctx context.Context, uuid string, inactive bool) ([]byte, error)

	// Define makes a machine known, or replaces the description of one, and
	// returns it. It is not started.
	Define(ctx context.Context, xml []byte) (Machine, error)

	// Undefine forgets a machine that is off, else [ErrState]. Its disks stay.
	Undefine(ctx context.Context, uuid string) error

	// Start switches a machine on, and holds it before its first instruction
	// if paused is true. One that is on already is [ErrState], so that of two who
	// start a machine only one is told that it did.
	Start(ctx context.Context, uuid string, paused bool) error

	// Shutdown asks the guest to shut itself down, and does not wait until it
	// has. A guest need not heed it. [ErrAgent] if it was to be asked through
	// an agent that does not answer, [ErrState] if it is off.
	Shutdown(ctx context.Context, uuid string, by Means) error

	// Destroy switches a machine off at once, as pulling its plug would.
	// [ErrState] if it is off.
	Destroy(ctx context.Context, uuid string) error

	// Suspend holds a running machine, Resume lets it go on. [ErrState] if it
	// is off. Holding one that is held, and resuming one that runs, is nothing.
	Suspend(ctx context.Context, uuid string) error
	Resume(ctx context.Context, uuid string) error

	// Snapshot gives each of the named disks an overlay, all at the same moment
	// or none, and both descriptions of the machine then name the overlays. No
	// other disk is touched, and nothing else is kept of it. The machine must be
	// on, [ErrState]; held will do. The overlays must not exist: fs.ErrExist.
	Snapshot(ctx context.Context, uuid string, overlays []Overlay) error

	// Commit begins to merge the overlay that a running or held machine writes
	// to into the file directly beneath it, at no more than so many bytes per
	// second; zero is without a limit. It returns at once; [ErrBusy] if the disk
	// has a job already. The job goes on until Pivot or AbortBlockJob, whatever
	// becomes of this program.
	Commit(ctx context.Context, uuid, disk string, bytesPerSecond uint64) error

	// BlockJob is what goes on on a disk. [ErrNotFound] if nothing does: also
	// for a job that failed.
	BlockJob(ctx context.Context, uuid, disk string) (BlockJob, error)

	// Pivot ends a commit that is ready: the machine writes to the base again,
	// both its descriptions name that, and the overlay is of no more use. It
	// returns once that is so. [ErrBusy] if the commit is not ready, [ErrNotFound]
	// if there is none.
	Pivot(ctx context.Context, uuid, disk string) error

	// AbortBlockJob ends the job of a disk; the machine goes on writing to the
	// overlay. Nothing is lost, and a commit can begin anew. It returns once the
	// job is gone. [ErrNotFound] if there is none.
	AbortBlockJob(ctx context.Context, uuid, disk string) error

	// Files are the files that the hypervisor itself says a disk of a machine
	// that is on consists of: the one it writes to, then those beneath it.
	Files(ctx context.Context, uuid, disk string) ([]string, error)

	// BlockInfo is the size of what a disk is written to now.
	BlockInfo(ctx context.Context, uuid, disk string) (BlockInfo, error)

	// Job names the job that a machine is in as a whole, such as a migration or
	// a backup; "" if it is in none.
	Job(ctx context.Context, uuid string) (string, error)

	// Ping asks the agent in the guest for a sign of life. [ErrAgent] if it gives
	// none, or if there is none.
	Ping(ctx context.Context, uuid string) error

	// Freeze has the agent flush and hold the guest's file systems and returns
	// how many; Thaw lets them go on. Thawing what is not frozen is nothing.
	// [ErrAgent] if there is no agent that answers.
	Freeze(ctx context.Context, uuid string) (int, error)
	Thaw(ctx context.Context, uuid string) error

	// Metadata is the element that a program keeps in the description of a
	// machine under an XML name space of its own: "" if there is none.
	// SetMetadata replaces it, or removes it if the element is "". It is part of
	// the lasting description, whether the machine is on or off.
	Metadata(ctx context.Context, uuid, namespace string) (string, error)
	SetMetadata(ctx context.Context, uuid, prefix, namespace, element string) error

	// Watch yields what happens to the machines, until its context ends or the
	// connection is lost, which alone is an error as the last pair. Some things may
	// happen without an event: an event is a hint to look, never a proof.
	Watch(ctx context.Context) iter.Seq2[Event, error]

	// Close ends the connection. Calls under way return ErrLost.
	Close() error
}

// What calls of a Host fail with, besides what no caller can act on.
var (
	ErrLost        = errors.New("connection to the host of the machines lost")
	ErrNotFound    = errors.New("not found")
	ErrBusy        = errors.New("something else is at work on it")
	ErrState       = errors.New("not in a state for that")
	ErrAgent       = errors.New("no answer from the agent in the guest")
	ErrUnsupported = errors.New("not supported")
)

// Machine is what a host says of a virtual machine.
type Machine struct {
	UUID  string // such as "0d0b9f6e-…", in lower case
	Name  string
	State State

	Persistent bool // it stays known when it is off
	Autostart  bool // its host starts it when the host itself starts
	Saved      bool // its memory is saved: when started it goes on from there
}

// State is what a machine does.
type State uint8

// The states of a machine.
const (
	Off     State = iota // shut off, crashed, or never started
	Running              // also while it boots or shuts down
	Paused               // held, by a program or a person
	Stalled              // held by the hypervisor, because a disk could not be written
	Other                // being migrated or dumped, or asleep: leave it alone
)

func (s State) String() string {
	switch s {
	case Off:
		return "off"
	case Running:
		return "running"
	case Paused:
		return "paused"
	case Stalled:
		return "stalled"
	}
	return "in an unusual state"
}

// Means is how a guest is asked to shut down.
type Means uint8

// The means of asking a guest to shut down.
const (
	ACPI  Means = iota // its power button
	Agent              // the agent that runs in it
)

func (m Means) String() string {
	if m == Agent {
		return "agent"
	}
	return "ACPI"
}

// Overlay is a file to be put over what a disk consists of.
type Overlay struct {
	Disk string // such as "vda"
	Path string // of the file to be made
}

// BlockJob is what goes on on a disk.
type BlockJob struct {
	Commit      bool // of the overlay into what is beneath it; else somebody else's
	Ready       bool // all is merged, and is kept merged until Pivot
	Done, Total int64
}

// BlockInfo is the size of what a disk is written to now, in bytes.
type BlockInfo struct {
	Capacity   int64 // as the guest sees it
	Allocation int64 // taken on the host's disk
}

// Event is something that happened to a machine.
type Event struct {
	UUID string
	Kind Kind
	Disk string // of a block job or a stall, where it is known
}

// Kind is what an event is about.
type Kind uint8

// The kinds of events.
const (
	StateChanged    Kind = iota // started, stopped, held or resumed
	DiskStalled                 // the machine is held, because a disk could not be written
	BlockJobChanged             // a block job became ready or ended
	AgentChanged                // the agent in the guest came or went
)
