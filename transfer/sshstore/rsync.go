package sshstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/obskeep/obskeep/transfer"
	"github.com/obskeep/obskeep/transfer/internal/fsstore"
	"github.com/obskeep/obskeep/transfer/rsync"
)

var errNoRsync = fmt.Errorf("no rsync on the far side: %w", errors.ErrUnsupported)

// ListTree implements [transfer.TreeLister] with the rsync of the far side.
func (s *Store) ListTree(ctx context.Context, dir string) ([]transfer.Info, error) {
	if err := transfer.ValidName(dir); err != nil {
		return nil, err
	}
	var infos []transfer.Info
	args := rsync.ListOptions().ServerArgs(true, s.fs.path(dir)+"/")
	err := s.link.rsync(ctx, args, func(c rsync.Conn) error {
		return rsync.List(ctx, c, func(e rsync.Entry) {
			if fsstore.IsHidden(e.Name) {
				s.mu.Lock()
				s.hidden[path.Join(dir, e.Name)] = true
				s.mu.Unlock()
			} else {
				infos = append(infos, transfer.Info(e))
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return infos, nil
}

// Fetch implements [transfer.Fetcher] with the rsync of the far side.
func (s *Store) Fetch(ctx context.Context, dir string, wants []transfer.Want, entries int) error {
	if err := transfer.ValidName(dir); err != nil {
		return err
	}
	list := make([]rsync.Want, len(wants))
	for i, w := range wants {
		list[i] = rsync.Want{Name: w.Name, Size: w.Size, ModTime: w.ModTime}
		list[i].Create = func() (rsync.Output, error) { return w.Create() }
		if w.Basis != nil {
			list[i].Basis = func() (rsync.Basis, error) { return w.Basis() }
		}
	}
	o := rsync.ListOptions()
	if len(wants) < entries/4 { // to name a file takes it longer than to list it
		o = rsync.FetchOptions(list)
	}
	return s.link.rsync(ctx, o.ServerArgs(true, s.fs.path(dir)+"/"), func(c rsync.Conn) error {
		_, err := rsync.Fetch(ctx, c, o, list)
		return err
	})
}

// rsync runs talk with an rsync of the far side. It is errors.ErrUnsupported if
// there is none.
func (l *link) rsync(ctx context.Context, args []string, talk func(c rsync.Conn) error) error {
	if l.noRsync.Load() || !l.hasShell(ctx) {
		return cmp.Or(ctx.Err(), errNoRsync)
	}
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	heard, err := l.talk(ctx, "exec rsync "+strings.Join(quoted, " "), func(p *program) error { return talk(p) })
	if err != nil && !heard && !errors.Is(err, transfer.ErrLost) && ctx.Err() == nil {
		// What there is does not answer as an rsync does.
		l.noRsync.Store(true)
		l.config.logger().Info("no rsync on the far side, SFTP alone is used", "addr", l.config.addr(), "err", err)
		return errNoRsync
	}
	return err
}
