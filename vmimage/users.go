package vmimage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/obskeep/obskeep/vmimage/virt"
)

// user is a disk of a machine of the host, as the machine runs or will be started.
type user struct {
	machine, disk, path string
	file                os.FileInfo // nil if there is none
}

// users are the disks of all machines of the host, also of those that are not imaged.
func (e *Engine) users(ctx context.Context, machines []virt.Machine) ([]user, error) {
	var users []user
	for _, m := range machines {
		for _, inactive := range []bool{false, true} {
			if inactive && !m.Persistent {
				continue
			}
			d, err := e.domain(ctx, m.UUID, inactive)
			if errors.Is(err, virt.ErrLost) {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
			if err != nil { // it is gone since, or refused if it is to be imaged
				e.c.Logger.Warn("disks of a machine", "machine", m.Name, "err", err)
				continue
			}
			for _, disk := range d.Disks {
				if disk.Imaged() && disk.Path != "" {
					users = append(users, user{m.Name, disk.Name, disk.Path, fileOf(disk.Path)})
				}
			}
		}
	}
	return users, nil
}

// fileOf is where a path leads to, nil if nowhere.
func fileOf(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

// unshared returns an error if a file of the machine is that of another disk as well: an overlay
// over the one would not be seen by the other.
func unshared(p Planned, users []user) error {
	for _, d := range p.Disks {
		file := fileOf(d.Path)
		for _, u := range users {
			same := u.path == d.Path || file != nil && u.file != nil && os.SameFile(file, u.file)
			if same && (u.machine != p.Name || u.disk != d.Name) {
				return fmt.Errorf("disk %s is %s, which is disk %s of %s as well (%s): give each a file of its own", d.Name, d.Path, u.disk, u.machine, u.path)
			}
		}
	}
	return nil
}
