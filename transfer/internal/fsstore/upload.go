package fsstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"path"
	"syscall"
	"time"

	"github.com/obskeep/obskeep/transfer"
)

const (
	// resumeMin is the size from which an upload is worth resuming.
	resumeMin = 1 << 20
	// firstNote is after how many bytes it is noted how far an upload has
	// come. The interval doubles up to maxNote, which is what a killed process
	// may lose: a bad line gets further in small steps, and a good one is
	// seldom held up.
	firstNote = 2 << 20
	maxNote   = 64 << 20
)

// Create begins an upload.
func (s *Store) Create(ctx context.Context, info transfer.Info) (transfer.Upload, error) {
	if err := validBelow(info.Name); err != nil {
		return nil, err
	}
	if err := s.begin(info.Name); err != nil {
		return nil, err
	}
	u := &Upload{
		store: s, ctx: ctx, info: info, base: path.Base(info.Name), hash: sha256.New(), interval: firstNote,
		part: hidden(partPrefix, info.Name), kept: hidden(keptPrefix, info.Name),
	}
	err := u.create()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err = s.mkdir(ctx, path.Dir(info.Name), 0o777); err == nil {
			err = u.create()
		}
	case errors.Is(err, fs.ErrPermission):
		// What was cut just before it got its name has its mode already.
		if s.FS.Remove(ctx, path.Join(path.Dir(info.Name), u.part)) == nil {
			err = u.create()
		}
	}
	if err != nil {
		s.end(info.Name)
		return nil, err
	}
	return u, nil
}

// create opens the hidden file in its directory.
func (u *Upload) create() error {
	dir, err := u.store.enter(u.ctx, path.Dir(u.info.Name))
	if err != nil {
		return err
	}
	perm := fs.FileMode(0o600)
	if !u.resumable() {
		perm = u.info.Mode.Perm() // it need not be opened again
	}
	u.file, err = dir.Create(u.ctx, u.part, perm, !u.resumable())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.Join(err, u.store.gone(dir))
	case err != nil:
		return errors.Join(err, u.store.leave(dir))
	}
	u.dir = dir
	return nil
}

// Upload is a [transfer.Upload] and a [transfer.Prover].
type Upload struct {
	store      *Store
	ctx        context.Context // of Create, for Write
	info       transfer.Info
	dir        *subdir // in which base, part and kept are
	base       string
	part, kept string
	file       File
	hash       hash.Hash // nil if it is not known
	off        int64     // bytes written
	state      File      // of the kept name, once there is one
	noted      int64     // bytes that the state vouches for
	interval   int64     // bytes from one note to the next
	asked      bool      // whether to resume
	begun      bool
	done       bool // shown or discarded
	full       bool // the disk
}

// Name is the name that the upload will have.
func (u *Upload) Name() string { return u.info.Name }

func (u *Upload) resumable() bool { return u.info.Size >= resumeMin }

func (u *Upload) Resume(ctx context.Context, same func(transfer.Kept) (bool, error)) (int64, error) {
	if !u.resumable() {
		return 0, nil
	}
	st, err := readState(ctx, u.dir, u.kept)
	ok := err == nil
	if ok {
		ok, err = u.holds(ctx, st)
	}
	if ok {
		ok, err = same(transfer.Kept{Size: st.size, Sum: st.sum(), Source: st.source})
		if err != nil {
			return 0, err
		}
	}
	if errors.Is(err, transfer.ErrLost) || ctx.Err() != nil {
		return 0, err
	}
	u.asked = true
	if !ok {
		return 0, nil
	}
	u.begun, u.off, u.noted, u.hash = true, st.size, st.size, st.hash
	return u.off, nil
}

// holds reports whether the file still holds what the state says, whatever
// crash or disk has had its hands on it since.
func (u *Upload) holds(ctx context.Context, st state) (bool, error) {
	if u.dir.CanHash(ctx) {
		p, err := u.dir.HashPrefix(ctx, u.part, st.size)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err == nil && p.Sum == st.sum(), err
		}
	}
	// Not hashed, it must have been durable when the state was noted.
	info, err := u.file.Stat(ctx)
	if err == nil {
		err = u.file.Sync(ctx)
	}
	return err == nil && info.Size >= st.size, err
}

func readState(ctx context.Context, from FS, name string) (state, error) {
	f, err := from.Open(ctx, name)
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f.Reader(ctx, 0), 4096))
	if err != nil {
		return state{}, err
	}
	return decodeState(b)
}

