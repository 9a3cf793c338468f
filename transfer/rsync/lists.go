package rsync

import (
	"errors"
	"fmt"
	"os/user"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/obskeep/obskeep/transfer/rsync/internal/filter"
	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
	"github.com/obskeep/obskeep/transfer/rsync/internal/wire"
)

// list is the list of a session, or one of many. With incremental recursion
// the first has what was named and, if that is a root, what is in it; each of the
// others has what is in one directory of those before it.
type list struct {
	start   int32          // index of the first entry
	entries []*flist.Entry // sorted; none if they are passed on
	size    int32          // entries that were sent
	piece   bool           // one of many
	dir     *flist.Entry   // whose content it is; nil for the first

	open int // files asked for and not settled; of the receiver's mu
}

// holds reports whether the content of a directory that is in the list is in
// it, too.
func (l *list) holds(dir *flist.Entry) bool { return !l.piece || dir.Name == "." }

// lists reads the lists of a session, and keeps those whose entries the sender
// may name. It is for the goroutine that reads.
type lists struct {
	*session
	filters filter.List
	decoder *flist.Decoder
	next    int32 // index of the first entry of the next list
	more    bool  // lists are to come
	live    []*list
	dirs    []*directory      // by their numbers
	users   map[uint32]uint32 // ids here by ids there
	groups  map[uint32]uint32
}

// directory is what may get a list of its own.
type directory struct {
	entry  *flist.Entry
	listed bool
}

func newLists(s *session) (*lists, error) {
	filters, err := s.o.filters()
	l := &lists{
		session: s, filters: filters, decoder: flist.NewDecoder(s.r, s.listOptions()), more: s.incremental(),
		users: make(map[uint32]uint32), groups: make(map[uint32]uint32),
	}
	if l.more {
		l.next = 1
	}
	return l, err
}

// announced reads the list that an index announces; nil for the end of the lists.
func (l *lists) announced(ndx int32) (*list, error) {
	if !l.more {
		return nil, errors.New("the far side goes on with its lists after the last")
	}
	if ndx == wire.EndOfLists {
		l.more = false
		return nil, nil
	}
	n := int64(wire.ListOffset) - int64(ndx)
	if n >= int64(len(l.dirs)) {
		return nil, fmt.Errorf("the far side lists directory %d of %d", n, len(l.dirs))
	}
	d := l.dirs[n]
	switch {
	case d.listed:
		return nil, fmt.Errorf("the far side lists %s twice", quote(d.entry.Name))
	case d.entry.NoContent && !l.o.Relative && !l.o.OneFileSystem: // else what is below it may have been named, too, or is empty
		return nil, fmt.Errorf("the far side lists %s, which is to have no content", quote(d.entry.Name))
	}
	d.listed = true
	return l.read(d.entry)
}

// read reads a list: that of a directory, or the first.
func (l *lists) read(dir *flist.Entry) (*list, error) {
	next := &list{start: l.next, piece: l.incremental(), dir: dir}
	for {
		e, ok := l.decoder.Next()
		if !ok {
			break
		}
		if dir != nil && path.Dir(e.Name) != dir.Name {
			return nil, fmt.Errorf("the far side lists %s in %s", quote(e.Name), quote(dir.Name))
		}
		next.size++
		if l.passOn != nil {
			l.passOn(e)
		} else {
			next.entries = append(next.entries, e)
		}
	}
	l.ids(l.decoder.IDs(), next.entries)
	if err := l.r.Err(); err != nil {
		return nil, err
	}
	if err := l.unasked(next.entries); err != nil {
		return nil, err
	}
	flist.Sort(next.entries)
	if next.piece {
		l.numberDirs(next.entries)
	}
	l.next += next.size + 1
	l.live = append(l.live, next)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ioErrors |= l.decoder.IOErrors()
	for _, e := range next.entries {
		if e.IsRegular() {
			l.result.Files++
			l.result.Size += e.Size
		}
	}
	return next, nil
}

// numberDirs numbers the directories of a list. They are kept when the list is
// forgotten, so each becomes a copy that keeps none of its neighbours.
func (l *lists) numberDirs(sorted []*flist.Entry) {
	var last *directory
	for i, e := range sorted {
		if !e.IsDir() {
			continue
		}
		if last == nil || last.entry.Name != e.Name { // one name has one list
			c := *e
			c.Name, c.Extra = strings.Clone(e.Name), nil
			last = &directory{entry: &c, listed: e.Name == "."}
		}
		sorted[i] = last.entry
		l.dirs = append(l.dirs, last)
	}
}

// entry returns the entry of an index; nil if there is none.
func (l *lists) entry(ndx int32) *flist.Entry {
	i := sort.Search(len(l.live), func(i int) bool { return l.live[i].start > ndx }) - 1
	if i < 0 || int(ndx-l.live[i].start) >= len(l.live[i].entries) {
		return nil
	}
	return l.live[i].entries[ndx-l.live[i].start]
}

// ended forgets the oldest list, unless it is the last.
func (l *lists) ended() bool {
	if len(l.live) == 1 {
		return false
	}
	l.live[0] = nil
	l.live = l.live[1:]
	return true
}

// unasked returns an error if among the entries is what a client has excluded.
func (l *lists) unasked(entries []*flist.Entry) error {
	if l.server || len(l.filters) == 0 {
		return nil
	}
	excluded := map[string]bool{".": false}
	var isExcluded func(name string, isDir bool) bool
	isExcluded = func(name string, isDir bool) bool {
		if isDir {
			if ex, ok := excluded[name]; ok {
				return ex
			}
		}
		ex := l.filters.Excluded(name, isDir) || isExcluded(path.Dir(name), true)
		if isDir {
			excluded[name] = ex
		}
		return ex
	}
	for _, e := range entries {
		if !(e.Top && e.NoContent) && isExcluded(e.Name, e.IsDir()) {
			return fmt.Errorf("the far side sends %s, which was excluded", quote(e.Name))
		}
	}
	return nil
}

// ids maps the owners of entries to those of this machine, by their names where
// these exist here. The names come behind the list or, in a piece, with the
// first entry that has the id.
func (l *lists) ids(names flist.IDNames, entries []*flist.Entry) {
	for id, name := range names.Users {
		l.users[id] = userID(name, id)
	}
	for id, name := range names.Groups {
		l.groups[id] = groupID(name, id)
	}
	for _, e := range entries {
		if e.Extra != nil && !l.o.NumericIDs {
			if _, known := l.users[e.UID]; !known && e.User != "" {
				l.users[e.UID] = userID(e.User, e.UID)
			}
			if _, known := l.groups[e.GID]; !known && e.Group != "" {
				l.groups[e.GID] = groupID(e.Group, e.GID)
			}
		}
		if id, ok := l.users[e.UID]; ok {
			e.UID = id
		}
		if id, ok := l.groups[e.GID]; ok {
			e.GID = id
		}
	}
}

func userID(name string, otherwise uint32) uint32 {
	u, err := user.Lookup(name)
	if err != nil {
		return otherwise
	}
	return number(u.Uid, otherwise)
}

func groupID(name string, otherwise uint32) uint32 {
	g, err := user.LookupGroup(name)
	if err != nil {
		return otherwise
	}
	return number(g.Gid, otherwise)
}

func number(text string, otherwise uint32) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return otherwise
	}
	return uint32(n)
}
