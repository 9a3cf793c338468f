package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/files"
)

// folderTable is the [account.folder] table: a folder of this machine, or of another one.
type folderTable struct {
	asFiles
	script.SSH
	Path string `toml:"path"`
}

func (t *folderTable) check(*account) error {
	switch {
	case t.Path == "":
		return errors.New("folder.path is missing: want the folder to deliver to")
	case t.Address == "" && !filepath.IsAbs(t.Path):
		return fmt.Errorf("folder.path is %q: want an absolute path", t.Path)
	}
	return t.SSH.Check("folder")
}

func (t *folderTable) open(ctx context.Context, logger *slog.Logger) (ingest.Sink, io.Closer, error) {
	if t.Address != "" {
		far := &farFolder{folderTable: t, logger: logger}
		return far, far, nil
	}
	store, err := t.SSH.Open(ctx, t.Path, logger)
	if err != nil {
		return nil, nil, fmt.Errorf("folder: %w; mount its disk, or make the folder: this program never does", err)
	}
	return &files.Sink{Store: store}, store, nil
}

// farFolder is a folder of another machine, opened when it is needed: a machine that is down
// is a receiver that is down.
type farFolder struct {
	*folderTable
	logger *slog.Logger
	folder script.Folder // nil: it is not open
}

func (f *farFolder) sink(ctx context.Context) (*files.Sink, error) {
	if f.folder == nil {
		folder, err := f.SSH.Open(ctx, f.Path, f.logger)
		if err != nil {
			return nil, fmt.Errorf("folder: %w", err)
		}
		f.folder = folder
	}
	return &files.Sink{Store: f.folder}, nil
}

// Send implements [ingest.Sink].
func (f *farFolder) Send(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	s, err := f.sink(ctx)
	if err != nil {
		return ingest.Receipt{Outcome: ingest.Later, Text: err.Error()}
	}
	return s.Send(ctx, b)
}

// Ask implements [ingest.Asker].
func (f *farFolder) Ask(ctx context.Context, b *ingest.Batch) ingest.Receipt {
	s, err := f.sink(ctx)
	if err != nil {
		return ingest.Receipt{Outcome: ingest.Unknown, Text: err.Error()}
	}
	return s.Ask(ctx, b)
}

// Close ends the connection.
func (f *farFolder) Close() error {
	if f.folder == nil {
		return nil
	}
	return f.folder.Close()
}