// begin clears away what is not resumed.
func (u *Upload) begin() error {
	if u.begun {
		return nil
	}
	u.begun = true
	if !u.resumable() {
		return nil
	}
	switch err := u.dir.Remove(u.ctx, u.kept); {
	case err == nil:
		return u.renew() // it may be a part of a basis
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return u.file.Truncate(u.ctx, 0)
}

func (u *Upload) Write(p []byte) (int, error) {
	if err := u.begin(); err != nil {
		return 0, err
	}
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := u.file.WriteAt(p, u.off)
	u.hash.Write(p[:n])
	u.off += int64(n)
	if err == nil {
		err = u.noteNow()
	}
	return n, u.seen(err)
}

// noteNow is note if it is time to.
func (u *Upload) noteNow() error {
	if !u.resumable() || u.off-u.noted < u.interval || u.off >= u.info.Size {
		return nil
	}
	u.interval = min(2*u.interval, maxNote)
	return u.note(u.ctx)
}

// seen takes note of a full disk.
func (u *Upload) seen(err error) error {
	u.full = u.full || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	return err
}

// note writes down how far the upload has come. A power cut may lose written
// bytes all the same: where the store can hash them, that will show; where it
// cannot, they must be durable before the state is.
func (u *Upload) note(ctx context.Context) error {
	if err := u.file.Flush(ctx); err != nil {
		return err
	}
	if !u.dir.CanHash(ctx) {
		if err := u.file.Sync(ctx); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	b, err := state{source: u.info, size: u.off, hash: u.hash}.encode()
	if err != nil {
		return err
	}
	if u.state == nil {
		if u.state, err = u.dir.Create(ctx, u.kept, 0o600, false); err != nil {
			return err
		}
	}
	if _, err := u.state.WriteAt(b, 0); err != nil {
		return err
	}
	u.noted = u.off
	return u.state.Flush(ctx)
}

// Copy implements [transfer.Copier] where the FS can copy.
func (u *Upload) Copy(ctx context.Context, share bool) error {
	files, ok := u.dir.FS.(interface {
		CopyFile(ctx context.Context, oldname, newname string, share bool) error
	})
	if !ok {
		return errors.ErrUnsupported
	}
	if u.off > 0 {
		return u.copied(ctx)
	}
	if err := u.begin(); err != nil {
		return err
	}
	if err := u.renew(); err != nil {
		return u.seen(err)
	}
	return u.seen(files.CopyFile(ctx, u.base, u.part, share))
}

// OpenKept implements [transfer.KeptOpener].
func (s *Store) OpenKept(ctx context.Context, info transfer.Info) (transfer.Basis, error) {
	if err := validBelow(info.Name); err != nil {
		return nil, err
	}
	dir := path.Dir(info.Name)
	st, err := readState(ctx, s.FS, path.Join(dir, hidden(keptPrefix, info.Name)))
	if err != nil || st.source.Size != info.Size || !st.source.ModTime.Equal(info.ModTime) {
		return nil, fs.ErrNotExist
	}
	f, err := s.FS.Open(ctx, path.Join(dir, hidden(partPrefix, info.Name)))
	if err != nil {
		return nil, err
	}
	at, ok := f.(io.ReaderAt)
	now, err := f.Stat(ctx)
	if err != nil || !ok || now.Size < st.size {
		return nil, errors.Join(fs.ErrNotExist, f.Close())
	}
	return keptBasis{at, f, st.size}, nil
}

type keptBasis struct {
	io.ReaderAt
	io.Closer
	size int64
}

func (b keptBasis) Size() int64 { return b.size }

// renew makes the hidden file another one of the same name. What copies for an upload
// that was cut may be at work yet, where the file is: it then writes to one without a name.
func (u *Upload) renew() error {
	if err := errors.Join(u.file.Close(), u.dir.Remove(u.ctx, u.part)); err != nil {
		return err
	}
	file, err := u.dir.Create(u.ctx, u.part, 0o600, true)
	if err == nil {
		u.file = file
	}
	return err
}

// copied returns nil if an upload that was interrupted and resumed had made the
// copy.
func (u *Upload) copied(ctx context.Context) error {
	now, err1 := u.file.Stat(ctx)
	old, err2 := u.dir.Lstat(ctx, u.base)
	err := errors.Join(err1, err2)
	if err == nil && now.Size < old.Size {
		err = errors.ErrUnsupported
	}
	return err
}

func (u *Upload) WriteAt(p []byte, off int64) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := u.file.WriteAt(p, off)
	return n, u.seen(err)
}

func (u *Upload) Reach(n int64, state hash.Hash) error {
	u.off, u.hash = n, state
	if state == nil {
		return nil
	}
	return u.seen(u.noteNow())
}

// HashPrefix implements [transfer.Prover] where the FS can hash.
func (u *Upload) HashPrefix(ctx context.Context, n int64) (transfer.Prefix, error) {
	if !u.dir.CanHash(ctx) {
		return transfer.Prefix{}, errors.ErrUnsupported
	}
	if err := u.file.Flush(ctx); err != nil {
		return transfer.Prefix{}, u.seen(err)
	}
	return u.dir.HashPrefix(ctx, u.part, n)
}

// ReadBack implements [transfer.Prover].
func (u *Upload) ReadBack(ctx context.Context) (io.ReaderAt, error) {
	if err := u.file.Flush(ctx); err != nil {
		return nil, u.seen(err)
	}
	if err := u.sync(ctx); err != nil {
		return nil, err
	}
	if d, ok := u.file.(cacheDropper); ok {
		d.DropCache()
	}
	return stored{ctx, u.file}, nil
}

type stored struct {
	ctx  context.Context
	file File
}

func (s stored) ReadAt(p []byte, off int64) (int, error) {
	n, err := io.ReadFull(s.file.Reader(s.ctx, off), p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

func (u *Upload) Sum() [sha256.Size]byte { return [sha256.Size]byte(u.hash.Sum(nil)) }

// Commit makes one upload visible.
func (u *Upload) Commit(ctx context.Context, readBack bool) error {
	if err := u.finish(ctx); err != nil {
		return u.seen(err)
	}
	if err := u.secure(ctx, readBack); err != nil {
		return err
	}
	if err := u.show(ctx); err != nil {
		return err
	}
	return u.dir.SyncDir(ctx, ".")
}

// secure makes the bytes durable, and reads them back: once they are on the disk,
// or meanwhile if they can be had from memory only.
func (u *Upload) secure(ctx context.Context, readBack bool) error {
	if !readBack || u.dropsCache() {
		if err := u.sync(ctx); err != nil || !readBack {
			return err
		}
		return u.readBack(ctx)
	}
	synced := make(chan error, 1)
	go func() { synced <- u.file.Sync(ctx) }()
	err := u.readBack(ctx)
	return cmp.Or(u.synced(<-synced), err)
}

// cacheDropper is a File of which memory can be made to forget what the disk has.
type cacheDropper interface{ DropCache() }

func (u *Upload) dropsCache() bool {
	_, ok := u.file.(cacheDropper)
	return ok
}

// finish gives the file its length, mode and time.
func (u *Upload) finish(ctx context.Context) error {
	if err := u.begin(); err != nil {
		return err
	}
	if err := u.file.Flush(ctx); err != nil {
		return err
	}
	if u.resumable() {
		// A resumed file may have been longer.
		if err := u.file.Truncate(ctx, u.off); err != nil {
			return err
		}
	}
	return u.file.SetInfo(ctx, u.info)
}

func (u *Upload) sync(ctx context.Context) error { return u.synced(u.file.Sync(ctx)) }

// synced is what it says of a file that there was no way to sync it.
func (u *Upload) synced(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return u.seen(err)
}

// readBack compares what is stored with what was written. Bytes that differ
// are no good to anybody and go.
func (u *Upload) readBack(ctx context.Context) error {
	if d, ok := u.file.(cacheDropper); ok {
		d.DropCache()
	}
	var p transfer.Prefix
	err := errors.ErrUnsupported
	if u.resumable() && u.dir.CanHash(ctx) {
		p, err = u.dir.HashPrefix(ctx, u.part, u.off)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		p, err = transfer.HashReader(ctx, u.file.Reader(ctx, 0), u.off)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // shorter is different, too
	}
	if err == nil && p.Sum != u.Sum() {
		u.done = true
		err = errors.Join(transfer.ErrCorrupt, u.discard(ctx))
	}
	return err
}

// show gives the file its name. The note goes first: a crash in between costs
// the file another transfer, the other way round the note would stay for ever.
func (u *Upload) show(ctx context.Context) error {
	if u.noted > 0 {
		if u.state != nil {
			if err := u.state.Close(); err != nil {
				return err
			}
		}
		u.state, u.noted = nil, 0
		if err := u.dir.Remove(ctx, u.kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err := u.dir.Replace(ctx, u.part, u.base)
	if err != nil {
		// It may have been done, and only the answer is lost.
		_, gone := u.dir.Lstat(ctx, u.part)
		u.done = errors.Is(gone, fs.ErrNotExist)
		return err
	}
	u.done = true
	return nil
}

func (u *Upload) discard(ctx context.Context) error {
	var err error
	if u.full {
		// A server may close the file later, and free its space only then.
		err = u.file.Truncate(ctx, 0)
	}
	err = errors.Join(err, u.dir.Remove(ctx, u.part))
	if e := u.dir.Remove(ctx, u.kept); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// closeTimeout bounds what Close does after the caller has given up.
const closeTimeout = 5 * time.Second

// Close keeps what arrived, if it is worth it: nothing small, and nothing on a
// disk that it has filled.
func (u *Upload) Close() error {
	if u.file == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), closeTimeout)
	defer cancel()
	var err error
	if !u.done && (u.asked || !u.resumable()) { // else what an earlier upload left is for the next
		if u.resumable() && u.off > u.noted && !u.full && u.hash != nil {
			err = u.seen(u.note(ctx))
		}
		if u.off == 0 || u.full || !u.resumable() {
			err = u.discard(ctx)
		}
	}
	err = errors.Join(err, u.file.Close())
	if u.state != nil {
		err = errors.Join(err, u.state.Close())
	}
	u.file, u.state = nil, nil
	err = errors.Join(err, u.store.leave(u.dir))
	u.store.end(u.info.Name)
	return err
}
