package rsync

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

// group is a group of hard links. The first gets the data, if any.
type group struct {
	first string
	more  []string
}

// isLater reports whether an entry is a hard link to one before it. These wait
// until all files have come. The lists are forgotten meanwhile.
func (t *tree) isLater(e *flist.Entry) bool {
	if !t.r.o.HardLinks || e.IsDir() || e.Extra == nil || e.Link < 0 {
		return false
	}
	name := strings.Clone(e.Name)
	g := t.links[e.Link]
	if g == nil {
		t.links[e.Link] = &group{first: name}
		return false
	}
	if g.more = append(g.more, name); len(g.more) == 1 {
		t.groups = append(t.groups, g)
	}
	return true
}

// link makes the members of a group links to its first.
func (t *tree) link(g *group) {
	first := t.name(g.first)
	fi, err := t.lstat(first)
	for _, entry := range g.more {
		if err != nil || fi == nil {
			t.r.fail(entry, fmt.Errorf("%s, to which it is a link, is not there", quote(g.first)))
			continue
		}
		name := t.name(entry)
		if now, err := t.lstat(name); err == nil && now != nil && os.SameFile(now, fi) {
			continue
		}
		if err := t.linkTo(first, name); err != nil {
			t.r.fail(entry, bare(err))
			continue
		}
		t.r.count(func(s *Stats) { s.Made++ })
	}
}

// linkTo makes name a link to first, in place of what file is there.
func (t *tree) linkTo(first, name string) error {
	return t.in(name, func(dir *os.Root, base string) error {
		temp := tempName(base)
		if err := t.root.Link(first, path.Join(path.Dir(name), temp)); err != nil {
			return err
		}
		if err := dir.Rename(temp, base); err != nil {
			return errors.Join(err, dir.Remove(temp))
		}
		return nil
	})
}
