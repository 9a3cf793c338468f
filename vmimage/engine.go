package vmimage

import (
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

	// Parallel is how many machines are imaged at the same time, each once those that it is
	// after are done. Zero means one. Open, Logger and Now are called concurrently if it is
	// more.
	Parallel int

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
	c.Parallel = max(c.Parallel, 1)
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
