package rsync

import (
	"context"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/obskeep/obskeep/transfer/rsync/internal/flist"
)

// Entry describes what a server has under a name.
type Entry struct {
	Name    string // below the directory listed, which is "."
	Size    int64  // bytes, of a regular file
	ModTime time.Time
	Mode    fs.FileMode
	Target  string // of a symbolic link
}

func entryOf(e *flist.Entry) Entry {
	out := Entry{Name: e.Name, ModTime: timeOf(e), Mode: permissions(e.Mode)}
	switch e.Mode & modeType {
	case modeFile:
		out.Size = e.Size
	case modeDir:
		out.Mode |= fs.ModeDir
	case modeLink:
		out.Mode |= fs.ModeSymlink
		if e.Extra != nil {
			out.Target = e.Extra.Target
		}
	case modePipe:
		out.Mode |= fs.ModeNamedPipe
	case modeSocket:
		out.Mode |= fs.ModeSocket
	case modeBlock:
		out.Mode |= fs.ModeDevice
	case modeChar:
		out.Mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	return out
}

// ListOptions are those with which a server is to be started for [List].
func ListOptions() *Options { return &Options{Recursive: true, Links: true, NoIncremental: true} }

// List calls f with all that the server at the other end of c lists, as it
// comes: rsync sends each directory before what is in it. The server was started with
// ListOptions().ServerArgs(true, "dir/"). An Error of CodePartial or CodeVanished
// means that the list is not complete.
func List(ctx context.Context, c Conn, f func(Entry)) error {
	_, err := client(ctx, c, ListOptions(), false, func(s *session) error {
		s.passOn = func(e *flist.Entry) { f(entryOf(e)) }
		r, err := s.askForList()
		if err != nil {
			return err
		}
		r.plan = fetchPlan{}
		return r.run(ctx)
	})
	return err
}

// Basis is another version of a file that is wanted.
type Basis interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes
}

// Output takes a file that is sent, from its beginning to its end. Its methods
// are called one after the other; those of different files side by side.
type Output interface {
	// Literal takes data that were sent; they are valid during the call.
	Literal(p []byte) error

	// Matched takes the bytes p, which are at off in the basis.
	Matched(p []byte, off int64) error

	// Done ends the file. Its bytes are those of the source if err is nil.
	// After an ErrCorrupt the file may be created once more.
	Done(err error) error
}

// Want is a file that is wanted of a server.
type Want struct {
	Name    string // below the directory
	Size    int64
	ModTime time.Time // to the second at least

	// Basis opens what is there of the file. Nil means that nothing is.
	Basis func() (Basis, error)

	// Create is called when the file begins to come.
	Create func() (Output, error)
}

// FetchOptions are those with which a server is to be started to [Fetch] some of
// many files.
func FetchOptions(wants []Want) *Options {
	o := &Options{Relative: true, FilesFrom: make([]string, len(wants))}
	for i, w := range wants {
		o.FilesFrom[i] = w.Name
	}
	return o
}

// Fetch has the wanted files sent by the server at the other end of c, which
// was started with o.ServerArgs(true, "dir/"): o is [FetchOptions] of wants, or
// [ListOptions], which is less work for the server if it has little else. A file
// that the server has in another size or of another time is not created, nor
// one that it has not. An error of the session leaves some files without Done.
func Fetch(ctx context.Context, c Conn, o *Options, wants []Want) (*Result, error) {
	return client(ctx, c, o, false, func(s *session) error {
		r, err := s.askForList()
		if err != nil {
			return err
		}
		p := make(fetchPlan, len(wants))
		for i := range wants {
			p[path.Clean(wants[i].Name)] = &wants[i]
		}
		r.plan = p
		return r.run(ctx)
	})
}

// fetchPlan asks for the files that are wanted, by their names, as far as they
// are on the list.
type fetchPlan map[string]*Want

func (fetchPlan) begin(*list) {}

func (p fetchPlan) entry(e *flist.Entry) *job {
	w := p[e.Name]
	if w == nil || !e.IsRegular() || e.Size != w.Size || e.Sec != w.ModTime.Unix() {
		return nil
	}
	delete(p, e.Name) // a list may have a name twice
	j := &job{kind: basisFile, basis: w.Basis, create: w.Create}
	if w.Basis == nil {
		j.flags = itemNew
	}
	return j
}

func (fetchPlan) late(context.Context) ([5]int32, error) { return [5]int32{}, nil }
