package storetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/obskeep/obskeep/transfer"
)

// Mem is a [transfer.Tree] in memory. The zero value is an empty one.
type Mem struct {
	// Fault, if not nil, is called before each operation and may fail it. The
	// operations are those of Store, Tree and Upload in lower case: "stat",
	// "open", "read", "create", "write", "commit", "list", "remove", "mkdir",
	// "symlink", "setinfo", "rename".
	Fault func(op, name string) error

	mu    sync.Mutex
	nodes map[string]node
	parts map[string]part
	busy  map[string]bool
}

type node struct {
	info transfer.Info
	data []byte
}

type part struct {
	source transfer.Info
	data   []byte
}

func (m *Mem) fault(op, name string) error {
	if m.Fault == nil {
		return nil
	}
	return m.Fault(op, name)
}

func (m *Mem) lock() func() {
	m.mu.Lock()
	if m.nodes == nil {
		m.nodes = map[string]node{".": {info: transfer.Info{Name: ".", Mode: fs.ModeDir | 0o755}}}
		m.parts = map[string]part{}
		m.busy = map[string]bool{}
	}
	return m.mu.Unlock
}

// Put stores a file, whatever was there.
func (m *Mem) Put(info transfer.Info, data []byte) {
	defer m.lock()()
	m.parents(info.Name)
	info.Size = int64(len(data))
	if info.Mode == 0 {
		info.Mode = 0o644
	}
	m.nodes[info.Name] = node{info, data}
}

// Data is what a file holds.
func (m *Mem) Data(name string) []byte {
	defer m.lock()()
	return m.nodes[name].data
}

// Names are all entries, sorted.
func (m *Mem) Names() []string {
	defer m.lock()()
	return slices.Sorted(maps.Keys(m.nodes))
}

func (m *Mem) parents(name string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := m.nodes[dir]; !ok {
			m.nodes[dir] = node{info: transfer.Info{Name: dir, Mode: fs.ModeDir | 0o755}}
		}
	}
}

// begin checks what all operations do first.
func (m *Mem) begin(ctx context.Context, op, name string) error {
	return cmp.Or(ctx.Err(), transfer.ValidName(name), m.fault(op, name))
}

func (m *Mem) Stat(ctx context.Context, name string) (transfer.Info, error) {
	if err := m.begin(ctx, "stat", name); err != nil {
		return transfer.Info{}, err
	}
	defer m.lock()()
	n, ok := m.nodes[name]
	if !ok {
		return transfer.Info{}, fs.ErrNotExist
	}
	return n.info, nil
}

