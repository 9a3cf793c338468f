package main

import (
	"cmp"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/obskeep/obskeep/diskspace"
	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/julian"
)

// config is the configuration file.
type config struct {
	Name   string `toml:"name"` // of the job, in reports; default: the target's last folder
	Source struct {
		script.SSH
		Path      julian.Pattern  `toml:"path"`       // of a day's folder: /data/supim/%Y/%j
		Settled   script.Duration `toml:"settled"`    // nothing changed for so long: complete; default 10m
		Marker    string          `toml:"marker"`     // or: this file is there
		CatchUp   *int            `toml:"catchup"`    // days to look back for missed ones; default 30
		UTCOffset script.Duration `toml:"utc_offset"` // of the clock by which its days begin: -3h
		Bandwidth script.Size     `toml:"bandwidth"`  // limit per second: 2 MiB
	} `toml:"source"`
	Target struct {
		Path    julian.Pattern    `toml:"path"`
		Reserve diskspace.Reserve `toml:"reserve"` // to leave free: 20 GiB, or 10%
		Keep    int               `toml:"keep"`    // days; 0 keeps all
	} `toml:"target"`
	Report script.ReportConfig `toml:"report"`

	sourceDir, targetDir   string // the folders that all days are in
	sourceDays, targetDays julian.Pattern
}

// Check implements [script.Config].
func (c *config) Check() error {
	for key, p := range map[string]julian.Pattern{"source.path": c.Source.Path, "target.path": c.Target.Path} {
		switch {
		case p.String() == "":
			return fmt.Errorf("%s is missing: want a path such as /data/supim/%%Y/%%j", key)
		case !p.NamesDay():
			return fmt.Errorf("%s is %q: want %%Y and %%j in it, or %%Y, %%m and %%d", key, p)
		}
	}
	c.sourceDir, c.sourceDays = c.Source.Path.Split()
	c.targetDir, c.targetDays = c.Target.Path.Split()
	switch {
	case c.Source.Settled < 0:
		return fmt.Errorf("source.settled is negative")
	case c.Source.CatchUp != nil && *c.Source.CatchUp < 0:
		return fmt.Errorf("source.catchup is %d: it cannot be negative", *c.Source.CatchUp)
	case time.Duration(c.Source.UTCOffset).Abs() >= 24*time.Hour:
		return fmt.Errorf("source.utc_offset is %v: want less than 24h either way", time.Duration(c.Source.UTCOffset))
	case c.Source.Address == "" && (within(c.sourceDir, c.targetDir) || within(c.targetDir, c.sourceDir)):
		return fmt.Errorf("source.path and target.path are in one another: %s, %s", c.sourceDir, c.targetDir)
	case c.Target.Keep < 0:
		return fmt.Errorf("target.keep is %d: it cannot be negative", c.Target.Keep)
	case !filepath.IsAbs(filepath.FromSlash(c.targetDir)):
		return fmt.Errorf("target.path is %q: want an absolute path", c.Target.Path)
	case c.Source.Address == "" && !filepath.IsAbs(filepath.FromSlash(c.sourceDir)):
		return fmt.Errorf("source.path is %q: want an absolute path, or an address before it", c.Source.Path)
	}
	c.Name = cmp.Or(c.Name, path.Base(c.targetDir))
	return cmp.Or(c.Source.SSH.Check("source"), c.Report.Check())
}

// catchUp is for keep.Config.
func (c *config) catchUp() int {
	switch n := c.Source.CatchUp; {
	case n == nil:
		return 30
	case *n <= 0:
		return -1
	default:
		return *n
	}
}

// origin is where the days come from, for keep.Config: the same for all
// spellings of an address.
func (c *config) origin() string {
	if c.Source.Address == "" {
		return c.Source.Path.String()
	}
	host, port, err := net.SplitHostPort(c.Source.Address)
	if err != nil {
		host, port = strings.Trim(c.Source.Address, "[]"), "22"
	}
	return c.Source.Path.String() + " on " + net.JoinHostPort(host, port)
}

func (c *config) zone() *time.Location {
	return time.FixedZone("", int(time.Duration(c.Source.UTCOffset)/time.Second))
}

// within reports whether dir is in top, or is it.
func within(dir, top string) bool {
	return strings.HasPrefix(dir+"/", strings.TrimSuffix(top, "/")+"/")
}
