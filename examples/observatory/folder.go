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
	store, err := t.SSH.Open(ctx, t.Path, logger)
	if err != nil {
		return nil, nil, fmt.Errorf("folder: %w; where it is missing, mount its disk or make it: this program never does", err)
	}
	return &files.Sink{Store: store}, store, nil
}