func (m *Mem) Open(ctx context.Context, name string, off int64) (io.ReadCloser, error) {
	if err := m.begin(ctx, "open", name); err != nil {
		return nil, err
	}
	defer m.lock()()
	n, ok := m.nodes[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if !n.info.Mode.IsRegular() {
		return nil, fs.ErrInvalid
	}
	return &memReader{m, name, bytes.NewReader(n.data[min(off, int64(len(n.data))):])}, nil
}

type memReader struct {
	m    *Mem
	name string
	r    *bytes.Reader
}

func (r *memReader) Read(p []byte) (int, error) {
	if err := r.m.fault("read", r.name); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (r *memReader) Close() error { return nil }

func (m *Mem) HashPrefix(ctx context.Context, name string, n int64) (transfer.Prefix, error) {
	r, err := m.Open(ctx, name, 0)
	if err != nil {
		return transfer.Prefix{}, err
	}
	return transfer.HashReader(ctx, r, n)
}

func (m *Mem) List(ctx context.Context, dir string) iter.Seq2[transfer.Info, error] {
	return func(yield func(transfer.Info, error) bool) {
		if err := m.begin(ctx, "list", dir); err != nil {
			yield(transfer.Info{}, err)
			return
		}
		unlock := m.lock()
		top, ok := m.nodes[dir]
		var infos []transfer.Info
		for name, n := range m.nodes {
			if name != "." && path.Dir(name) == dir {
				infos = append(infos, n.info)
			}
		}
		unlock()
		if !ok || !top.info.Mode.IsDir() {
			yield(transfer.Info{}, fs.ErrNotExist)
			return
		}
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (m *Mem) Remove(ctx context.Context, name string) error {
	if err := m.begin(ctx, "remove", name); err != nil {
		return err
	}
	defer m.lock()()
	if _, ok := m.nodes[name]; !ok {
		return fs.ErrNotExist
	}
	for other := range m.nodes {
		if strings.HasPrefix(other, name+"/") {
			return fs.ErrExist
		}
	}
	delete(m.nodes, name)
	return nil
}

func (m *Mem) Mkdir(ctx context.Context, info transfer.Info) error {
	if err := m.begin(ctx, "mkdir", info.Name); err != nil {
		return err
	}
	defer m.lock()()
	if n, ok := m.nodes[info.Name]; ok {
		if !n.info.Mode.IsDir() {
			return fs.ErrExist
		}
		return nil
	}
	m.parents(info.Name)
	m.nodes[info.Name] = node{info: transfer.Info{Name: info.Name, Mode: fs.ModeDir | info.Mode.Perm()}}
	return nil
}

func (m *Mem) Symlink(ctx context.Context, info transfer.Info) error {
	if err := m.begin(ctx, "symlink", info.Name); err != nil {
		return err
	}
	defer m.lock()()
	if m.nodes[info.Name].info.Mode.IsDir() {
		return fs.ErrExist
	}
	m.parents(info.Name)
	info.Mode = fs.ModeSymlink | 0o777
	m.nodes[info.Name] = node{info: info}
	return nil
}

func (m *Mem) SetInfo(ctx context.Context, info transfer.Info) error {
	if err := m.begin(ctx, "setinfo", info.Name); err != nil {
		return err
	}
	defer m.lock()()
	n, ok := m.nodes[info.Name]
	if !ok {
		return fs.ErrNotExist
	}
	n.info.ModTime = info.ModTime
	n.info.Mode = n.info.Mode.Type() | info.Mode&^fs.ModeType
	m.nodes[info.Name] = n
	return nil
}

func (m *Mem) Rename(ctx context.Context, oldname, newname string) error {
	if err := cmp.Or(m.begin(ctx, "rename", oldname), transfer.ValidName(newname)); err != nil {
		return err
	}
	defer m.lock()()
	if _, ok := m.nodes[newname]; ok {
		return fs.ErrExist
	}
	if _, ok := m.nodes[oldname]; !ok {
		return fs.ErrNotExist
	}
	if parent, ok := m.nodes[path.Dir(newname)]; !ok || !parent.info.Mode.IsDir() {
		return fs.ErrNotExist
	}
	for name, n := range maps.Clone(m.nodes) {
		if rest, ok := strings.CutPrefix(name, oldname); ok && (rest == "" || rest[0] == '/') {
			delete(m.nodes, name)
			n.info.Name = newname + rest
			m.nodes[n.info.Name] = n
		}
	}
	return nil
}

func (m *Mem) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	if err := m.begin(ctx, "create", info.Name); err != nil {
		return nil, err
	}
	if info.Name == "." {
		return nil, transfer.ErrName
	}
	defer m.lock()()
	if m.busy[info.Name] {
		return nil, transfer.ErrBusy
	}
	m.busy[info.Name] = true
	return &memUpload{m: m, ctx: ctx, info: info, hash: sha256.New()}, nil
}

type memUpload struct {
	m    *Mem
	ctx  context.Context
	info transfer.Info
	data []byte
	copy []byte // of the previous version, and what was written over it
	hash hash.Hash
	done bool
}

func (u *memUpload) Resume(ctx context.Context, same func(transfer.Kept) (bool, error)) (int64, error) {
	unlock := u.m.lock()
	p, ok := u.m.parts[u.info.Name]
	unlock()
	if !ok {
		return 0, nil
	}
	if ok, err := same(transfer.Kept{Size: int64(len(p.data)), Sum: sha256.Sum256(p.data), Source: p.source}); !ok {
		return 0, err
	}
	u.data = slices.Clone(p.data)
	u.hash.Write(u.data)
	return int64(len(u.data)), nil
}

func (u *memUpload) Write(p []byte) (int, error) {
	if err := cmp.Or(u.ctx.Err(), u.m.fault("write", u.info.Name)); err != nil {
		return 0, err
	}
	u.data = append(u.data, p...)
	return u.hash.Write(p)
}

var _ transfer.Prover = (*memUpload)(nil)

func (u *memUpload) Copy(context.Context, bool) error {
	defer u.m.lock()()
	u.copy = slices.Clone(u.m.nodes[u.info.Name].data)
	return nil
}

func (u *memUpload) WriteAt(p []byte, off int64) (int, error) {
	if more := off + int64(len(p)) - int64(len(u.copy)); more > 0 {
		u.copy = append(u.copy, make([]byte, more)...)
	}
	return copy(u.copy[off:], p), nil
}

func (u *memUpload) Reach(n int64, state hash.Hash) error {
	if int64(len(u.copy)) < n {
		return io.ErrUnexpectedEOF
	}
	u.data, u.hash = append(u.data, u.copy[len(u.data):n]...), state
	return nil
}

func (u *memUpload) HashPrefix(ctx context.Context, n int64) (transfer.Prefix, error) {
	return transfer.HashReader(ctx, bytes.NewReader(u.copy), n)
}

func (u *memUpload) ReadBack(context.Context) (io.ReaderAt, error) {
	return bytes.NewReader(u.copy), nil
}

func (u *memUpload) Sum() [sha256.Size]byte { return [sha256.Size]byte(u.hash.Sum(nil)) }

func (u *memUpload) Commit(ctx context.Context, readBack bool) error {
	if err := u.m.begin(ctx, "commit", u.info.Name); err != nil {
		return err
	}
	if readBack && sha256.Sum256(u.data) != u.Sum() {
		return transfer.ErrCorrupt
	}
	defer u.m.lock()()
	if u.m.nodes[u.info.Name].info.Mode.IsDir() {
		return fs.ErrExist
	}
	u.m.parents(u.info.Name)
	info := u.info
	info.Size = int64(len(u.data))
	u.m.nodes[info.Name] = node{info, u.data}
	delete(u.m.parts, info.Name)
	u.done = true
	return nil
}

func (u *memUpload) Close() error {
	defer u.m.lock()()
	if !u.done && len(u.data) > 0 && u.hash != nil {
		u.m.parts[u.info.Name] = part{u.info, u.data}
	}
	delete(u.m.busy, u.info.Name)
	u.done = true
	return nil
}
