package main

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/internal/units"
	"github.com/obskeep/obskeep/vmimage"
)

// config is the configuration file.
type config struct {
	Name     string `toml:"name"`     // of the job, in reports; default: machines
	State    string `toml:"state"`    // folder of the journal; default in script.StateDir
	Parallel int    `toml:"parallel"` // machines that are imaged at once; default 1
	Host     struct {
		URI      string `toml:"uri"`      // default qemu:///system
		Overlays string `toml:"overlays"` // folder of the overlays; default beside each disk
		TPM      string `toml:"tpm"`      // folder of the emulated TPMs; default /var/lib/libvirt/swtpm
	} `toml:"host"`
	Machines []struct {
		Name     string            `toml:"name"`
		After    []string          `toml:"after"`    // machines that have to run again before this one is touched
		Mode     vmimage.Mode      `toml:"mode"`     // cold (default) or live
		Shutdown *script.Duration  `toml:"shutdown"` // the guest's time to shut down; default 3m
		Stubborn *vmimage.Stubborn `toml:"stubborn"` // if it does not: live (default), skip or destroy
	} `toml:"machine"`
	Target struct {
		Path    string            `toml:"path"`
		Reserve diskspace.Reserve `toml:"reserve"` // to leave free: 20 GiB, or 10%
		Overlay *script.Size      `toml:"overlay"` // room for what a machine writes meanwhile; default a tenth of each disk
		script.Retention
	} `toml:"target"`
	Report script.ReportConfig `toml:"report"`
}

// Check implements [script.Config].
func (c *config) Check() error {
	c.Name = cmp.Or(c.Name, "machines")
	c.State = cmp.Or(c.State, filepath.Join(script.StateDir(), "machines"))
	c.Host.URI = cmp.Or(c.Host.URI, "qemu:///system")
	switch u, err := url.Parse(c.Host.URI); {
	case err != nil || u.Host != "" || u.Scheme != "qemu" || u.Path != "/system" && u.Path != "/session":
		return fmt.Errorf("host.uri is %q: want qemu:///system or qemu:///session, this program runs on the host of the machines", c.Host.URI)
	case c.Parallel < 0:
		return fmt.Errorf("parallel is %d: want how many machines are imaged at once", c.Parallel)
	case len(c.Machines) == 0:
		return fmt.Errorf("no machine is named: want a table [[machine]] with a name for each")
	case !filepath.IsAbs(c.Target.Path):
		return fmt.Errorf("target.path is %q: want an absolute path", c.Target.Path)
	case c.Host.Overlays != "" && !filepath.IsAbs(c.Host.Overlays):
		return fmt.Errorf("host.overlays is %q: want an absolute path", c.Host.Overlays)
	case c.Host.TPM != "" && !filepath.IsAbs(c.Host.TPM):
		return fmt.Errorf("host.tpm is %q: want an absolute path", c.Host.TPM)
	case !filepath.IsAbs(c.State):
		return fmt.Errorf("state is %q: want an absolute path", c.State)
	}
	for i, m := range c.Machines {
		if m.Name == "" {
			return fmt.Errorf("machine %d has no name", i+1)
		}
		switch {
		case m.Mode == vmimage.Live && (m.Shutdown != nil || m.Stubborn != nil):
			return fmt.Errorf("machine %s: shutdown and stubborn say nothing of mode live: want them away, or mode cold", m.Name)
		case m.Shutdown != nil && time.Duration(*m.Shutdown) < time.Second:
			return fmt.Errorf("machine %s: shutdown is %v: want a second at least", m.Name, time.Duration(*m.Shutdown))
		}
	}
	if o := c.Target.Overlay; o != nil && *o < 16<<20 {
		return fmt.Errorf("target.overlay is %s: want 16 MiB at least, or a machine stops in the middle", units.Bytes(int64(*o)))
	}
	return cmp.Or(c.Target.Retention.Check(), c.Report.Check())
}

func (c *config) machines() []vmimage.Machine {
	var machines []vmimage.Machine
	for _, m := range c.Machines {
		machine := vmimage.Machine{Name: m.Name, After: m.After, Mode: m.Mode}
		if m.Shutdown != nil {
			machine.Shutdown = time.Duration(*m.Shutdown)
		}
		if m.Stubborn != nil {
			machine.Stubborn = *m.Stubborn
		}
		machines = append(machines, machine)
	}
	return machines
}

// overlay is for vmimage.Config.
func (c *config) overlay() int64 {
	if c.Target.Overlay == nil {
		return 0
	}
	return int64(*c.Target.Overlay)
}
