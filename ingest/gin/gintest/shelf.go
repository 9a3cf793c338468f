package gintest

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/internal/durable"
)

// File is a file that is held.
type File struct {
	gin.Entry
	Name   string
	User   string // who uploaded it
	Size   int
	SHA256 [sha256.Size]byte
}

func newFile(e gin.Entry, name, user string, data []byte, now time.Time) File {
	e.Uploaded = now.UTC().Truncate(time.Second)
	return File{Entry: e, Name: name, User: user, Size: len(data), SHA256: sha256.Sum256(data)}
}

// path is where the file lies in the folder of a server.
func (f File) path() string {
	return path.Join(f.Station, f.Start.UTC().Format("2006-002"), fmt.Sprintf("%d-%s", f.ID, f.Name))
}

// shelf holds the files, in a folder or in memory.
type shelf struct {
	root  *os.Root // nil: in memory
	index *index   // nil: in memory

	mu     sync.Mutex
	files  []File // in the order of their ids
	memory map[int64][]byte
	byHash map[[sha256.Size]byte]int64
	byName map[string]int64
	daily  map[string]int
	broken error // why nothing can be told or stored any more
}

func openShelf(dir string) (*shelf, error) {
	s := &shelf{memory: map[int64][]byte{}, byHash: map[[sha256.Size]byte]int64{}, byName: map[string]int64{}, daily: map[string]int{}}
	if dir == "" {
		return s, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	s.root = root
	var files []File
	if s.index, files, err = openIndex(root); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), root.Close())
	}
	for _, f := range files {
		s.know(f)
	}
	if err := s.removeUnindexed(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), s.close())
	}
	return s, nil
}

// removeUnindexed removes the file whose line a crash kept from being written.
func (s *shelf) removeUnindexed() error {
	left, err := fs.Glob(s.root.FS(), fmt.Sprintf("*/*/%d-*", s.next()))
	for _, name := range left {
		err = errors.Join(err, s.root.Remove(name))
	}
	return err
}

func (s *shelf) next() int64 {
	if len(s.files) == 0 {
		return 1
	}
	return s.files[len(s.files)-1].ID + 1
}

func (s *shelf) know(f File) {
	s.files = append(s.files, f)
	s.byHash[f.SHA256] = f.ID
	s.byName[f.span()] = f.ID
	s.daily[day(f.Station, f.Uploaded)]++
}

// span is what two files have in common if they are the same by [SameName].
func (f File) span() string { return fmt.Sprint(f.Name, f.Start.Unix(), f.Duration) }

func day(station string, t time.Time) string { return station + t.UTC().Format(time.DateOnly) }

// same returns the id of the same file, or zero.
func (s *shelf) same(f File, by Repeat) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by == SameName {
		return s.byName[f.span()]
	}
	return s.byHash[f.SHA256]
}

// uploads returns how many files of a station have been stored on the day of t.
func (s *shelf) uploads(station string, t time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.daily[day(station, t)]
}

// notStoredError says that a file is surely not stored.
type notStoredError struct{ err error }

func (e *notStoredError) Error() string { return "not stored: " + e.err.Error() }
func (e *notStoredError) Unwrap() error { return e.err }

// add stores a file under the next id. It is durable when add returns nil. The error
// is a notStoredError, or else it is not known whether the file will be there when
// the folder is opened again, and the shelf takes no more.
func (s *shelf) add(f File, data []byte) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	f.ID = s.next()
	if s.root == nil {
		s.memory[f.ID] = slices.Clone(data)
		s.know(f)
		return f.ID, nil
	}
	err := s.makeFolders(f)
	if err == nil {
		err = durable.WriteFile(s.root, f.path(), data, 0o644)
	}
	if err != nil {
		return 0, &notStoredError{err}
	}
	if err := s.index.append(f); err != nil {
		s.broken = fmt.Errorf("index: %w", err)
		return 0, s.broken
	}
	s.know(f)
	return f.ID, nil
}

// err says why nothing can be told or stored any more, or nil.
func (s *shelf) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// makeFolders makes the folders of a file, durably.
func (s *shelf) makeFolders(f File) error {
	folder := path.Dir(f.path())
	for _, dir := range []string{path.Dir(folder), folder} {
		err := s.root.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = durable.SyncDir(s.root, path.Dir(dir))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) file(id int64) (File, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := slices.BinarySearchFunc(s.files, id, func(f File, id int64) int { return cmp.Compare(f.ID, id) })
	if !ok {
		return File{}, false
	}
	return s.files[i], true
}

func (s *shelf) data(id int64) ([]byte, error) {
	f, ok := s.file(id)
	if !ok {
		return nil, fmt.Errorf("gintest: data, on id %d: %w", id, fs.ErrNotExist)
	}
	if s.root == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(s.memory[id]), nil
	}
	data, err := s.root.ReadFile(f.path())
	if err == nil && sha256.Sum256(data) != f.SHA256 {
		err = errors.New("the file is not what was uploaded")
	}
	if err != nil {
		return nil, fmt.Errorf("gintest: data, on id %d: %w", id, err)
	}
	return data, nil
}

func (s *shelf) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = errors.New("the server is closed")
	if s.root == nil {
		return nil
	}
	return errors.Join(s.index.close(), s.root.Close())
}

// Files returns what is held, in the order of the ids.
func (s *Server) Files() []File {
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	return slices.Clone(s.shelf.files)
}

// Data returns the bytes of a file. The error is [fs.ErrNotExist] if there is none.
func (s *Server) Data(id int64) ([]byte, error) { return s.shelf.data(id) }
