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

// readConfig reads and checks a configuration.
func readConfig(file string) (*config, error) {
	c := new(config)
	if err := script.ReadConfig(file, c); err != nil {
		return nil, err
	}
	wrong := func(format string, args ...any) (*config, error) {
		return nil, &script.UsageError{Err: fmt.Errorf("config %s: %w", file, fmt.Errorf(format, args...))}
	}
	c.Name = cmp.Or(c.Name, "images")
	from, to := filepath.Clean(c.Source.Path), filepath.Clean(c.Target.Path)
	switch {
	case c.Source.Path == "":
		return wrong("source.path is missing: want the folder of images on the server")
	case c.Source.Address == "" && !filepath.IsAbs(c.Source.Path):
		return wrong("source.path is %q: want an absolute path, or an address before it", c.Source.Path)
	case !filepath.IsAbs(c.Target.Path):
		return wrong("target.path is %q: want an absolute path", c.Target.Path)
	case c.Source.Address == "" && (within(from, to) || within(to, from)):
		return wrong("source.path and target.path are in one another: %s, %s", from, to)
	case c.Expect < 0:
		return wrong("expect is negative")
	}
	if err := cmp.Or(c.Source.SSH.Check(), c.Target.Retention.Check(), c.Report.Check()); err != nil {
		return wrong("%w", err)
	}
	return c, nil
}

// within reports whether dir is in top, or is it.
func within(dir, top string) bool {
	separator := string(filepath.Separator)
	return strings.HasPrefix(dir+separator, strings.TrimSuffix(top, separator)+separator)
}
