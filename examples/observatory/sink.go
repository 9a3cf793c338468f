package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/obskeep/obskeep/examples/internal/script"
	"github.com/obskeep/obskeep/ingest"
	"github.com/obskeep/obskeep/ingest/files"
	"github.com/obskeep/obskeep/ingest/gin"
	"github.com/obskeep/obskeep/transfer/dirstore"
)

// checkSink returns what is wrong with the keys that say where an account delivers to.
func (a *account) checkSink() error {
	var known bool
	a.proof, known = map[string]gin.Level{"": gin.Replied, "replied": gin.Replied, "listed": gin.Listed, "downloaded": gin.Downloaded}[a.Proof]
	switch {
	case a.Sink == "folder":
		if !filepath.IsAbs(a.Path) {
			return fmt.Errorf("path is %q: want an absolute path, of the folder to deliver to", a.Path)
		}
		if a.URL+a.User+a.PasswordFile+a.Proof != "" {
			return errors.New(`url, user, password_file and proof are not for sink = "folder"`)
		}
		return nil
	case a.Sink != "" && a.Sink != "gin":
		return fmt.Errorf("sink is %q: want gin or folder", a.Sink)
	case a.Path != "":
		return errors.New(`path is for sink = "folder"`)
	case a.PasswordFile == "":
		return errors.New("password_file is missing: want a file with the account's password")
	case !known:
		return fmt.Errorf("proof is %q: want replied, listed or downloaded", a.Proof)
	}
	var err error
	a.client, err = gin.New(gin.Config{URL: a.URL, User: a.User, Password: a.password})
	return err
}

func (a *account) password(context.Context) (string, error) {
	return script.Secret("", a.PasswordFile)
}

// open opens what the account delivers to, which is closed in the end.
func (a *account) open(ctx context.Context) (ingest.Sink, io.Closer, error) {
	if a.Sink == "folder" {
		store, err := dirstore.Open(a.Path)
		if err != nil {
			return nil, nil, fmt.Errorf("path: %w; mount its disk, or make the folder: this program never does", err)
		}
		return &files.Sink{Store: store}, store, nil
	}
	if _, err := a.password(ctx); err != nil {
		return nil, nil, fmt.Errorf("password_file: %w", err)
	}
	return &gin.Sink{Client: a.client, Proof: a.proof}, io.NopCloser(nil), nil
}
