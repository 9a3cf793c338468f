package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/examples/internal/script"
)

// config is the configuration file.
type config struct {
	Name   string          `toml:"name"`   // of the job, in reports; default: images
	Expect script.Duration `toml:"expect"` // how old the newest image of a machine may be: 192h; none: nobody asks
	Source struct {
		script.SSH
		Path      string      `toml:"path"`      // folder of images on the server
		Bandwidth script.Size `toml:"bandwidth"` // limit per second: 20 MiB
	} `toml:"source"`
	Target struct {
		Path    string            `toml:"path"`
		Reserve diskspace.Reserve `toml:"reserve"` // to leave free: 20 GiB, or 10%
		script.Retention
	} `toml:"target"`
	Report script.ReportConfig `toml:"report"`
}

// Check implements [script.Config].
func (c *config) Check() error {
	c.Name = cmp.Or(c.Name, "images")
	from, to := filepath.Clean(c.Source.Path), filepath.Clean(c.Target.Path)
	switch {
	case c.Source.Path == "":
		return fmt.Errorf("source.path is missing: want the folder of images on the server")
	case c.Source.Address == "" && !filepath.IsAbs(c.Source.Path):
		return fmt.Errorf("source.path is %q: want an absolute path, or an address before it", c.Source.Path)
	case !filepath.IsAbs(c.Target.Path):
		return fmt.Errorf("target.path is %q: want an absolute path", c.Target.Path)
	case c.Source.Address == "" && (within(from, to) || within(to, from)):
		return fmt.Errorf("source.path and target.path are in one another: %s, %s", from, to)
	case c.Expect < 0:
		return fmt.Errorf("expect is negative")
	}
	return cmp.Or(c.Source.SSH.Check("source"), c.Target.Retention.Check(), c.Report.Check())
}

// within reports whether dir is in top, or is it.
func within(dir, top string) bool {
	separator := string(filepath.Separator)
	return strings.HasPrefix(dir+separator, strings.TrimSuffix(top, separator)+separator)
}
